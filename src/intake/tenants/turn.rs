//! The line of a tenant's requests, while it is in debt.

use std::sync::Arc;

use tokio::time::{Instant, timeout_at};

use super::{Charge, Tenant};
use crate::intake::{Admission, Intake, Refused, draining};

impl Intake {
    /// Holds a request that was read, until it is its tenant's turn, if it was let in before.
    pub async fn turn(&self, admission: &mut Admission) -> Result<(), Refused> {
        let Admission { caller, charge, .. } = admission;
        if let (None, Some(named)) = (&charge, &caller.tenant) {
            let turn = self.in_turn(&named.tenant, caller.deadline).await;
            *charge = Some(turn.map_err(|refused| caller.refused(refused))?);
        }
        Ok(())
    }

    /// Holds a request while its tenant has sent more than it may, behind those of the same tenant
    /// only, and in no queue. If it is not read yet, it takes no part of the budget meanwhile.
    pub(in crate::intake) async fn in_turn(
        &self,
        tenant: &Arc<Tenant>,
        deadline: Instant,
    ) -> Result<Charge, Refused> {
        if let Some(charge) = tenant.try_enter() {
            return Ok(charge);
        }
        let Some(_place) = self.door.place(Some(tenant)) else {
            return Err(tenant.limited());
        };
        let mut closed = self.door.closed.subscribe();
        tokio::select! {
            charge = timeout_at(deadline.max(Instant::now()), tenant.enter()) => {
                charge.map_err(|_elapsed| tenant.limited())
            }
            _ = closed.wait_for(|closed| *closed) => Err(draining()),
        }
    }
}
