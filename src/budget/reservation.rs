//! What was taken out of a budget.

use tokio::sync::OwnedSemaphorePermit;

/// Bytes taken out of the budget; dropping it gives them back.
#[derive(Debug, Default)]
#[must_use = "dropping a reservation gives its bytes back"]
pub struct Reservation {
    permit: Option<OwnedSemaphorePermit>,
    /// As much as was taken of what is kept for small requests.
    of_kept: Option<OwnedSemaphorePermit>,
    /// As much of both of the part of the budget that it was taken from.
    of_part: Option<OwnedSemaphorePermit>,
}

impl Reservation {
    pub(super) fn new(permit: OwnedSemaphorePermit) -> Self {
        Self {
            permit: Some(permit),
            ..Self::default()
        }
    }

    pub(super) fn of_kept(permit: OwnedSemaphorePermit) -> Self {
        Self {
            of_kept: Some(permit),
            ..Self::default()
        }
    }

    pub(super) fn of_part(self, permit: OwnedSemaphorePermit) -> Self {
        Self {
            of_part: Some(permit),
            ..self
        }
    }

    /// What is reserved, in bytes.
    pub fn bytes(&self) -> usize {
        count(&self.permit) + count(&self.of_kept)
    }

    /// Adds the bytes of `other`, which must come from the same budget.
    pub fn merge(&mut self, other: Self) {
        merge(&mut self.permit, other.permit);
        merge(&mut self.of_kept, other.of_kept);
        merge(&mut self.of_part, other.of_part);
    }

    /// Splits off a reservation of `bytes`; of all there is, if that is less.
    pub fn split_off(&mut self, bytes: usize) -> Self {
        let bytes = bytes.min(self.bytes());
        let kept = bytes.min(count(&self.of_kept));
        Self {
            permit: split(&mut self.permit, bytes - kept),
            of_kept: split(&mut self.of_kept, kept),
            of_part: split(&mut self.of_part, bytes),
        }
    }

    /// Gives back all above `bytes`; what is kept for small requests first.
    pub fn shrink_to(&mut self, bytes: usize) {
        drop(self.split_off(self.bytes().saturating_sub(bytes)));
    }
}

fn count(permit: &Option<OwnedSemaphorePermit>) -> usize {
    permit.as_ref().map_or(0, OwnedSemaphorePermit::num_permits)
}

fn split(permit: &mut Option<OwnedSemaphorePermit>, bytes: usize) -> Option<OwnedSemaphorePermit> {
    permit.as_mut()?.split(bytes)
}

fn merge(mine: &mut Option<OwnedSemaphorePermit>, theirs: Option<OwnedSemaphorePermit>) {
    match (mine, theirs) {
        (Some(mine), Some(theirs)) => mine.merge(theirs),
        (mine @ None, theirs) => *mine = theirs,
        (Some(_), None) => {}
    }
}
