//! Thousands of damaged bodies, over gRPC and HTTP, while valid traffic flows beside them: each
//! gets the answer that says whose fault it is, nothing that cannot be read is forwarded, memory
//! stays flat, and the valid traffic comes out untouched.
//!
//! `OTLPD_LONG=1` sends all 10,000; `OTLPD_KEEP_BODIES=FILE` writes each plain body with its
//! verdict, for other parsers to judge (a line each: signal, verdict, hexadecimal).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod support {
    pub(crate) mod capture;
    pub(crate) mod door;
    pub(crate) mod oracle;
    pub(crate) mod payloads;
}

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use otlpd::otlp::Signal;
use otlpd::otlp::response;
use otlpd::otlp::walk::{Validation, walk};
use rand::rngs::SmallRng;
use rand::{Rng, RngCore, SeedableRng};
use support::capture::Capture;
use support::door::{Daemon, H2, LOGS, METRICS, Setup, TRACES, bomb, framed, gzip, until, whole};
use support::{oracle, payloads};

/// The sequence of damage is the same in every run.
struct Dice(SmallRng);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.0.next_u64() % end as u64).unwrap()
    }

    fn noise(&mut self, length: usize) -> Vec<u8> {
        let mut noise = vec![0; length];
        self.0.fill_bytes(&mut noise);
        noise
    }
}

/// A body, what is wrong with it, and how it travels.
struct Damaged {
    kind: &'static str,
    signal: Signal,
    body: Vec<u8>,
    gzip: bool,
    /// What the gRPC prefix says instead of the truth.
    prefix: Option<(u8, u32)>,
}

const SIGNALS: [Signal; 3] = [Signal::Traces, Signal::Metrics, Signal::Logs];

fn sound(signal: Signal) -> Vec<u8> {
    match signal {
        Signal::Metrics => payloads::metrics(20),
        Signal::Logs => payloads::logs(4),
        _ => payloads::traces(3),
    }
}

fn grpc_path(signal: Signal) -> &'static str {
    match signal {
        Signal::Metrics => METRICS,
        Signal::Logs => LOGS,
        _ => TRACES,
    }
}

/// So many levels of attributes in attributes.
fn nested(levels: usize) -> Vec<u8> {
    let field = |tag: u8, content: &[u8]| {
        let mut out = vec![tag];
        prost::encoding::encode_varint(content.len() as u64, &mut out);
        [&out[..], content].concat()
    };
    let mut value = field(0x0a, b"core");
    for _ in 0..levels / 2 {
        value = field(0x2a, &field(0x0a, &value));
    }
    let attribute = [field(0x0a, b"key"), field(0x12, &value)].concat();
    field(0x0a, &field(0x0a, &field(0x0a, &attribute)))
}

fn damage(number: usize, dice: &mut Dice) -> Damaged {
    let signal = SIGNALS[number % SIGNALS.len()];
    let mut body = sound(signal);
    let mut prefix = None;
    let (kind, gzipped) = match number / SIGNALS.len() % 14 {
        0 => (damage_gzip(&mut body, dice), true),
        1 => ("gzip false", true),
        2 => {
            prefix = Some(false_prefix(body.len(), dice));
            ("false prefix", false)
        }
        which => {
            let kind = damage_message(which, &mut body, dice);
            let gzipped = number % 5 == 4;
            if gzipped {
                body = gzip(&body);
            }
            (kind, gzipped)
        }
    };
    Damaged {
        kind,
        signal,
        body,
        gzip: gzipped,
        prefix,
    }
}

fn damage_gzip(body: &mut Vec<u8>, dice: &mut Dice) -> &'static str {
    *body = gzip(body);
    let place = dice.below(body.len());
    if dice.below(2) == 0 {
        body.truncate(place);
        return "gzip cut";
    }
    body[place] ^= 1 << dice.below(8);
    "gzip flipped"
}

fn false_prefix(length: usize, dice: &mut Dice) -> (u8, u32) {
    let short = u32::try_from(dice.below(length)).unwrap();
    let length = u32::try_from(length).unwrap();
    match dice.below(4) {
        0 => (0, u32::MAX),
        1 => (0, short),
        2 => (2 + dice.0.random_range(0..100), length),
        _ => (0, length + 1),
    }
}

