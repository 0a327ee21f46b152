//! One request on its way from a file through the door.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;

use crate::intake::{Admission, Intake, Refused, Request};
use crate::limited;
use crate::net::compression::Coding;
use crate::otlp::{Format, Signal};
use crate::telemetry::metrics::{Fault, ReceiverMetrics, Refusal};

/// When to come back after an injected refusal.
const INJECTED_DELAY: Duration = Duration::from_secs(1);

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is done with: taken, or passed over and counted.
    Done,
    /// It is to be read again after this time.
    Later(Duration),
    /// otlpd is stopping: it is to be read again by the next.
    Stopping,
}

/// Where a request stands, for a person.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'a> {
    pub(super) file: &'a Path,
    /// Counted from 1, from where reading began.
    pub(super) line: u64,
    /// In uncompressed bytes.
    pub(super) offset: u64,
}

/// The door, and what is counted at it.
pub(super) struct Gate {
    pub(super) receiver: String,
    pub(super) intake: Intake,
    pub(super) metrics: ReceiverMetrics,
    pub(super) format: Format,
    /// What kind of requests files hold; if not said, any that say so themselves.
    pub(super) signal: Option<Signal>,
    /// The largest request, in bytes.
    pub(super) limit: usize,
}

/// The Collector compresses each message by itself. None begins so that is not compressed.
fn packed(format: Format, body: &[u8]) -> Option<Coding> {
    let zstd = format == Format::Protobuf && body.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]);
    zstd.then_some(Coding::Zstd)
}

impl Gate {
    /// Lets a request of this size in, to be read; held while there is no room.
    pub(super) async fn admit(
        &self,
        signal: Signal,
        bytes: usize,
        place: Place<'_>,
    ) -> Result<Admission, Fate> {
        if !self.intake.takes(signal) {
            self.fault(
                Fault::NoSuchPath,
                place,
                &format!("no pipeline of this receiver takes {}", signal.name()),
            );
            return Err(Fate::Done);
        }
        // A file has no headers: it is an anonymous tenant's, of normal priority.
        let caller = self.intake.caller(&HeaderMap::new(), None, None);
        let admitted = self.intake.admit(signal, bytes, caller).await;
        let mut admitted = admitted.map_err(|refused| self.refused(signal, refused, place))?;
        self.grow(&mut admitted, bytes, signal, place).await?;
        Ok(admitted)
    }

    /// Pays for a request that turns out to be of so many bytes, or of more.
    pub(super) async fn grow(
        &self,
        admission: &mut Admission,
        bytes: usize,
        signal: Signal,
        place: Place<'_>,
    ) -> Result<(), Fate> {
        let read = admission.reservation.bytes().min(bytes);
        let grown = self.intake.grow(admission, read, (bytes, bytes)).await;
        grown.map_err(|refused| self.refused(signal, refused, place))
    }

    /// Carries it into the pipelines.
    pub(super) async fn submit(
        &self,
        signal: Signal,
        body: Vec<u8>,
        mut admission: Admission,
        place: Place<'_>,
    ) -> Fate {
        let wire = body.len();
        self.intake.settle_length(&mut admission, wire, wire);
        let request = Request {
            signal,
            encoding: packed(self.format, &body),
            body: Bytes::from(body),
            format: self.format,
            limit: self.limit,
            reservation: admission.reservation,
            caller: admission.caller,
            charge: admission.charge,
        };
        match self.intake.submit(request).await {
            Ok(accepted) => {
                self.metrics.body(wire, accepted.bytes);
                self.metrics
                    .accepted(signal, accepted.items, accepted.rejected_by);
                if accepted.rejected > 0 {
                    let (rejected, first) = (accepted.rejected, accepted.message);
                    limited!(
                        warn,
                        receiver = self.receiver,
                        file = %place.file.display(),
                        line = place.line,
                        offset = place.offset,
                        rejected,
                        first,
                        "items at fault are cut out of a request; the others are taken"
                    );
                }
                Fate::Done
            }
            Err(refused) => self.refused(signal, refused, place),
        }
    }

    /// Counts a request that is passed over, and says where it stands.
    pub(super) fn fault(&self, fault: Fault, place: Place<'_>, problem: &str) {
        self.metrics.faulty(fault);
        limited!(
            warn,
            receiver = self.receiver,
            file = %place.file.display(),
            line = place.line,
            offset = place.offset,
            reason = fault.name(),
            problem,
            "a request in a file is passed over"
        );
    }

    fn refused(&self, signal: Signal, refused: Refused, place: Place<'_>) -> Fate {
        let delay = match &refused {
            Refused::Overloaded { retry_after, .. } => Some(*retry_after),
            Refused::Injected { .. } => Some(INJECTED_DELAY),
            _ => None,
        };
        if let Some(why) = refused.why() {
            self.metrics.refused(signal, 0, why);
            return match (why, delay) {
                (Refusal::Draining, _) | (_, None) => Fate::Stopping,
                (_, Some(delay)) => Fate::Later(delay),
            };
        }
        match refused {
            Refused::TooLarge { limit } => {
                let problem = format!("it is above the limit of {limit} bytes");
                self.fault(Fault::TooLarge, place, &problem);
            }
            Refused::Damaged { problem } => self.fault(Fault::Compression, place, &problem),
            Refused::Invalid { field, problem } => {
                let problem = match field.as_str() {
                    "" => problem,
                    field => format!("{field}: {problem}"),
                };
                self.fault(Fault::Malformed, place, &problem);
            }
            _ => {
                self.metrics.failed(signal, 0);
                limited!(
                    error,
                    receiver = self.receiver,
                    file = %place.file.display(),
                    line = place.line,
                    offset = place.offset,
                    "a request in a file was refused for good by a destination, or by a fault \
                     processor; it is passed over"
                );
            }
        }
        Fate::Done
    }
}
