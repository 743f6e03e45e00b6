//! Which folders of old builds are kept on this host: a policy and what is there make a plan;
//! deleting is another step.
//!
//! The rule: the folder of a build goes when the build is over, nobody needs it any more, and it is
//! older than `max_age`, or more than `keep` newer ones are there, or those that are newer fill
//! `max_bytes` already. [`compute`] is pure, and its plan is what a dry run would show.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::atomic_file::if_there;
use crate::packer::supervisor::files;
use crate::packer::supervisor::files::{Ended, Supervisor};
use reconciler_model::ids::BuildId;
use reconciler_model::policy::Retention;

/// How long a folder without a word on how its build ended is left alone.
const ABANDONED: Duration = Duration::from_hours(7 * 24);

/// One folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptBuild {
    /// Whose; ids sort by age.
    pub build: BuildId,
    /// Since when the build is over; none: it may still run.
    pub over_since: Option<Timestamp>,
    /// What it takes of the disk.
    pub bytes: u64,
}

/// Those that go, the newest first. `needed` are those that the journal has not settled, and the
/// newest try of each step that failed.
#[must_use]
pub fn compute(
    builds: &[KeptBuild],
    needed: &BTreeSet<BuildId>,
    policy: &Retention,
    now: Timestamp,
) -> Vec<BuildId> {
    let mut newest_first: Vec<_> = builds.iter().collect();
    newest_first.sort_by(|a, b| b.build.cmp(&a.build));
    let (mut number, mut bytes) = (0, 0_u64);
    let mut gone = Vec::new();
    for kept in newest_first {
        number += 1;
        bytes = bytes.saturating_add(kept.bytes);
        let Some(over_since) = kept.over_since else {
            continue;
        };
        let is_old = age(over_since, now) > policy.max_age;
        let is_too_much = number > policy.keep || bytes > policy.max_bytes;
        if (is_old || is_too_much) && !needed.contains(&kept.build) {
            gone.push(kept.build.clone());
        }
    }
    gone
}

/// How long ago something was. What lies in the future, for the clock was set back (a machine
/// without a battery begins in 1970), is not old.
fn age(since: Timestamp, now: Timestamp) -> Duration {
    now.duration_since(since).max(SignedDuration::ZERO).unsigned_abs()
}

/// What is there.
pub fn survey(builds_dir: &Path, now: Timestamp) -> io::Result<Vec<KeptBuild>> {
    let entries = if_there(fs::read_dir(builds_dir))?;
    let folders = entries.into_iter().flatten().flatten().filter(|entry| entry.path().is_dir());
    Ok(folders
        .filter_map(|entry| {
            let folder = entry.path();
            Some(KeptBuild {
                build: BuildId::new(entry.file_name().to_str()?),
                over_since: over_since(&folder, now),
                bytes: size(&folder),
            })
        })
        .collect())
}

fn over_since(folder: &Path, now: Timestamp) -> Option<Timestamp> {
    if let Some(ended) = files::read::<Ended>(folder, files::ENDED) {
        return Some(ended.ended_at);
    }
    let supervisor = files::read::<Supervisor>(folder, files::SUPERVISOR);
    let alive = supervisor.is_some_and(|supervisor| supervisor.process().is_alive());
    let changed = Timestamp::try_from(folder.metadata().ok()?.modified().ok()?).ok()?;
    let abandoned = age(changed, now) > ABANDONED;
    (!alive && abandoned).then_some(changed)
}

/// What a folder takes of the disk; what cannot be read takes nothing.
fn size(folder: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt as _;

    let mut bytes = 0;
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(found) if found.is_dir() => folders.push(entry.path()),
                Ok(found) => bytes += found.blocks() * 512,
                Err(_) => {}
            }
        }
    }
    bytes
}

/// Deletes; gives back those that could not be deleted.
#[must_use]
pub fn delete(builds_dir: &Path, gone: &[BuildId]) -> Vec<(BuildId, io::Error)> {
    let failed = gone.iter().filter_map(|build| {
        let error = fs::remove_dir_all(builds_dir.join(build.as_str())).err()?;
        (error.kind() != io::ErrorKind::NotFound).then(|| (build.clone(), error))
    });
    failed.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 24 * 3600;

    fn day(n: u64) -> Timestamp {
        Timestamp::UNIX_EPOCH + Duration::from_secs(n * DAY)
    }

    /// Builds `00`, `01` and so on, one a day, each of a megabyte.
    fn builds(n: u64) -> Vec<KeptBuild> {
        (0..n)
            .map(|at| KeptBuild { build: id(at), over_since: Some(day(at)), bytes: 1_000_000 })
            .collect()
    }

    fn id(at: u64) -> BuildId {
        BuildId::new(format!("{at:02}"))
    }

    fn gone(builds: &[KeptBuild], needed: &[BuildId], policy: &Retention) -> Vec<BuildId> {
        compute(builds, &needed.iter().cloned().collect(), policy, day(10))
    }

    #[test]
    fn what_is_too_old_too_many_or_too_large_goes_and_the_newest_stay() {
        let plenty = Retention::default();
        assert_eq!(gone(&builds(10), &[], &plenty), []);
        let few = Retention { keep: 8, ..plenty };
        assert_eq!(gone(&builds(10), &[], &few), [id(1), id(0)]);
        let young = Retention { max_age: Duration::from_secs(8 * DAY), ..plenty };
        assert_eq!(gone(&builds(10), &[], &young), [id(1), id(0)]);
        let small = Retention { max_bytes: 8_500_000, ..plenty };
        assert_eq!(gone(&builds(10), &[], &small), [id(1), id(0)]);
    }

    #[test]
    fn a_clock_that_was_set_back_makes_nothing_old() {
        let policy = Retention::default();
        let of_the_future = [KeptBuild { over_since: Some(day(20_000)), ..builds(1).remove(0) }];
        let all = compute(&of_the_future, &BTreeSet::new(), &policy, day(0));
        assert_eq!(all, []);
        assert_eq!(age(day(9), day(1)), Duration::ZERO);
        assert_eq!(age(day(1), day(9)), Duration::from_secs(8 * DAY));
    }

    #[test]
    fn what_still_runs_or_is_needed_stays_whatever_the_policy() {
        let nothing = Retention { keep: 0, max_age: Duration::ZERO, max_bytes: 0 };
        let mut builds = builds(3);
        builds[0].over_since = None;
        assert_eq!(gone(&builds, &[id(2)], &nothing), [id(1)]);
    }

    #[test]
    fn a_folder_is_over_when_it_says_so_or_when_it_was_left_alone_for_a_week() {
        let place = tempfile::tempdir().unwrap();
        let now = Timestamp::now();
        let over = |name: &str, now| {
            let all = survey(place.path(), now).unwrap();
            let found = all.iter().find(|kept| kept.build.as_str() == name);
            found.unwrap().over_since.is_some()
        };
        let ended = place.path().join("ended");
        let silent = place.path().join("silent");
        for folder in [&ended, &silent] {
            fs::create_dir(folder).unwrap();
        }
        let said = Ended {
            stage: reconciler_model::build::PackerStage::Build,
            exit: reconciler_model::build::Exit::Code(0),
            started_at: now,
            ended_at: now,
            lost: None,
        };
        fs::write(ended.join(files::ENDED), serde_json::to_vec(&said).unwrap()).unwrap();
        assert!(over("ended", now) && !over("silent", now));
        assert!(over("silent", now + Duration::from_secs(8 * DAY)));
        assert!(delete(place.path(), &[BuildId::new("ended"), BuildId::new("never")]).is_empty());
        assert!(!ended.exists() && silent.exists());
    }
}