fn damage_message(which: usize, body: &mut Vec<u8>, dice: &mut Dice) -> &'static str {
    let place = dice.below(body.len());
    match which {
        3 | 4 => {
            body.truncate(place);
            "truncated"
        }
        5 => {
            for _ in 0..1 + dice.below(3) {
                let place = dice.below(body.len());
                body[place] ^= 1 << dice.below(8);
            }
            "flipped"
        }
        6 => {
            let lie = [0, 1, 0x7f, 0xff][dice.below(4)];
            body[[1, 2, 3, 4, place][dice.below(5)]] = lie;
            "false length"
        }
        7 => {
            body.splice(0..0, [[0x00, 0x00], [0x02, 0x00]][dice.below(2)]);
            "field number 0"
        }
        8 => {
            body.splice(0..0, [0x0e + 8 * dice.0.random_range(0..15), 0x00]);
            "wire type 6"
        }
        9 => {
            let length = 1 + dice.below(30);
            body.extend(vec![0xff; length]);
            "endless varint"
        }
        10 => {
            let length = dice.below(300);
            *body = dice.noise(length);
            "noise"
        }
        11 => {
            body.extend(nested([50, 96, 104, 300][dice.below(4)]));
            "nested"
        }
        12 => {
            body.splice(place..place, [0x0b, 0x13, 0x14]);
            "open group"
        }
        _ => {
            // A string somewhere is not UTF-8, or an id has another length.
            body[place] = 0xfe;
            "bad byte"
        }
    }
}

impl Damaged {
    /// The plain body; `None` if there is none.
    fn plain(&self) -> Option<Vec<u8>> {
        if !self.gzip {
            return Some(self.body.clone());
        }
        let mut plain = Vec::new();
        let mut members = flate2::read::MultiGzDecoder::new(&self.body[..]);
        std::io::Read::read_to_end(&mut members, &mut plain).ok()?;
        Some(plain)
    }

    fn over_grpc(&self) -> Bytes {
        match self.prefix {
            None => framed(u8::from(self.gzip), &self.body),
            Some((flag, length)) => [&[flag][..], &length.to_be_bytes(), &self.body]
                .concat()
                .into(),
        }
    }
}

/// What became of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Accepted,
    Partial,
    Invalid,
    TooLarge,
}

async fn send_grpc(client: &mut H2, damaged: &Damaged) -> Verdict {
    let encoding = [("grpc-encoding", "gzip")];
    let headers = if damaged.gzip { &encoding[..] } else { &[] };
    let called = client
        .call(grpc_path(damaged.signal), headers, damaged.over_grpc())
        .await;
    match called.code() {
        0 if called.data.len() == 5 => Verdict::Accepted,
        0 => {
            assert!(response::read(&called.data[5..]).rejected > 0);
            Verdict::Partial
        }
        3 => Verdict::Invalid,
        8 if called.status.retry_delay().is_none() => Verdict::TooLarge,
        _ => panic!("{}: {called:?}", damaged.kind),
    }
}

async fn send_http(client: &mut H2, damaged: &Damaged) -> Verdict {
    let headers = [
        ("content-type", "application/x-protobuf"),
        ("content-encoding", "gzip"),
    ];
    let headers = &headers[..1 + usize::from(damaged.gzip)];
    let path = format!("/v1/{}", damaged.signal.name());
    let body = whole(damaged.body.clone());
    let called = client.send("POST", &path, headers, body).await.unwrap();
    match called.http {
        200 if called.data.is_empty() => Verdict::Accepted,
        200 => Verdict::Partial,
        400 => Verdict::Invalid,
        413 => Verdict::TooLarge,
        _ => panic!("{}: {called:?}", damaged.kind),
    }
}

/// What must become of a message, by what prost can read of it.
fn check(damaged: &Damaged, verdict: Verdict, transport: &str) {
    let kind = damaged.kind;
    let Some(plain) = damaged.plain() else {
        assert_eq!(verdict, Verdict::Invalid, "{kind} over {transport}");
        return;
    };
    let decoded = oracle::decode(damaged.signal, &plain);
    match verdict {
        Verdict::Accepted => {
            // prost takes a known field of another wire type for an error, Google's parsers for
            // an unknown field; and prost allows nothing in the deepest level.
            if let Err(error) = decoded {
                let error = error.to_string();
                let only_prosts =
                    error.contains("invalid wire type") || error.contains("recursion limit");
                assert!(only_prosts, "{kind} over {transport}: {error}");
            }
        }
        Verdict::Partial | Verdict::TooLarge => {}
        Verdict::Invalid => {
            // What is stricter than prost is documented: strings and ids outside of items, or
            // in all of them. The walk alone says the same as the daemon.
            assert!(
                walk(damaged.signal, &plain, Validation::Full).is_err(),
                "{kind}"
            );
        }
    }
}

const SECTIONS: &str = r#"
[intake]
memory_budget = "192MiB"
[exporters.out]
type = "otlp_grpc"
endpoint = "http://SINK"
compression = "none"
[pipelines.main]
receivers = ["apps"]
exporters = ["out"]
"#;

/// Sends valid requests, each with a number, until it is told to stop; how many there were.
async fn valid_traffic(mut client: H2, stop: Arc<AtomicBool>) -> u64 {
    let mut sent = 0;
    while !stop.load(Ordering::Relaxed) {
        let called = client.export(TRACES, &numbered(sent)).await;
        assert_eq!((called.code(), called.data.len()), (0, 5), "{called:?}");
        sent += 1;
    }
    sent
}

