//! One span, log record or metric as an instrumented service might make it: names that repeat,
//! values that differ, padded to the wanted size.

use rand::Rng;
use rand::rngs::SmallRng;

use super::args::Kind;
use super::wire::{put_bytes, put_fixed64, put_message, put_number};

/// The resource attribute that is added to the sequence numbers of all its items, in 16 digits.
/// Where bodies are compressed it is the only thing that differs from request to request.
pub(crate) const BASE_KEY: &[u8] = b"bench.base";
/// The attribute that identifies a data point, which has no trace id of its own.
pub(crate) const ID_KEY: &[u8] = b"bench.id";
/// The upper half of every run's number: ids that do not begin with it are somebody else's.
const RUN_MARK: u64 = 0xbe7c_51d5;

/// Names one run of `bench load`: the first eight bytes of each of its ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Run(u64);

impl Run {
    pub(crate) const fn numbered(number: u32) -> Self {
        Self(RUN_MARK << 32 | number as u64)
    }

    pub(crate) const fn number(self) -> u32 {
        self.0 as u32
    }

    /// Takes an id apart into its run and its sequence number.
    pub(crate) fn of_id(id: [u8; 16]) -> Option<(Self, u64)> {
        let id = u128::from_be_bytes(id);
        let run = (id >> 64) as u64;
        (run >> 32 == RUN_MARK).then_some((Self(run), id as u64))
    }

    /// The id of an item of this run.
    pub(crate) const fn id(self, sequence: u64) -> [u8; 16] {
        ((self.0 as u128) << 64 | sequence as u128).to_be_bytes()
    }
}

/// The sequence number in 16 hexadecimal digits.
pub(crate) fn hex16(value: u64) -> [u8; 16] {
    let mut digits = [b'0'; 16];
    for (at, digit) in digits.iter_mut().enumerate() {
        let nibble = (value >> (60 - 4 * at)) as u8 & 15;
        *digit = nibble + if nibble < 10 { b'0' } else { b'a' - 10 };
    }
    digits
}

/// An item of about `size` bytes with this id: a Span, a LogRecord, or a Metric with one point.
pub(crate) fn item(kind: Kind, id: [u8; 16], size: usize, rng: &mut SmallRng) -> Vec<u8> {
    let seed: u64 = rng.random();
    let encode = |padding: usize| {
        let mut rng = <SmallRng as rand::SeedableRng>::seed_from_u64(seed);
        match kind {
            Kind::Traces => span(id, padding, &mut rng),
            Kind::Logs => log_record(id, padding, &mut rng),
            Kind::Metrics => metric(id, padding, &mut rng),
        }
    };
    // Three bytes go to the item's own tag and length. The lengths inside may each grow by a
    // byte with the padding, so the second try corrects the first.
    let bare = encode(0).len() + 3;
    let padding = size.saturating_sub(bare);
    let excess = (encode(padding).len() + 3).saturating_sub(size.max(bare));
    encode(padding.saturating_sub(excess))
}

fn span(id: [u8; 16], padding: usize, rng: &mut SmallRng) -> Vec<u8> {
    let mut out = Vec::new();
    let start = instant(rng);
    put_bytes(&mut out, 1, &id);
    put_bytes(&mut out, 2, &rng.random::<[u8; 8]>());
    put_bytes(&mut out, 4, &rng.random::<[u8; 8]>());
    put_bytes(&mut out, 5, b"GET /api/v1/orders/{order_id}");
    put_number(&mut out, 6, 2);
    put_fixed64(&mut out, 7, start);
    put_fixed64(&mut out, 8, start + rng.random_range(100_000..90_000_000));
    let attributes = &mut out;
    put_text(attributes, 9, "http.request.method", b"GET");
    put_text(attributes, 9, "http.route", b"/api/v1/orders/{order_id}");
    put_text(attributes, 9, "url.path", &path(rng));
    put_integer(attributes, 9, "http.response.status_code", 200);
    put_text(attributes, 9, "server.address", b"orders.shop.svc");
    put_text(attributes, 9, "client.address", &address(rng));
    put_text(
        attributes,
        9,
        "user_agent.original",
        b"shop-app/7.3 (ios 26.1)",
    );
    put_integer(
        attributes,
        9,
        "http.response.body.size",
        rng.random_range(512..16_000),
    );
    put_text(attributes, 9, "enduser.id", &token(rng, 12 + padding));
    put_message(&mut out, 11, |event| {
        put_fixed64(event, 1, start + 90_000);
        put_bytes(event, 2, b"cache.miss");
        put_text(event, 3, "cache.key", &token(rng, 8));
    });
    put_message(&mut out, 15, |status| put_number(status, 3, 1));
    out
}

