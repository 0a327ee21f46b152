#![no_main]

use libfuzzer_sys::fuzz_target;
use otlpd::otlp::Signal;
use otlpd::otlp::attributes::{Action, Actions, Source, Verb, edit};
use otlpd_fuzz::{accepted, assert_good, request};

/// Keys that the seeds have, and some that they have not.
const KEYS: [&str; 6] = [
    "service.name",
    "thread.name",
    "url.path",
    "new",
    "",
    "thread.id",
];

fn action(choice: &[u8]) -> Action {
    let pick = |byte: u8| KEYS[usize::from(byte) % KEYS.len()].to_owned();
    let source = || match choice[2] % 2 {
        0 => Source::Value(b"\x0a\x05value".to_vec()),
        _ => Source::Attribute(pick(choice[2] / 2)),
    };
    let verb = match choice[0] % 6 {
        0 => Verb::Insert(source()),
        1 => Verb::Update(source()),
        2 => Verb::Upsert(source()),
        3 => Verb::Delete,
        4 => Verb::Rename(pick(choice[2])),
        _ => Verb::Hash,
    };
    Action {
        key: pick(choice[1]),
        verb,
    }
}

fuzz_target!(|input: &[u8]| {
    let Some((choices, rest)) = input.split_at_checked(12) else {
        return;
    };
    let (resources, items) = choices.split_at(6);
    let resources: Actions = resources.chunks(3).map(action).collect();
    let items: Actions = items.chunks(3).map(action).collect();
    let Some((signal, body)) = request(rest) else {
        return;
    };
    drop(edit(signal, body, &resources, &items));
    if signal == Signal::Profiles {
        return;
    }
    if let Some((body, count)) = accepted(signal, body)
        && let Some(edited) = edit(signal, &body, &resources, &items)
    {
        assert_good(signal, &edited, count);
    }
});