/// A valid request with a marker that no other body has.
fn numbered(number: u64) -> Vec<u8> {
    let mut body = payloads::traces(2);
    // An unknown field behind everything else: 15, of eight bytes.
    body.push(15 << 3 | 1);
    body.extend(number.to_be_bytes());
    body
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_damaged_body_gets_its_answer_and_nothing_unreadable_is_forwarded() {
    let count = if std::env::var_os("OTLPD_LONG").is_some() {
        10_000
    } else {
        2_000
    };
    let capture = Capture::start().await;
    let sections = SECTIONS.replace("SINK", &capture.address.to_string());
    let daemon = Daemon::start(&Setup {
        grpc: ", max_recv_msg_size = \"4MiB\"",
        http: ", max_request_body_size = \"4MiB\"",
        sections: &sections,
        ..Setup::default()
    });
    let stop = Arc::<AtomicBool>::default();
    let valid = valid_traffic(H2::connect(daemon.grpc).await, Arc::clone(&stop));
    let valid = tokio::spawn(valid);
    send_bodies(&daemon, count / 10).await;
    let flat = daemon.memory("VmHWM");
    send_bodies(&daemon, count).await;
    send_bombs(&daemon).await;
    stop.store(true, Ordering::Relaxed);
    let sent = valid.await.unwrap();
    // A bomb that lies about its size inflates up to the limit before it is known for one.
    let grown = daemon.memory("VmHWM") - flat;
    assert!(grown < 32 << 20, "{grown} bytes");
    until("everything is delivered", || {
        let ledger = &daemon.status()["ledger"];
        SIGNALS
            .iter()
            .all(|signal| ledger[signal.name()]["exporters"]["out"]["in_process"] == 0)
    });
    judge(&capture, sent);
}

/// Sends so many damaged bodies, one after the other, and checks each answer.
async fn send_bodies(daemon: &Daemon, count: usize) {
    let mut grpc = H2::connect(daemon.grpc).await;
    let mut http = H2::connect(daemon.http).await;
    let mut dice = Dice(SmallRng::seed_from_u64(3));
    let mut kept = String::new();
    let mut refused = 0;
    for number in 0..count {
        let damaged = damage(number, &mut dice);
        let verdict = send_grpc(&mut grpc, &damaged).await;
        refused += usize::from(verdict != Verdict::Accepted);
        if let Some((flag, length)) = damaged.prefix {
            let is_large = flag == 0 && length == u32::MAX;
            let expected = if is_large {
                Verdict::TooLarge
            } else {
                Verdict::Invalid
            };
            assert_eq!(verdict, expected, "{flag} {length}");
            continue;
        }
        check(&damaged, verdict, "gRPC");
        let same = send_http(&mut http, &damaged).await;
        assert_eq!(verdict, same, "{} over HTTP", damaged.kind);
        if let Some(plain) = damaged.plain() {
            let signal = damaged.signal.name();
            write!(kept, "{signal} {verdict:?} ").unwrap();
            plain
                .iter()
                .for_each(|byte| write!(kept, "{byte:02x}").unwrap());
            kept.push('\n');
        }
    }
    assert!(refused > count / 2, "{refused}");
    if let Some(file) = std::env::var_os("OTLPD_KEEP_BODIES") {
        std::fs::write(file, kept).unwrap();
    }
}

/// Sends bombs of 1 GiB: one that says so, and two that lie.
async fn send_bombs(daemon: &Daemon) {
    let mut grpc = H2::connect(daemon.grpc).await;
    let mut http = H2::connect(daemon.http).await;
    for says in [1 << 30, 0, 1000] {
        let bomb = Damaged {
            kind: "bomb",
            signal: Signal::Traces,
            body: bomb(1024, says),
            gzip: true,
            prefix: None,
        };
        assert_eq!(send_grpc(&mut grpc, &bomb).await, Verdict::TooLarge);
        assert_eq!(send_http(&mut http, &bomb).await, Verdict::TooLarge);
    }
}

/// All that was forwarded can be read, and every valid request is in it as it was.
fn judge(capture: &Capture, sent: u64) {
    let forwarded = capture.take();
    let mut traces = Vec::new();
    for (signal, body) in &forwarded {
        let walked = walk(*signal, body, Validation::Full).unwrap();
        assert_eq!(walked.rejected, None);
        if let Err(error) = oracle::decode(*signal, body) {
            let error = error.to_string();
            let only_prosts =
                error.contains("invalid wire type") || error.contains("recursion limit");
            assert!(only_prosts, "{error}");
        }
        if *signal == Signal::Traces {
            traces.extend_from_slice(body);
        }
    }
    // Whatever they were merged with, and in whatever order: each as it was, and once.
    let [start @ .., _, _, _, _, _, _, _, _] = &numbered(0)[..] else {
        panic!("a number has eight bytes");
    };
    let found = memchr::memmem::find_iter(&traces, start).map(|at| {
        let number = &traces[at + start.len()..][..8];
        u64::from_be_bytes(number.try_into().unwrap())
    });
    let mut found: Vec<u64> = found.collect();
    found.sort_unstable();
    assert!(found == (0..sent).collect::<Vec<_>>(), "{sent} were sent");
}
