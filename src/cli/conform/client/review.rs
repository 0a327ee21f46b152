//! What was seen of all scenarios, and the verdicts on it.

use super::ClientArgs;
use super::arrival::{Arrival, Wire};
use super::case::{Case, Seen};
use super::line::{ClientLine, Finding, Judge, Needs, judge_each};
use crate::cli::conform::line::{Verdict, failed, skipped};

/// What was seen of all scenarios, by line and protocol.
pub(super) struct Review {
    seen: Vec<(&'static ClientLine, Wire, Vec<Seen>)>,
    pub(super) arrivals: Vec<Arrival>,
    /// The protocols over which nothing came at all, and what did instead.
    silent: Vec<(Wire, String)>,
}

impl Review {
    pub(super) const fn new() -> Self {
        Self {
            seen: Vec::new(),
            arrivals: Vec::new(),
            silent: Vec::new(),
        }
    }

    /// Whether anything came over a protocol at all.
    pub(super) fn begin(&mut self, seen: Seen) -> bool {
        let wire = seen.case.wire;
        let came = !seen.arrivals.is_empty();
        if !came {
            let output = seen.end.as_ref().map_or("", |end| end.output.trim());
            let last = output.lines().last().unwrap_or("nothing");
            let command = match &seen.end {
                Some(_) => format!("; the last line of the command's output: {last}"),
                None => String::new(),
            };
            self.silent
                .push((wire, format!("{}{command}", seen.nothing_came())));
        }
        self.arrivals.extend(seen.arrivals);
        self.arrivals.extend(seen.others);
        came
    }

    /// Deals what was seen out to the lines whose scenarios these were, one after the other.
    pub(super) fn take(
        &mut self,
        scenes: Vec<(&'static ClientLine, Wire, Vec<Case>)>,
        seen: Vec<Seen>,
    ) {
        let mut seen = seen.into_iter();
        for (line, wire, cases) in scenes {
            let of_line: Vec<Seen> = seen.by_ref().take(cases.len()).collect();
            for seen in &of_line {
                self.arrivals.extend(seen.arrivals.iter().cloned());
                if seen.end.is_some() {
                    self.arrivals.extend(seen.others.iter().cloned());
                }
            }
            self.seen.push((line, wire, of_line));
        }
    }

    /// An error, in a sentence, where nothing came over any protocol.
    pub(super) fn came(&self) -> Result<(), String> {
        let silent: Vec<&str> = self.silent.iter().map(|(_, said)| said.as_str()).collect();
        match self.seen.is_empty() && self.arrivals.is_empty() {
            true => Err(silent.join("; ")),
            false => Ok(()),
        }
    }

    /// Over all protocols: wrong where it is over any, right where it is over one.
    pub(super) fn verdict(&self, line: &'static ClientLine, args: &ClientArgs) -> Verdict {
        let mut expected = Vec::new();
        let (mut wrong, mut notes, mut reasons) = (Vec::new(), Vec::new(), Vec::new());
        let mut is_right = false;
        let wires = line.wires.iter().copied();
        for wire in wires.filter(|wire| args.protocol.contains(wire)) {
            let said = |text: &str| format!("{}: {text}", wire.name());
            match self.finding(line, wire, args) {
                Finding::Right(note) => {
                    is_right = true;
                    notes.extend(Some(said(&note)).filter(|_| !note.is_empty()));
                }
                Finding::Wrong { expected: one, got } => {
                    expected.extend(Some(one).filter(|one| !expected.contains(one)));
                    wrong.push(said(&got));
                }
                Finding::Unknown(why) => {
                    reasons.extend(Some(why).filter(|why| !reasons.contains(why)));
                }
            }
        }
        if !wrong.is_empty() {
            failed(expected.join("; "), wrong.join("; "))
        } else if is_right {
            let note = notes.join("; ");
            Verdict::Pass { note }
        } else if reasons.is_empty() {
            skipped("it is about a protocol that is not judged")
        } else {
            skipped(reasons.join("; "))
        }
    }

    fn finding(&self, line: &'static ClientLine, wire: Wire, args: &ClientArgs) -> Finding {
        let over = |arrival: &&Arrival| arrival.content.wire == wire;
        let arrivals: Vec<_> = self.arrivals.iter().filter(over).cloned().collect();
        let silence = self.silent.iter().find(|(silent, _)| *silent == wire);
        let needs_command = line.needs == Needs::Command && args.command.is_empty();
        let needs_stream = line.needs == Needs::Stream && !args.command.is_empty();
        let of_line = self
            .seen
            .iter()
            .find(|(one, over, _)| std::ptr::eq(*one, line) && *over == wire);
        match (line.judge, of_line) {
            (Judge::Unseen(why), _) => Finding::Unknown(why.to_owned()),
            _ if needs_command => Finding::Unknown(
                "it takes a COMMAND that can be started for each scenario".to_owned(),
            ),
            _ if needs_stream => {
                Finding::Unknown("it takes an exporter that goes on sending".to_owned())
            }
            // What cannot be read is no scenario's, but is judged for that.
            (Judge::Arrivals(judge), _) if !arrivals.is_empty() => judge(&arrivals),
            _ if silence.is_some() => {
                let said = silence.map_or("", |(_, said)| said);
                Finding::Unknown(said.to_owned())
            }
            (Judge::Cases(_), Some((_, _, seen))) => judge_each(seen),
            (Judge::Together(_, judge), Some((_, _, seen))) => judge(seen),
            _ => Finding::Unknown("it was not played".to_owned()),
        }
    }
}
