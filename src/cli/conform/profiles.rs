//! Family R: profiles, which are in development.

use std::sync::Arc;

use super::data::{self, id, json, now};
use super::line::{Check, Checked, check, expect, noted, pass, skip};
use super::probe::{Ask, Probe};
use super::requests::needs_json;
use super::sent::Fate;
use super::wire::grpc::{framed, whole};
use crate::cli::bench::wire::{find_bytes, put_bytes, put_fixed64, put_message, put_number};
use crate::otlp::Signal;
use crate::otlp::status::GrpcCode;

/// Its lines.
pub(super) const TABLES: &[&[Check]] = &[LINES];

const SIGNAL: Signal = Signal::Profiles;
const PROTO: &str = "comments in profiles.proto (1.10)";
const OLD_PATH: &str =
    "/opentelemetry.proto.collector.profiles.v1experimental.ProfilesService/Export";

const LINES: &[Check] = &[
    check!(Must "R1", "gRPC: the v1development service takes profiles, or UNIMPLEMENTED",
        "profiles_service.proto", over_grpc),
    check!(Must "R2", "HTTP: /v1development/profiles takes profiles, or 404",
        "OTLP 1.11 \"OTLP/HTTP Request\"", over_http),
    check!(Choice "R3", "samples in the layout of before 1.10 do no harm", PROTO, old_layout),
    check!(Should "R4", "the v1experimental service: UNIMPLEMENTED", "gRPC statuscodes.md", experimental),
    check!(Must "R5", "indices beyond the tables of the dictionary do no harm", PROTO, wild_indices),
    check!(Must "R6", "refused profiles are counted in profiles", "profiles_service.proto", in_profiles),
    check!(Should "R7", "string_value_strindex and key_strindex are taken", PROTO, strindex),
    check!(Should "R8", "original_payload and its format are passed on together", PROTO, payload),
    check!(Choice "R9", "a profileId in JSON is taken in hexadecimal", "none: OTLP does not say", profile_id),
    check!(Must "R10", "samples in the layout of 1.10 are taken", PROTO, new_layout),
];

async fn over_grpc(probe: Arc<Probe>) -> Checked {
    let called = probe.export(SIGNAL, &data::request(SIGNAL, 1)).await?;
    if probe.takes(SIGNAL) {
        expect(called.is_ok(), "OK", called.told())?;
        return pass();
    }
    let is_absent = called.code() == Some(GrpcCode::Unimplemented);
    expect(
        called.is_ok() || is_absent,
        "OK or UNIMPLEMENTED",
        called.told(),
    )?;
    noted(if is_absent { "not served" } else { "served" })
}

async fn over_http(probe: Arc<Probe>) -> Checked {
    let answer = probe
        .ask(&Ask::protobuf(SIGNAL, data::request(SIGNAL, 1)))
        .await?;
    if probe.takes(SIGNAL) {
        expect(answer.code == 200, "200", answer.told())?;
        return pass();
    }
    expect(
        matches!(answer.code, 200 | 404),
        "200 or 404",
        answer.told(),
    )?;
    noted(if answer.code == 404 {
        "not served"
    } else {
        "served"
    })
}

/// A request of one profile with these bytes after its own fields.
fn with(more: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut profile = data::item(SIGNAL, 1);
    more(&mut profile);
    data::of_items(SIGNAL, &[profile])
}

async fn old_layout(probe: Arc<Probe>) -> Checked {
    let body = with(|profile| {
        put_message(profile, 2, |sample| {
            put_bytes(sample, 2, &[7]);
            put_bytes(sample, 3, &[0]);
            put_number(sample, 4, 0);
        });
    });
    probe.survives_all(SIGNAL, &[("an old sample", body)]).await
}

async fn experimental(probe: Arc<Probe>) -> Checked {
    let body = whole(framed(false, &data::request(SIGNAL, 1)));
    let called = probe.call(OLD_PATH, &[], body).await?;
    let is_absent = called.code() == Some(GrpcCode::Unimplemented);
    expect(is_absent, "UNIMPLEMENTED", called.told())?;
    pass()
}

