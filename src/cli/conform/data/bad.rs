//! Requests of which some items are bad by themselves, while all of it can be decoded: what a
//! server may refuse in part.

use super::{gauge, id, log_record, now, of_items, span};
use crate::cli::bench::item::put_text;
use crate::cli::bench::wire::{put_bytes, put_fixed64, put_message};
use crate::otlp::Signal;

/// A request of [`GOOD`] good items and [`BAD`] bad ones.
pub(crate) struct Mixed {
    pub(crate) signal: Signal,
    /// What is wrong with the bad ones.
    pub(crate) what: &'static str,
    pub(crate) body: Vec<u8>,
}

/// How many items of a [`Mixed`] are good, and how many bad.
pub(crate) const GOOD: i64 = 5;
pub(crate) const BAD: i64 = 3;

/// Text that no UTF-8 is.
const NO_TEXT: &[u8] = b"conform \xff\xfe";

/// All kinds of it for a signal.
pub(crate) fn mixed(signal: Signal) -> Vec<Mixed> {
    let mixed = |what, items: Vec<Vec<u8>>| Mixed {
        signal,
        what,
        body: of_items(signal, &items),
    };
    match signal {
        Signal::Traces => vec![
            mixed("spans with a trace id of 5 bytes", spans(BAD as usize)),
            mixed("spans whose name is not UTF-8", {
                let mut items: Vec<_> = (0..GOOD).map(|_| span(&id::<16>(), 0)).collect();
                items.extend((0..BAD).map(|_| nameless(span(&id::<16>(), 1), 5)));
                items
            }),
        ],
        Signal::Metrics => vec![
            mixed("points of a metric whose name is not UTF-8", {
                let good = gauge(b"otlpd.conform.gauge", GOOD as usize);
                vec![good, gauge(NO_TEXT, BAD as usize)]
            }),
            mixed("data points with an attribute that is not UTF-8", {
                let good = gauge(b"otlpd.conform.gauge", GOOD as usize);
                vec![good, gauge_of_bad_points()]
            }),
        ],
        Signal::Logs => vec![
            mixed("log records with a trace id of 5 bytes", {
                let mut items: Vec<_> = (0..GOOD).map(|_| log_record(&id::<16>(), 0)).collect();
                items.extend((0..BAD).map(|_| log_record(b"short", 1)));
                items
            }),
            mixed("log records whose severity text is not UTF-8", {
                let mut items: Vec<_> = (0..GOOD).map(|_| log_record(&id::<16>(), 0)).collect();
                items.extend((0..BAD).map(|_| nameless(log_record(&id::<16>(), 1), 3)));
                items
            }),
        ],
        Signal::Profiles => Vec::new(),
    }
}

/// A metric all of whose points have an attribute that is no text.
fn gauge_of_bad_points() -> Vec<u8> {
    let mut metric = Vec::new();
    put_bytes(&mut metric, 1, b"otlpd.conform.bad");
    put_message(&mut metric, 5, |gauge| {
        for _ in 0..BAD {
            put_message(gauge, 1, |point| {
                put_fixed64(point, 3, now());
                put_fixed64(point, 6, 7);
                put_text(point, 7, "conform.text", NO_TEXT);
            });
        }
    });
    metric
}

/// Good spans, and so many with a trace id that is none.
fn spans(bad: usize) -> Vec<Vec<u8>> {
    let good = (0..GOOD).map(|_| span(&id::<16>(), 0));
    good.chain((0..bad).map(|_| span(b"short", 1))).collect()
}

/// A request for traces of which this many items are bad.
pub(crate) fn many(bad: usize) -> Vec<u8> {
    of_items(Signal::Traces, &spans(bad))
}

/// The item with one more value of this field, which is text and now none: the last one counts.
fn nameless(mut item: Vec<u8>, field: u64) -> Vec<u8> {
    put_bytes(&mut item, field, NO_TEXT);
    item
}
