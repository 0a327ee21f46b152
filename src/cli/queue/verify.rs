//! `otlpd queue verify`: reads everything, and says what is damaged.

use clap::Args;
use serde_json::json;

use super::contents::{self, Seen};
use super::output::Stop;
use super::place::{Place, PlaceArgs, Places};
use super::progress::Progress;
use super::summary::{Damage, count};
use super::{ReportFormat, Verdict};

#[derive(Args, Debug)]
pub(super) struct Verify {
    #[command(flatten)]
    place: PlaceArgs,
    /// How to say it
    #[arg(long, value_enum, default_value = "text")]
    format: ReportFormat,
}

/// What was read of all queues.
#[derive(Debug, Default)]
struct Findings {
    files: u64,
    records: u64,
    bytes: u64,
    /// Records whose key was not given.
    locked: u64,
    damage: Vec<Damage>,
}

impl Verify {
    pub(super) fn run(&self) -> Result<Verdict, String> {
        let places = self.place.find()?;
        let mut progress = Progress::new(contents::bytes(&places));
        let mut findings = Findings::default();
        for place in &places.logs {
            findings
                .read(&places, place, &mut progress)
                .map_err(|stop| stop.to_string())?;
        }
        super::super::print(&match self.format {
            ReportFormat::Text => findings.text(),
            ReportFormat::Json => findings.json(),
        });
        Ok(match findings.damage.is_empty() {
            true => Verdict::Sound,
            false => Verdict::Damaged,
        })
    }
}

impl Findings {
    /// Compares the sum of every record with its bytes, settled or not; then looks into those
    /// that are not.
    fn read(
        &mut self,
        places: &Places,
        place: &Place,
        progress: &mut Progress,
    ) -> Result<(), Stop> {
        let segments = contents::segments(places, place, &mut |seen| {
            self.note(seen);
            Ok(())
        })?;
        for segment in segments {
            progress.step(segment.bytes);
            let Some(survey) = contents::unless_gone(&segment, segment.survey())? else {
                continue;
            };
            self.files += 1;
            self.bytes += segment.bytes;
            self.records += survey.records.records;
            self.damage
                .extend(survey.damage.into_iter().map(Damage::from));
            if places.has_key_of(&segment) {
                contents::records(place, &segment, &places.keys, &mut |seen| {
                    if let Seen::Record(_) = seen {
                        self.note(seen);
                    }
                    Ok(())
                })?;
            } else {
                self.locked += survey.unsettled.records;
            }
        }
        Ok(())
    }

    fn note(&mut self, seen: Seen) {
        match seen {
            Seen::Damage(damage) => self.damage.push(damage),
            Seen::Record(record) => {
                let unreadable = record.request().err();
                self.damage
                    .extend(unreadable.map(|what| record.damage(what)));
            }
            Seen::File { .. } | Seen::Locked(_) => {}
        }
    }

    fn text(&self) -> String {
        let mut text: String = self
            .damage
            .iter()
            .map(|damage| damage.text() + "\n")
            .collect();
        text += &format!(
            "{} in {}: ",
            count(self.records, "record"),
            count(self.files, "file")
        );
        text += &match self.damage.len() {
            0 => "all in order\n".to_owned(),
            places => format!("damaged in {}\n", count(places as u64, "place")),
        };
        if self.locked > 0 {
            text += &format!(
                "{} that {} encrypted: only the sums were compared, since the key was not given \
                 (--key)\n",
                count(self.locked, "record"),
                if self.locked == 1 {
                    "waits is"
                } else {
                    "wait are"
                }
            );
        }
        text
    }

    fn json(&self) -> String {
        let damage: Vec<_> = self.damage.iter().map(Damage::json).collect();
        let report = json!({
            "files": self.files,
            "records": self.records,
            "bytes": self.bytes,
            "locked": self.locked,
            "damage": damage,
        });
        format!("{report:#}\n")
    }
}
