//! What a log holds, in numbers: for a person, or as JSON.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use serde_json::{Map, Value, json};

use super::contents::Seen;
use super::place::Shelf;
use crate::otlp::Signal;
use crate::units::{self, ByteSize};

/// A part of a file that cannot be read, and what that costs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Damage {
    pub(super) file: PathBuf,
    /// Where it begins, in bytes.
    pub(super) offset: u64,
    pub(super) what: String,
}

/// What is said of a record whose kind is no signal of this version.
const UNKNOWN_KIND: &str = "a kind of request that this version of otlpd does not know";

/// One log, summed up.
#[derive(Clone, Debug, Default)]
pub(super) struct Summary {
    /// Requests that wait.
    pub(super) requests: u64,
    /// Their items, by signal.
    pub(super) items: [u64; Signal::ALL.len()],
    /// What they take on disk.
    pub(super) bytes: u64,
    /// When the oldest and the newest of them was received.
    pub(super) received: Option<(SystemTime, SystemTime)>,
    /// Files, and their bytes.
    pub(super) files: u64,
    pub(super) file_bytes: u64,
    pub(super) damage: Vec<Damage>,
    /// The keys that they are encrypted with, by id.
    pub(super) keys: BTreeSet<String>,
}

impl Summary {
    /// Takes in what was seen of the log.
    pub(super) fn note(&mut self, seen: Seen) {
        match seen {
            Seen::File { bytes, key } => {
                self.files += 1;
                self.file_bytes = self.file_bytes.saturating_add(bytes);
                self.keys.extend(key);
            }
            Seen::Damage(damage) => self.damage.push(damage),
            Seen::Locked(tally) => {
                self.requests += tally.records;
                self.bytes = self.bytes.saturating_add(tally.bytes);
                for (sum, items) in self.items.iter_mut().zip(tally.weight) {
                    *sum = sum.saturating_add(items);
                }
            }
            Seen::Record(record) => {
                match record.signal() {
                    Some(signal) => self.add(signal, record.items(), record.bytes()),
                    None => self.damage.push(record.damage(UNKNOWN_KIND.to_owned())),
                }
                match record.received() {
                    Ok(at) => self.add_received(at),
                    Err(problem) => self.damage.push(record.damage(problem)),
                }
            }
        }
    }

    /// Counts a request that waits.
    fn add(&mut self, signal: Signal, items: u64, bytes: u64) {
        self.requests += 1;
        self.bytes = self.bytes.saturating_add(bytes);
        for (known, sum) in Signal::ALL.into_iter().zip(&mut self.items) {
            if known == signal {
                *sum = sum.saturating_add(items);
            }
        }
    }

    /// Notes when one was received.
    fn add_received(&mut self, at: SystemTime) {
        let (oldest, newest) = self.received.unwrap_or((at, at));
        self.received = Some((oldest.min(at), newest.max(at)));
    }

    /// How much of the files is settled, in percent.
    fn settled_percent(&self) -> u64 {
        let settled = self.file_bytes.saturating_sub(self.bytes);
        settled.saturating_mul(100) / self.file_bytes.max(1)
    }

    fn counted(&self) -> impl Iterator<Item = (Signal, u64)> {
        let all = Signal::ALL.into_iter().zip(self.items);
        all.filter(|(_, items)| *items > 0)
    }

    /// Lines for a person.
    pub(super) fn text(&self, shelf: &Shelf, now: SystemTime) -> String {
        if self.files == 0 && self.damage.is_empty() {
            return format!("{shelf}: empty\n");
        }
        let mut text = format!("{shelf}\n  ");
        match self.requests {
            0 => text += "nothing waits",
            requests => {
                text += &format!(
                    "{} in {}",
                    items(self.counted()),
                    count(requests, "request")
                );
                text += &format!(", {:.1}", ByteSize(self.bytes));
            }
        }
        if let Some((oldest, newest)) = self.received {
            let age = |at| units::readable(age(at, now));
            text += &format!("; received {} to {} ago", age(oldest), age(newest));
        }
        text += &format!(
            "\n  {}, {:.1}, {} % of it settled\n",
            count(self.files, "file"),
            ByteSize(self.file_bytes),
            self.settled_percent()
        );
        for key in &self.keys {
            text += &format!("  encrypted with the key {key}\n");
        }
        for damage in &self.damage {
            text += &format!("  {}\n", damage.text());
        }
        text
    }

