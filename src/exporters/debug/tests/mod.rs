//! What is printed, held against files that were read by a person, and against requests of
//! every shape.

mod requests;

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use proptest::prelude::*;
use smallvec::smallvec;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::numbers::Time;
use super::*;
use crate::batch::Context;
use crate::otlp::requests as shapes;
use crate::otlp::wire::write_bytes;
use crate::otlp::{Signal, schema};

const VERBOSITIES: [(&str, Verbosity); 3] = [
    ("basic", Verbosity::Basic),
    ("normal", Verbosity::Normal),
    ("detailed", Verbosity::Detailed),
];

fn batch(signal: Signal, body: Vec<u8>, items: u64) -> Batch {
    Batch {
        signal,
        chunks: smallvec![Bytes::from(body)],
        items,
        received: Instant::now(),
        context: Context::default(),
        deadline: None,
        encoded: None,
        reservations: smallvec![],
    }
}

fn spans(contents: &[&[u8]]) -> Vec<u8> {
    let mut scope = Vec::new();
    for span in contents {
        write_bytes(&mut scope, 0x12, span);
    }
    let (mut resource, mut body) = (Vec::new(), Vec::new());
    write_bytes(&mut resource, 0x12, &scope);
    write_bytes(&mut body, 0x0a, &resource);
    body
}

fn named(name: &[u8]) -> Vec<u8> {
    let mut span = Vec::new();
    write_bytes(&mut span, 0x2a, name);
    span
}

fn text(verbosity: Verbosity, body: Vec<u8>) -> String {
    render(&batch(Signal::Traces, body, 1), verbosity, MAX_TEXT)
}

/// After a change on purpose: `OTLPD_BLESS=1 cargo test --lib exporters::debug`, and read them.
#[test]
fn every_signal_is_printed_as_it_was_agreed() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/exporters/debug/tests/golden");
    for signal in Signal::ALL {
        let (body, items) = requests::request(signal);
        for (name, verbosity) in VERBOSITIES {
            let printed = render(&batch(signal, body.clone(), items), verbosity, MAX_TEXT);
            let path = folder.join(format!("{}.{name}.txt", signal.name()));
            if std::env::var_os("OTLPD_BLESS").is_some() {
                std::fs::write(&path, &printed).unwrap();
            }
            let agreed = std::fs::read_to_string(&path).unwrap();
            assert_eq!(printed, agreed, "{}", path.display());
        }
    }
}

#[test]
fn a_batch_of_several_requests_is_one_page() {
    let (body, items) = requests::request(Signal::Logs);
    let mut two = batch(Signal::Logs, body.clone(), 2 * items);
    two.chunks.push(Bytes::from(body));
    let page = render(&two, Verbosity::Normal, MAX_TEXT);
    assert!(
        page.starts_with("logs: 6 log records, 2 scopes, 2 resources, "),
        "{page}"
    );
    assert_eq!(page.matches("\nlog ").count(), 6, "{page}");
}