async fn wild_indices(probe: Arc<Probe>) -> Checked {
    let far = with(|profile| {
        put_message(profile, 1, |kind| {
            put_number(kind, 1, 1_000_000);
            put_number(kind, 2, 2_147_483_647);
        });
        put_message(profile, 2, |sample| put_number(sample, 1, 99_999));
    });
    let negative = with(|profile| {
        put_message(profile, 2, |sample| put_number(sample, 1, u64::MAX));
    });
    let no_tables = {
        let profile = data::item(SIGNAL, 1);
        let mut body = Vec::new();
        put_message(&mut body, 1, |entry| {
            put_message(entry, 2, |scope| put_bytes(scope, 2, &profile));
        });
        body
    };
    let cases = [
        ("indices beyond the tables", far),
        ("a negative index", negative),
        ("no dictionary", no_tables),
    ];
    probe.survives_all(SIGNAL, &cases).await
}

async fn in_profiles(probe: Arc<Probe>) -> Checked {
    let mut odd = data::item(SIGNAL, 1);
    put_bytes(&mut odd, 7, b"short");
    let items = [data::item(SIGNAL, 1), odd.clone(), odd];
    for sent in probe
        .deliver(SIGNAL, &data::of_items(SIGNAL, &items))
        .await?
    {
        if let Fate::Partly(rejected) = sent.fate {
            let got = format!("{rejected} of 3 profiles, 2 of them with an id of 5 bytes");
            expect(
                (1..=3).contains(&rejected),
                "between 1 and 3 rejected",
                &got,
            )?;
            return noted(got);
        }
    }
    skip("it refused nothing in part, which OTLP leaves open")
}

async fn strindex(probe: Arc<Probe>) -> Checked {
    let mut body = with(|_| {});
    put_message(&mut body, 2, |dictionary| {
        put_message(dictionary, 6, |attribute| {
            put_number(attribute, 1, 1);
            put_message(attribute, 2, |value| put_number(value, 8, 2));
        });
    });
    probe
        .takes_all(SIGNAL, &[("an attribute by index", body)])
        .await
}

async fn payload(probe: Arc<Probe>) -> Checked {
    probe.sees_the_destination()?;
    let mark = id::<16>();
    let body = with(|profile| {
        put_bytes(profile, 9, b"pprof");
        put_bytes(profile, 10, &mark);
    });
    for sent in probe.deliver(SIGNAL, &body).await? {
        sent.can_be_passed_on()?;
    }
    let passed = probe.passed_on(&mark).await?;
    let (format, payload) = (find_bytes(&passed.item, 9), find_bytes(&passed.item, 10));
    let kept = (format, payload) == (Some(b"pprof"), Some(&mark));
    expect(kept, "both", format!("the format {format:?}"))?;
    pass()
}

async fn profile_id(probe: Arc<Probe>) -> Checked {
    probe.wants(SIGNAL)?;
    needs_json(&probe).await?;
    let (now, id) = (now(), json::hex(&id::<16>()));
    let item = format!("{{\"timeUnixNano\":\"{now}\",\"profileId\":\"{id}\"}}");
    let sent = probe
        .deliver_json(SIGNAL, json::of_items(SIGNAL, &[item]))
        .await?;
    sent.is_taken("a profileId of 32 digits")?;
    pass()
}

async fn new_layout(probe: Arc<Probe>) -> Checked {
    let body = with(|profile| {
        put_message(profile, 2, |sample| {
            put_number(sample, 1, 0);
            put_number(sample, 3, 0);
            put_bytes(sample, 4, &[7]);
            put_bytes(sample, 5, &now().to_le_bytes());
        });
        put_fixed64(profile, 3, now());
    });
    probe.takes_all(SIGNAL, &[("a sample", body)]).await
}
