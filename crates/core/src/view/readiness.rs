//! Whether a daemon does its work: for whoever starts it, and for whoever watches over it. Pure; time
//! is an argument.

use std::time::Duration;

use jiff::Timestamp;

use crate::view::View;
use reconciler_model::duration;

/// Passes may take longer than the time between them, or than the last one; not so much longer.
const TIMES: u32 = 3;

/// So long no pass is late, whatever the time between them: AWS may have a bad minute.
const NEVER_LATE: Duration = Duration::from_mins(5);

/// How long after the last pass, which took so long, the next one has to have ended.
fn longest(interval: Duration, took: Duration) -> Duration {
    let by_interval = interval.saturating_mul(TIMES);
    by_interval.max(interval.saturating_add(took.saturating_mul(TIMES))).max(NEVER_LATE)
}

/// Why a daemon is not ready, a sentence each; none: it is. `interval` is the time between passes.
#[must_use]
pub fn why_not_ready(view: &View, interval: Duration, now: Timestamp) -> Vec<String> {
    let mut why = Vec::new();
    let since = Duration::try_from(now.duration_since(view.at)).unwrap_or_default();
    if view.sequence == 0 {
        why.push("no pass over the repositories has ended yet".to_owned());
    } else if since > longest(interval, view.took) {
        why.push(format!(
            "the last pass ended {} ago, and one should end every {}",
            duration::text(Duration::from_secs(since.as_secs())),
            duration::text(interval)
        ));
    }
    // One workflow of another account stops no other.
    let is_reached = view.workflows.iter().any(|workflow| workflow.reaches_inventory);
    if !is_reached {
        why.extend(view.workflows.iter().map(|workflow| {
            format!(
                "the inventory of {} in {} was not reached: {}",
                workflow.folder,
                workflow.repository,
                workflow.error.as_deref().unwrap_or("it was not looked for yet")
            )
        }));
    }
    why
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::{Standing, WorkflowView};
    use reconciler_model::ids::WorkflowId;

    const INTERVAL: Duration = Duration::from_mins(5);

    fn workflow(folder: &str, error: Option<&str>) -> WorkflowView {
        WorkflowView {
            repository: "images".to_owned(),
            folder: folder.to_owned(),
            workflow_id: WorkflowId::new(folder),
            standing: Standing::Nobody,
            report: None,
            reaches_inventory: error.is_none(),
            plan: None,
            rollout: None,
            error: error.map(str::to_owned),
        }
    }

    fn after(sequence: u64, minutes: i64, workflows: Vec<WorkflowView>) -> Vec<String> {
        let at = Timestamp::UNIX_EPOCH;
        let view = View { sequence, workflows, ..View::of_nothing(at) };
        why_not_ready(&view, INTERVAL, at + jiff::SignedDuration::from_mins(minutes))
    }

    #[test]
    fn a_daemon_is_ready_after_a_pass_that_reached_an_inventory() {
        assert_eq!(after(0, 0, vec![]), ["no pass over the repositories has ended yet"]);
        assert!(after(1, 0, vec![]).is_empty(), "git describes nothing");
        assert!(after(1, 15, vec![workflow("a", None)]).is_empty());
        assert!(after(1, 0, vec![workflow("a", None), workflow("b", Some("denied"))]).is_empty());
        assert_eq!(
            after(1, 0, vec![workflow("b", Some("denied"))]),
            ["the inventory of b in images was not reached: denied"]
        );
    }

    #[test]
    fn a_daemon_whose_passes_stand_still_is_not_ready() {
        assert_eq!(
            after(7, 16, vec![workflow("a", None)]),
            ["the last pass ended 16m ago, and one should end every 5m"]
        );
    }

    #[test]
    fn a_pass_may_take_longer_than_the_time_between_passes() {
        let is_late = |interval, took, seconds| {
            let at = Timestamp::UNIX_EPOCH;
            let took = Duration::from_secs(took);
            let view = View { sequence: 7, took, ..View::of_nothing(at) };
            let now = at + jiff::SignedDuration::from_secs(seconds);
            !why_not_ready(&view, Duration::from_secs(interval), now).is_empty()
        };
        // An interval of a second says little about a pass.
        assert!(!is_late(1, 0, 300) && is_late(1, 0, 301));
        assert!(!is_late(1, 200, 601) && is_late(1, 200, 602));
        assert!(!is_late(300, 400, 1500) && is_late(300, 400, 1501));
        assert!(!is_late(300, 10, 900) && is_late(300, 10, 901));
    }
}