#[test]
fn what_would_change_a_terminal_is_escaped_everywhere() {
    let nasty = named(b"\x1b]0;title\x07\r\n\xff\xc2\x9b31m");
    for (_, verbosity) in VERBOSITIES {
        let page = text(verbosity, spans(&[&nasty]));
        let kept = |c: char| !c.is_control() || c == '\n';
        assert!(page.chars().all(kept), "{page:?}");
    }
    let page = text(Verbosity::Normal, spans(&[&nasty]));
    assert!(
        page.contains(r#"span "\u{1b}]0;title\u{7}\r\n\xff\u{9b}31m""#),
        "{page}"
    );
}

#[test]
fn a_page_is_cut_at_the_limit_and_says_what_is_missing() {
    let body = spans(&[
        &named(&[b'x'; 50]),
        &named(&[b'y'; 50]),
        &named("\u{e4}".repeat(90).as_bytes()),
    ]);
    let three = batch(Signal::Traces, body, 3);
    for verbosity in [Verbosity::Normal, Verbosity::Detailed] {
        let whole = render(&three, verbosity, MAX_TEXT);
        assert!(!whole.contains("cut at"), "{whole}");
        for limit in 0..whole.len() {
            let page = render(&three, verbosity, limit);
            assert!(page.len() <= limit + 100, "{limit}: {page}");
            let (shown, note) = page.split_at(page.rfind("(cut at ").unwrap());
            let shown = shown.trim_end_matches("...\n");
            assert!(whole.starts_with(shown), "{limit}: {page}");
            assert!(note.ends_with(" of 3 spans)\n"), "{page}");
        }
        assert_eq!(render(&three, verbosity, whole.len()), whole);
    }
    let page = render(&three, Verbosity::Normal, 200);
    assert!(page.ends_with("...\n(cut at 200B of text; not shown, or not whole: 2 of 3 spans)\n"));
}

#[test]
fn one_endless_string_does_not_make_an_endless_page() {
    let page = text(Verbosity::Detailed, spans(&[&named(&vec![b'x'; 3 << 20])]));
    assert!(page.len() < MAX_TEXT + 200);
    let note = "...\n(cut at 1MiB of text; not shown, or not whole: 1 of 1 span)\n";
    assert!(page.ends_with(note), "{}", &page[page.len() - 100..]);
}

#[test]
fn what_cannot_be_read_is_said_and_the_rest_is_shown() {
    let mut damaged = named(b"first");
    damaged.extend([0x32, 200, 1]);
    let body = spans(&[&damaged, &named(b"second")]);
    let note = "(malformed: a field goes on after the end of its message)";
    for verbosity in [Verbosity::Normal, Verbosity::Detailed] {
        let page = text(verbosity, body.clone());
        let places = ["\"first\"", note, "\"second\""].map(|part| page.find(part).unwrap());
        assert!(places.is_sorted(), "{page}");
    }
}

#[test]
fn values_are_followed_a_hundred_levels_down_and_no_further() {
    // An array in an array and so on, which only `validation = "items"` lets through.
    let mut value = Vec::new();
    for _ in 0..5_000 {
        let (mut array, mut outer) = (Vec::new(), Vec::new());
        write_bytes(&mut array, 0x0a, &value);
        write_bytes(&mut outer, 0x2a, &array);
        value = outer;
    }
    let (mut attribute, mut span) = (Vec::new(), Vec::new());
    write_bytes(&mut attribute, 0x12, &value);
    write_bytes(&mut span, 0x4a, &attribute);
    for verbosity in [Verbosity::Normal, Verbosity::Detailed] {
        let page = text(verbosity, spans(&[&span]));
        assert!(page.contains("nested more than 100 levels deep"), "{page}");
    }
}

#[test]
fn times_are_those_of_the_calendar() {
    for (seconds, date) in [
        (0, "1970-01-01T00:00:00Z"),
        (68_169_599, "1972-02-28T23:59:59Z"),
        (68_169_600, "1972-02-29T00:00:00Z"),
        (951_868_800, "2000-03-01T00:00:00Z"),
        (1_763_632_800, "2025-11-20T10:00:00Z"),
        (4_107_542_399, "2100-02-28T23:59:59Z"),
        (4_107_542_400, "2100-03-01T00:00:00Z"),
        (12_622_780_800, "2370-01-01T00:00:00Z"),
    ] {
        assert_eq!(Time(seconds * 1_000_000_000).to_string(), date);
    }
    assert_eq!(Time(u64::MAX).to_string(), "2554-07-21T23:34:33.709551615Z");
    assert_eq!(Time(1_500_000_000).to_string(), "1970-01-01T00:00:01.5Z");
}

proptest! {
    #[test]
    fn no_request_makes_it_panic_or_write_without_end(
        choices in proptest::collection::vec(any::<u8>(), 0..300),
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut in any::<Option<prop::sample::Index>>(),
    ) {
        for signal in Signal::ALL {
            let spice = shapes::Spice { odd: true, bad_values: true };
            let mut body = shapes::request(schema::request(signal), &choices, spice);
            for (place, byte) in &damage {
                if !body.is_empty() {
                    let place = place.index(body.len());
                    body[place] = *byte;
                }
            }
            if let Some(cut) = cut.filter(|_| !body.is_empty()) {
                body.truncate(cut.index(body.len()));
            }
            for (_, verbosity) in VERBOSITIES {
                let page = render(&batch(signal, body.clone(), 1), verbosity, 2_000);
                prop_assert!(page.ends_with('\n') && page.len() < 2_200);
                prop_assert!(page.chars().all(|c| c == '\n' || !c.is_control()));
            }
        }
    }
}

/// What was written, a write an element, and what to answer.
#[derive(Clone, Default)]
struct Out {
    writes: Arc<Mutex<Vec<String>>>,
    problem: Option<io::ErrorKind>,
}

impl io::Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(problem) = self.problem {
            return Err(problem.into());
        }
        self.writes
            .lock()
            .unwrap()
            .push(String::from_utf8(bytes.to_vec()).unwrap());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn exporter(out: impl io::Write + Send + 'static) -> Debug {
    Debug {
        verbosity: Verbosity::Normal,
        workers: Workers::new(1),
        printer: Printer::start(out).unwrap(),
    }
}

#[tokio::test]
async fn a_batch_is_one_write() {
    let out = Out::default();
    let (body, items) = requests::request(Signal::Traces);
    let batch = batch(Signal::Traces, body, items);
    let outcome = exporter(out.clone()).export(&batch).await;
    assert_eq!(outcome, Ok(Delivered { rejected: 0 }));
    let expected = render(&batch, Verbosity::Normal, MAX_TEXT);
    assert_eq!(*out.writes.lock().unwrap(), [expected]);
}

#[tokio::test]
async fn a_closed_output_is_permanent_and_a_full_disk_is_not() {
    let batch = batch(Signal::Traces, spans(&[b""]), 1);
    let closed = Out {
        problem: Some(io::ErrorKind::BrokenPipe),
        ..Out::default()
    };
    let closed = exporter(closed);
    let full = Out {
        problem: Some(io::ErrorKind::StorageFull),
        ..Out::default()
    };
    let full = exporter(full);
    for _ in 0..2 {
        let cause = "standard output is closed".to_owned();
        assert_eq!(
            closed.export(&batch).await,
            Err(Failure::Permanent { cause })
        );
        let failure = full.export(&batch).await.unwrap_err();
        assert!(
            matches!(failure, Failure::Retryable { after: None, .. }),
            "{failure:?}"
        );
    }
}

/// An output that nobody reads, until a permit is sent.
struct Stalled {
    begun: mpsc::Sender<String>,
    permits: mpsc::Receiver<()>,
}

impl io::Write for Stalled {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.begun
            .blocking_send(String::from_utf8(bytes.to_vec()).unwrap())
            .unwrap();
        self.permits.blocking_recv();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn an_output_that_nobody_reads_holds_up_no_worker_and_prints_nothing_twice() {
    let (begun, mut writes) = mpsc::channel(8);
    let (permit, permits) = mpsc::channel(8);
    let exporter = exporter(Stalled { begun, permits });
    let named = |name: &[u8]| batch(Signal::Traces, spans(&[&named(name)]), 1);
    let (first, second, third) = (named(b"first"), named(b"second"), named(b"third"));
    let mut printing = exporter.export(&first);
    let write = tokio::select! {
        write = writes.recv() => write.unwrap(),
        outcome = &mut printing => panic!("{outcome:?} without having been written"),
    };
    assert!(write.contains("first"));
    // The attempt to print the second is given up while it waits for its turn.
    let mut waiting = exporter.export(&second);
    while exporter.printer.has_room() {
        assert!(futures_util::poll!(&mut waiting).is_pending());
        tokio::task::yield_now().await;
    }
    drop(waiting);
    assert_eq!(exporter.workers.run(|| 2 + 2).await, 4);
    permit.send(()).await.unwrap();
    assert!(printing.await.is_ok());
    permit.send(()).await.unwrap();
    assert!(exporter.export(&third).await.is_ok());
    assert!(
        writes.recv().await.unwrap().contains("third"),
        "the second was printed"
    );
}