    /// The same as JSON.
    pub(super) fn json(&self, shelf: &Shelf, now: SystemTime) -> Value {
        let seconds = |at: SystemTime| age(at, now).as_secs();
        let items: Map<String, Value> = self
            .counted()
            .map(|(signal, items)| (signal.name().to_owned(), items.into()))
            .collect();
        let mut value = json!({
            "requests": self.requests,
            "items": items,
            "bytes": self.bytes,
            "oldest_seconds": self.received.map(|(oldest, _)| seconds(oldest)),
            "newest_seconds": self.received.map(|(_, newest)| seconds(newest)),
            "files": self.files,
            "file_bytes": self.file_bytes,
            "settled_percent": self.settled_percent(),
            "keys": self.keys,
            "damage": self.damage.iter().map(Damage::json).collect::<Vec<_>>(),
        });
        if let (Shelf::Queue { exporter, priority }, Some(value)) = (shelf, value.as_object_mut()) {
            value.insert("exporter".to_owned(), exporter.as_str().into());
            value.insert("priority".to_owned(), priority.name().into());
        }
        value
    }
}

impl Damage {
    /// A line for a person.
    pub(super) fn text(&self) -> String {
        let Self { file, offset, what } = self;
        format!("damaged: {} at {offset}: {what}", file.display())
    }

    /// The same as JSON.
    pub(super) fn json(&self) -> Value {
        json!({"file": self.file.display().to_string(), "offset": self.offset, "what": self.what})
    }
}

/// `340 spans, 20 log records`
pub(super) fn items(counted: impl Iterator<Item = (Signal, u64)>) -> String {
    let said: Vec<String> = counted
        .map(|(signal, items)| match signal {
            Signal::Traces => count(items, "span"),
            Signal::Metrics => count(items, "data point"),
            Signal::Logs => count(items, "log record"),
            Signal::Profiles => count(items, "profile"),
        })
        .collect();
    match said.is_empty() {
        true => "no items".to_owned(),
        false => said.join(", "),
    }
}

/// `1 request`, `2 requests`
pub(super) fn count(number: u64, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// Whole seconds; a clock that was set back makes nothing older.
fn age(at: SystemTime, now: SystemTime) -> Duration {
    let age = now.duration_since(at).unwrap_or_default();
    Duration::from_secs(age.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::Priority;

    fn shelf() -> Shelf {
        Shelf::Queue {
            exporter: "backend".to_owned(),
            priority: Priority::High,
        }
    }

    fn summary() -> (Summary, SystemTime) {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let mut summary = Summary {
            files: 2,
            file_bytes: 64 << 10,
            ..Summary::default()
        };
        summary.add(Signal::Logs, 20, 6 << 10);
        summary.add(Signal::Traces, 1, 2 << 10);
        summary.add(Signal::Logs, 5, 8 << 10);
        for seconds in [90, 3700, 5] {
            summary.add_received(now - Duration::from_millis(seconds * 1000 + 1));
        }
        (summary, now)
    }

    #[test]
    fn a_person_reads_sentences() {
        let (mut summary, now) = summary();
        assert_eq!(
            summary.text(&shelf(), now),
            "backend, high\n  1 span, 25 log records in 3 requests, 16KiB; received 1h1m40s to 5s \
             ago\n  2 files, 64KiB, 75 % of it settled\n"
        );
        summary.keys.insert("k1".to_owned());
        summary.damage.push(Damage {
            file: "a/b".into(),
            offset: 7,
            what: "no".to_owned(),
        });
        let text = summary.text(&Shelf::DeadLetters, now);
        assert!(text.starts_with("dead letters\n"), "{text}");
        let tail = "  encrypted with the key k1\n  damaged: a/b at 7: no\n";
        assert!(text.ends_with(tail), "{text}");
        let empty = Summary::default().text(&shelf(), now);
        assert_eq!(empty, "backend, high: empty\n");
        let settled = Summary {
            files: 1,
            file_bytes: 4 << 20,
            ..Summary::default()
        };
        let expected = "backend, high\n  nothing waits\n  1 file, 4MiB, 100 % of it settled\n";
        assert_eq!(settled.text(&shelf(), now), expected);
    }

    #[test]
    fn a_program_reads_json() {
        let (summary, now) = summary();
        let expected = json!({
            "exporter": "backend",
            "priority": "high",
            "requests": 3,
            "items": {"traces": 1, "logs": 25},
            "bytes": 16384,
            "oldest_seconds": 3700,
            "newest_seconds": 5,
            "files": 2,
            "file_bytes": 65536,
            "settled_percent": 75,
            "keys": [],
            "damage": [],
        });
        assert_eq!(summary.json(&shelf(), now), expected);
    }
}
