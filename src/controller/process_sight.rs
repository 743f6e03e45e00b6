//! Looks at the processes that a lease and a journal speak of, as far as they can be seen from
//! here: for people, and without a trace. A pass looks for itself (`build_evidence`); nothing is
//! decided by this.

use std::collections::BTreeMap;
use std::path::Path;

use crate::controller::lease_holder;
use crate::controller::process_identity::own_mark_with;
use crate::packer::process::{ProcessId, Session};
use crate::packer::supervisor::files;
use crate::packer::supervisor::files::{Ended, Job, Supervisor};
use reconciler_core::plan::sight::{BuildProcess, BuildSight, Process, Sights};
use reconciler_model::ids::{StepId, WorkflowId};
use reconciler_model::inventory::heartbeat::{BuildSignal, Heartbeat};
use reconciler_model::inventory::journal::Attempt;
use reconciler_model::inventory::{Inventory, InventoryError, Lease};

/// What can be seen of whoever holds the lease, and of the builds that are not over. The inventory
/// is asked only for signs of life of builds that are not this host's.
pub async fn sights(
    state_dir: &Path,
    inventory: &dyn Inventory,
    workflow: &WorkflowId,
    lease: Option<&Lease>,
    attempts: &BTreeMap<StepId, Attempt>,
) -> Result<Sights, InventoryError> {
    let mut sights = sights_here(state_dir, lease, attempts);
    let unknown = |sight: &BuildSight| sight.seen == BuildProcess::Unknown;
    if sights.builds.values().any(unknown) {
        for beat in inventory.beats(workflow).await? {
            if let Some(sight) = sights.builds.get_mut(&beat.build_id)
                && unknown(sight)
            {
                *sight = told(&beat);
            }
        }
    }
    Ok(sights)
}

/// The same without a word of the inventory: builds of other hosts are not seen.
#[must_use]
pub fn sights_here(
    state_dir: &Path,
    lease: Option<&Lease>,
    attempts: &BTreeMap<StepId, Attempt>,
) -> Sights {
    let own = own_mark_with(state_dir);
    let mut sights = Sights { holder: holder_of(lease), ..Sights::default() };
    for attempt in attempts.values().filter(|attempt| !attempt.is_over()) {
        let here = own.is_some() && attempt.intent.prepared_by == own;
        let sight = build(state_dir, attempt, here);
        sights.builds.insert(attempt.build_id.clone(), sight);
    }
    sights
}

/// What can be seen of the holder of a lease.
#[must_use]
pub fn holder_of(lease: Option<&Lease>) -> Process {
    let holder = lease.and_then(|lease| lease.holder.as_ref());
    holder.map_or(Process::Unknown, |holder| lease_holder::seen(holder))
}

/// What the folder of a build and the processes that it names show. What is not there says
/// something only `here`, where it was made.
fn build(state_dir: &Path, attempt: &Attempt, here: bool) -> BuildSight {
    let folder = state_dir.join("builds").join(attempt.build_id.as_str());
    let only = |seen| BuildSight { seen, ..BuildSight::default() };
    // Only the supervisor, or whoever saw it dead, writes it: it is true wherever it is read.
    if let Some(ended) = files::read::<Ended>(&folder, files::ENDED) {
        return BuildSight { ended_at: Some(ended.ended_at), ..only(BuildProcess::Ended) };
    }
    if !here {
        return BuildSight::default();
    }
    let Some(supervisor) = files::read::<Supervisor>(&folder, files::SUPERVISOR) else {
        return only(match (folder.is_dir(), attempt.is_said_to_run()) {
            (true, _) => BuildProcess::Starting,
            (false, false) => BuildProcess::NeverStarted,
            // It ran, and its folder is gone: nobody can tell by it what runs.
            (false, true) => BuildProcess::Unknown,
        });
    };
    if supervisor.pid == 0 {
        return only(BuildProcess::NeverStarted);
    }
    only(processes(&folder, supervisor))
}

fn processes(folder: &Path, supervisor: Supervisor) -> BuildProcess {
    let leader = ProcessId { pid: supervisor.pid, start: supervisor.pid_start };
    let job = files::read::<Job>(folder, files::JOB);
    let packer: Vec<_> = job
        .map(|job| Session::of(leader, &job.temporary).processes())
        .unwrap_or_default()
        .into_iter()
        .map(ProcessId::seen)
        .collect();
    let stopped = !packer.is_empty() && packer.iter().all(|seen| *seen == Process::Stopped);
    match leader.seen() {
        Process::Stopped => BuildProcess::Stopped,
        Process::Runs | Process::Ended if stopped => BuildProcess::Stopped,
        Process::Runs => BuildProcess::Runs,
        Process::Ended if packer.is_empty() => BuildProcess::Gone,
        Process::Ended => BuildProcess::Unsupervised,
        Process::Unknown => BuildProcess::Unknown,
    }
}

/// What the newest sign of life tells of a build elsewhere.
fn told(beat: &Heartbeat) -> BuildSight {
    match &beat.sign {
        BuildSignal::Over { .. } => BuildSight {
            seen: BuildProcess::Ended,
            ended_at: Some(beat.at),
            last_sign_at: Some(beat.at),
        },
        BuildSignal::Running { .. } | BuildSignal::GivenUp { .. } => {
            BuildSight { last_sign_at: Some(beat.at), ..BuildSight::default() }
        }
    }
}
