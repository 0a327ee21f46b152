//! What came of a run, in words: aligned text, one JSON object, or JUnit's XML.

mod junit;

use std::fmt::Write;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use super::args::Format;
use super::families::Selection;
use super::line::{Check, Family, Level, Line, Verdict};
use super::probe::Probe;

/// What came of a line.
#[derive(Clone, Debug)]
pub(super) struct Outcome {
    pub(super) line: Line,
    pub(super) verdict: Verdict,
    pub(super) took: Duration,
}

/// What came of a run.
pub(super) struct Report {
    /// Whom it asked.
    pub(super) endpoints: Vec<(&'static str, String)>,
    pub(super) families: Vec<Family>,
    pub(super) began: SystemTime,
    pub(super) outcomes: Vec<Outcome>,
    /// The line after which the server answered nothing any more.
    pub(super) gone: Option<&'static str>,
}

impl Outcome {
    /// The word of its verdict. A choice that was made otherwise is no failure.
    pub(super) const fn word(&self) -> &'static str {
        match (&self.verdict, self.line.level) {
            (Verdict::Pass { .. }, _) => "pass",
            (Verdict::Skip { .. }, _) => "skip",
            (Verdict::Fail { .. }, Level::Choice) => "differs",
            (Verdict::Fail { .. }, Level::Must | Level::Should) => "FAIL",
        }
    }

    /// What there is to add to the line.
    pub(super) fn remark(&self) -> String {
        match &self.verdict {
            Verdict::Pass { note } => note.clone(),
            Verdict::Skip { reason } => reason.clone(),
            Verdict::Fail { expected, got } => {
                let source = self.line.source;
                format!("expected {expected}, got {got}, source {source}")
            }
        }
    }
}

impl Report {
    pub(super) fn new(probe: &Probe, families: Vec<Family>) -> Self {
        let grpc = probe.grpc.as_ref().map(|found| ("gRPC", found.to_string()));
        let http = probe.http.as_ref().map(|found| ("HTTP", found.to_string()));
        Self {
            endpoints: grpc.into_iter().chain(http).collect(),
            families,
            began: SystemTime::now(),
            outcomes: Vec::new(),
            gone: None,
        }
    }

    fn count(&self, word: &str) -> usize {
        let of_word = self.outcomes.iter().filter(|found| found.word() == word);
        of_word.count()
    }

    /// The lines that fail: choices are not among them.
    pub(super) fn failed(&self) -> usize {
        self.count("FAIL")
    }

    /// Whether there is no verdict on any line.
    pub(super) fn is_empty(&self) -> bool {
        self.count("skip") == self.outcomes.len()
    }

    /// The last line.
    pub(super) fn total(&self) -> String {
        let (passed, failed, skipped) = (self.count("pass"), self.failed(), self.count("skip"));
        format!("{passed} passed, {failed} failed, {skipped} skipped")
    }

    /// The line before it: each level by itself.
    fn levels(&self) -> String {
        let mut text = String::new();
        for level in [Level::Must, Level::Should] {
            let of_level = self
                .outcomes
                .iter()
                .filter(|found| found.line.level == level);
            let told: Vec<_> = of_level.map(Outcome::word).collect();
            let count = |word| told.iter().filter(|found| **found == word).count();
            let (passed, failed) = (count("pass"), count("FAIL"));
            let word = level.word();
            _ = write!(text, "{word}: {passed} of {} pass; ", passed + failed);
        }
        let differ = self.count("differs");
        _ = write!(
            text,
            "CHOICE: {differ} differ from otlpd's, which fails nobody"
        );
        text
    }

    fn object(&self) -> Value {
        let lines: Vec<Value> = self.outcomes.iter().map(object).collect();
        let began = self.began.duration_since(SystemTime::UNIX_EPOCH);
        json!({
            "otlpd": env!("CARGO_PKG_VERSION"),
            "began": httpdate::fmt_http_date(self.began),
            "began_unix_seconds": began.unwrap_or_default().as_secs(),
            "endpoints": self.endpoints.iter().map(|(kind, address)| {
                json!({ "kind": kind, "address": address })
            }).collect::<Vec<_>>(),
            "lines": lines,
            "passed": self.count("pass"),
            "failed": self.failed(),
            "differs": self.count("differs"),
            "skipped": self.count("skip"),
            "gone_after": self.gone,
        })
    }
}