fn log_record(id: [u8; 16], padding: usize, rng: &mut SmallRng) -> Vec<u8> {
    let mut out = Vec::new();
    let time = instant(rng);
    put_fixed64(&mut out, 1, time);
    put_number(&mut out, 2, 9);
    put_bytes(&mut out, 3, b"INFO");
    let mut line = b"order placed, payment pending: ".to_vec();
    line.extend(token(rng, 20 + padding));
    put_message(&mut out, 5, |body| put_bytes(body, 1, &line));
    put_text(&mut out, 6, "log.logger", b"shop.orders.placement");
    put_text(&mut out, 6, "thread.name", b"worker-3");
    put_text(&mut out, 6, "url.path", &path(rng));
    put_text(&mut out, 6, "client.address", &address(rng));
    put_text(&mut out, 6, "session.id", &identifier(rng));
    put_bytes(&mut out, 9, &id);
    put_bytes(&mut out, 10, &rng.random::<[u8; 8]>());
    put_fixed64(&mut out, 11, time + 1_000);
    out
}

fn metric(id: [u8; 16], padding: usize, rng: &mut SmallRng) -> Vec<u8> {
    let mut out = Vec::new();
    let id = u128::from_be_bytes(id);
    let digits = [hex16((id >> 64) as u64), hex16(id as u64)].concat();
    let time = instant(rng);
    put_bytes(&mut out, 1, b"http.server.active_requests");
    put_bytes(&mut out, 3, b"{request}");
    put_message(&mut out, 7, |sum| {
        put_message(sum, 1, |point| {
            put_fixed64(point, 2, 1_795_000_000_000_000_000);
            put_fixed64(point, 3, time);
            put_fixed64(point, 6, rng.random_range(1..5_000));
            put_text(point, 7, "http.request.method", b"GET");
            put_text(point, 7, "server.address", b"orders.shop.svc");
            put_text(point, 7, "http.route", &token(rng, 12 + padding));
            put_message(point, 7, |attribute| {
                put_bytes(attribute, 1, ID_KEY);
                put_message(attribute, 2, |value| put_bytes(value, 1, &digits));
            });
        });
        put_number(sum, 2, 2);
    });
    out
}

/// A string attribute.
pub(crate) fn put_text(out: &mut Vec<u8>, field: u64, key: &str, text: &[u8]) {
    put_message(out, field, |attribute| {
        put_bytes(attribute, 1, key.as_bytes());
        put_message(attribute, 2, |value| put_bytes(value, 1, text));
    });
}

fn put_integer(out: &mut Vec<u8>, field: u64, key: &str, number: u64) {
    put_message(out, field, |attribute| {
        put_bytes(attribute, 1, key.as_bytes());
        put_message(attribute, 2, |value| put_number(value, 3, number));
    });
}

/// Some time within a minute of November 2026, in nanoseconds since 1970.
fn instant(rng: &mut SmallRng) -> u64 {
    1_795_000_000_000_000_000 + rng.random_range(0..60_000_000_000)
}

fn path(rng: &mut SmallRng) -> Vec<u8> {
    format!("/api/v1/orders/{:08x}", rng.random::<u32>()).into_bytes()
}

fn address(rng: &mut SmallRng) -> Vec<u8> {
    format!("10.{:03}.{:03}.17", rng.random::<u8>(), rng.random::<u8>()).into_bytes()
}

fn identifier(rng: &mut SmallRng) -> Vec<u8> {
    format!("{:032x}", rng.random::<u128>()).into_bytes()
}

/// Random letters and digits, which compress to three quarters at best, as real tokens do.
fn token(rng: &mut SmallRng, length: usize) -> Vec<u8> {
    let mut character = || rng.sample(rand::distr::Alphanumeric);
    (0..length).map(|_| character()).collect()
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn items_have_the_wanted_size() {
        let mut rng = SmallRng::seed_from_u64(1);
        for (kind, size) in [(Kind::Traces, 540), (Kind::Logs, 375), (Kind::Metrics, 264)] {
            for _ in 0..50 {
                let found = item(kind, [0; 16], size, &mut rng).len() + 3;
                assert!(found.abs_diff(size) <= 3, "{kind:?}: {found} for {size}");
            }
        }
    }

    #[test]
    fn usual_items_are_mostly_not_padding() {
        let mut rng = SmallRng::seed_from_u64(1);
        for (kind, size) in [(Kind::Traces, 540), (Kind::Logs, 375), (Kind::Metrics, 264)] {
            let bare = item(kind, [0; 16], 0, &mut rng).len() + 3;
            assert!(
                bare <= size && size - bare < size / 4,
                "{kind:?}: {bare} of {size}"
            );
        }
    }

    #[test]
    fn an_id_says_its_run_and_its_sequence_number() {
        let run = Run::numbered(77);
        assert_eq!(Run::of_id(run.id(12_345)), Some((run, 12_345)));
        assert_eq!(Run::of_id([7; 16]), None);
    }

    #[test]
    fn sixteen_digits_are_the_number_in_hexadecimal() {
        assert_eq!(&hex16(0x0123_4567_89ab_cdef), b"0123456789abcdef");
    }
}
