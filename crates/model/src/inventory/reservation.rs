//! Images that a person is about to take away.
//!
//! Whoever holds the lease of a workflow grants it, and from then on begins nothing that needs one of
//! the images. It ends with its deed, by its owner's word, or by itself after a while.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::ids::{AmiId, RequestId, WorkflowId};

/// How long a reservation stands, by the clock of the holder of the lease.
pub const STANDS: Duration = Duration::from_hours(1);

/// Images of one workflow that a person is about to take away.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reservation {
    /// The workflow under whose lease it was granted.
    pub workflow_id: WorkflowId,
    /// The request that asked for it.
    pub id: RequestId,
    /// Who asked.
    pub by: String,
    /// When it was granted, by the clock of the host that granted it.
    pub at: Timestamp,
    /// The images.
    pub images: Vec<AmiId>,
    /// Whether the workflow goes as a whole, with its records.
    #[serde(default)]
    pub run: bool,
}

impl Reservation {
    /// When it ends by itself.
    #[must_use]
    pub fn ends_at(&self) -> Timestamp {
        self.at.checked_add(STANDS).unwrap_or(Timestamp::MAX)
    }

    /// Whether it has ended by itself.
    #[must_use]
    pub fn has_ended(&self, now: Timestamp) -> bool {
        now >= self.ends_at()
    }

    /// Which it is, in words.
    #[must_use]
    pub fn name(&self) -> String {
        format!("reservation {}", self.id)
    }
}

/// A change of what is reserved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReservationChange {
    /// It begins.
    Begin(Reservation),
    /// It ends; one that is not there is fine.
    End {
        /// The workflow.
        workflow_id: WorkflowId,
        /// The request that asked for it.
        id: RequestId,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format_stability::stays_readable;

    /// See `format_stability`.
    #[test]
    fn a_reservation_is_read() {
        for run in ["false", "true"] {
            stays_readable::<Reservation>(
                &[],
                &format!(
                    r#"{{ "workflow_id": "wf", "id": "01900000-0000-7000-8000-000000000001", "by": "ada@desk",
                    "at": "2026-11-25T00:00:00Z", "images": ["ami-1"], "run": {run} }}"#
                ),
            );
        }
    }

    #[test]
    fn a_reservation_ends_by_itself_after_an_hour() {
        let reservation = Reservation {
            workflow_id: WorkflowId::new("wf"),
            id: RequestId::generate(),
            by: "ada@desk".to_owned(),
            at: "2026-11-25T00:00:00Z".parse().unwrap(),
            images: vec![AmiId::new("ami-1")],
            run: false,
        };
        assert!(!reservation.has_ended("2026-11-25T00:59:59Z".parse().unwrap()));
        assert!(reservation.has_ended("2026-11-25T01:00:00Z".parse().unwrap()));
    }
}