fn object(outcome: &Outcome) -> Value {
    let line = outcome.line;
    let mut object = json!({
        "id": line.id,
        "level": line.level,
        "what": line.what,
        "source": line.source,
        "verdict": outcome.word().to_ascii_lowercase(),
        "seconds": outcome.took.as_secs_f64(),
    });
    let more = match &outcome.verdict {
        Verdict::Pass { note } if note.is_empty() => json!({}),
        Verdict::Pass { note } => json!({ "note": note }),
        Verdict::Fail { expected, got } => json!({ "expected": expected, "got": got }),
        Verdict::Skip { reason } => json!({ "reason": reason }),
    };
    if let (Some(object), Value::Object(more)) = (object.as_object_mut(), more) {
        object.extend(more);
    }
    object
}

/// How wide the columns are: those of the id and of what is asked.
fn widths<'a>(lines: impl Iterator<Item = &'a Line> + Clone) -> (usize, usize) {
    let id = lines.clone().map(|line| line.id.len()).max();
    let what = lines.map(|line| line.what.len()).max();
    (id.unwrap_or(0), what.unwrap_or(0))
}

/// How a run is shown while it goes on, and at its end.
#[derive(Clone, Copy)]
pub(super) struct Show {
    format: Format,
    /// Whether standard error is a terminal, on which a line can be overwritten.
    terminal: bool,
}

impl Show {
    pub(super) const fn new(format: Format, terminal: bool) -> Self {
        Self { format, terminal }
    }

    pub(super) fn begin(self, report: &Report, chosen: &[&Check]) {
        if self.format == Format::Text {
            let asked = report
                .endpoints
                .iter()
                .map(|(kind, at)| format!("{kind} {at}"));
            let asked = asked.collect::<Vec<_>>().join(", ");
            let count = chosen.len();
            crate::cli::print(&format!("otlpd conform: {asked}, {count} lines\n\n"));
        }
    }

    pub(super) fn line(self, outcome: &Outcome) {
        if self.format == Format::Text {
            crate::cli::print(&row(outcome));
        }
    }

    /// Says on standard error that a line takes its time.
    pub(super) fn still_at(self, line: Line, took: Duration) {
        let text = format!(
            "  {} takes {} s so far: {}",
            line.id,
            took.as_secs(),
            line.what
        );
        if self.terminal {
            crate::cli::complain(&format!("\r\x1b[K{text}"));
        } else {
            crate::cli::complain(&format!("{text}\n"));
        }
    }

    /// Says on standard error what the run waits for.
    pub(super) fn note(self, text: &str) {
        let end = if self.terminal { "" } else { "\n" };
        crate::cli::complain(&format!("  {text}{end}"));
    }

    /// Takes back what [`Show::still_at`] and [`Show::note`] said.
    pub(super) fn quiet(self) {
        if self.terminal {
            crate::cli::complain("\r\x1b[K");
        }
    }

    pub(super) fn end(self, report: &Report) {
        match self.format {
            Format::Text => {
                crate::cli::print(&format!("\n{}\n{}\n", report.levels(), report.total()));
            }
            Format::Json => crate::cli::print(&format!("{}\n", report.object())),
            Format::Junit => crate::cli::print(&junit::document(report)),
        }
        if self.format != Format::Text {
            crate::cli::complain(&format!("{}\n", report.total()));
        }
    }
}

/// The widths of the columns, which do not depend on what was chosen, so that two reports can be
/// laid side by side.
const ID_WIDTH: usize = 4;
const WHAT_WIDTH: usize = 76;

fn row(outcome: &Outcome) -> String {
    let (word, line) = (outcome.word(), outcome.line);
    let (id, level, what) = (line.id, line.level.word(), line.what);
    let remark = outcome.remark();
    let row = format!("{word:7} {id:ID_WIDTH$} {level:6} {what:WHAT_WIDTH$}  {remark}");
    format!("{}\n", row.trim_end())
}

/// All lines of a server that are chosen.
pub(super) fn chosen(families: &[Family], selection: &Selection) -> Vec<Line> {
    let lines = families.iter().flat_map(|family| &family.checks);
    let lines = lines.map(|check| check.line);
    lines.filter(|line| selection.has(line.id)).collect()
}

/// These lines with their level and source.
pub(super) fn list(lines: Vec<Line>, format: Format) -> String {
    if format == Format::Json {
        return format!("{}\n", json!(lines));
    }
    let (id_width, what_width) = widths(lines.iter());
    let mut text = String::new();
    for line in lines {
        let (id, level, what, source) = (line.id, line.level.word(), line.what, line.source);
        _ = writeln!(
            text,
            "{id:id_width$} {level:6} {what:what_width$}  {source}"
        );
    }
    text
}
