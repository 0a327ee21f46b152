//! A report as JUnit's XML: a suite for each family, a case for each line.

use std::fmt::Write;

use super::{Outcome, Report};
use crate::cli::conform::line::{Family, Verdict};

/// The whole document.
pub(super) fn document(report: &Report) -> String {
    let mut text = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n".to_owned();
    let all: Vec<&Outcome> = report.outcomes.iter().collect();
    let counts = counts(&all);
    _ = writeln!(text, "<testsuites name=\"otlpd conform\"{counts}>");
    for family in &report.families {
        suite(&mut text, family, &report.outcomes);
    }
    text += "</testsuites>\n";
    text
}

fn suite(text: &mut String, family: &Family, outcomes: &[Outcome]) {
    let own = outcomes
        .iter()
        .filter(|found| found.line.id.starts_with(family.letter));
    let own: Vec<&Outcome> = own.collect();
    if own.is_empty() {
        return;
    }
    let name = escaped(&format!("{}: {}", family.letter, family.about));
    _ = writeln!(text, "  <testsuite name=\"{name}\"{}>", counts(&own));
    for outcome in own {
        case(text, outcome);
    }
    *text += "  </testsuite>\n";
}

fn counts(outcomes: &[&Outcome]) -> String {
    let count = |word| outcomes.iter().filter(|found| found.word() == word).count();
    let seconds: f64 = outcomes.iter().map(|found| found.took.as_secs_f64()).sum();
    format!(
        " tests=\"{}\" failures=\"{}\" skipped=\"{}\" errors=\"0\" time=\"{seconds:.3}\"",
        outcomes.len(),
        count("FAIL"),
        count("skip")
    )
}

fn case(text: &mut String, outcome: &Outcome) {
    let line = outcome.line;
    let (class, name) = (line.level.word(), format!("{} {}", line.id, line.what));
    let seconds = outcome.took.as_secs_f64();
    _ = write!(
        text,
        "    <testcase classname=\"{class}\" name=\"{}\" time=\"{seconds:.3}\"",
        escaped(&name)
    );
    let remark = escaped(&outcome.remark());
    _ = match (&outcome.verdict, outcome.word()) {
        (Verdict::Pass { note }, _) if note.is_empty() => writeln!(text, "/>"),
        (Verdict::Skip { .. }, _) => {
            writeln!(text, "><skipped message=\"{remark}\"/></testcase>")
        }
        (Verdict::Fail { .. }, "FAIL") => {
            writeln!(text, "><failure message=\"{remark}\"/></testcase>")
        }
        (_, word) => writeln!(
            text,
            "><system-out>{word}: {remark}</system-out></testcase>"
        ),
    };
}

/// Text as it may stand in an attribute.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '"' => out += "&quot;",
            '\'' => out += "&apos;",
            // XML has no way to write the others.
            c if c.is_control() && c != '\n' => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::escaped;

    #[test]
    fn whatever_a_server_said_fits_into_an_attribute() {
        assert_eq!(
            escaped("a<b> & \"c\" 'd'"),
            "a&lt;b&gt; &amp; &quot;c&quot; &apos;d&apos;"
        );
        assert_eq!(escaped("x\u{0}\u{1b}y"), "x\u{fffd}\u{fffd}y");
    }
}
