//! `otlpd queue inspect`: what each queue holds.

use std::path::Path;
use std::time::SystemTime;

use clap::Args;
use serde_json::{Value, json};

use super::contents::{self, Locked};
use super::place::{self, PlaceArgs, Shelf};
use super::progress::Progress;
use super::summary::{Summary, count};
use super::{ReportFormat, Verdict};
use crate::units::ByteSize;

#[derive(Args, Debug)]
pub(super) struct Inspect {
    #[command(flatten)]
    place: PlaceArgs,
    /// How to say it
    #[arg(long, value_enum, default_value = "text")]
    format: ReportFormat,
}

impl Inspect {
    pub(super) fn run(&self) -> Result<Verdict, String> {
        let places = self.place.find()?;
        let mut progress = Progress::new(contents::bytes(&places));
        let mut shelves = Vec::new();
        for place in &places.logs {
            let mut summary = Summary::default();
            contents::read(&places, place, Locked::Sum, &mut |seen| {
                progress.note(&seen);
                summary.note(seen);
                Ok(())
            })
            .map_err(|stop| stop.to_string())?;
            shelves.push((place.shelf.clone(), summary));
        }
        super::super::print(&self.report(&places.directory, &shelves));
        let sound = shelves.iter().all(|(_, summary)| summary.damage.is_empty());
        Ok(if sound {
            Verdict::Sound
        } else {
            Verdict::Damaged
        })
    }

    fn report(&self, directory: &Path, shelves: &[(Shelf, Summary)]) -> String {
        let now = SystemTime::now();
        let aside = place::quarantine(directory);
        match self.format {
            ReportFormat::Text => text(directory, shelves, aside, now),
            ReportFormat::Json => {
                let (letters, queues): (Vec<_>, Vec<_>) = shelves
                    .iter()
                    .partition(|(shelf, _)| *shelf == Shelf::DeadLetters);
                let values = |shelves: Vec<&(Shelf, Summary)>| {
                    let values = shelves.into_iter();
                    let values = values.map(|(shelf, summary)| summary.json(shelf, now));
                    values.collect::<Vec<Value>>()
                };
                let report = json!({
                    "directory": directory.display().to_string(),
                    "queues": values(queues),
                    "dead_letters": values(letters).pop(),
                    "quarantine": {"files": aside.0, "bytes": aside.1},
                });
                format!("{report:#}\n")
            }
        }
    }
}

fn text(
    directory: &Path,
    shelves: &[(Shelf, Summary)],
    (files, bytes): (u64, u64),
    now: SystemTime,
) -> String {
    let each = shelves.iter();
    let mut text: String = each
        .map(|(shelf, summary)| summary.text(shelf, now))
        .collect();
    if shelves.is_empty() {
        text += &format!("{} holds no queues\n", directory.display());
    }
    if files > 0 {
        text += &format!(
            "quarantine: {}, {:.1}, set aside by otlpd because they are damaged\n",
            count(files, "file"),
            ByteSize(bytes)
        );
    }
    text
}
