//! What `history --build` tells of a failed build beside its journal: what is another since the
//! last good build of the step, from git, and how the phase ended that failed, from the log on this
//! host.

use reconciler::config::Config;
use reconciler::packer::last_lines::of_failed_phase;
use reconciler_core::desired::step::SourceImage;
use reconciler_core::status::changed::{Changed, ChangedFile, CommitLine, intent_of};
use reconciler_core::status::history::{BuildStory, Story};
use reconciler_jinja::Engine;
use reconciler_model::ids::{Revision, StepId, WorkflowId};
use reconciler_model::inventory::journal::{BuildEvent, Intent};

use super::CommandError;
use super::logs::secrets;
use super::open::Opened;
use super::sides::{MadeFrom, PastSide, differences, no_such_commit, past_side};

/// So many commits are looked at for those that touched the step.
const MOST_COMMITS: usize = 1000;

/// Adds it to the failed builds among these; `events` are all that the workflow's journal says.
pub(crate) fn add(
    config: &Config,
    opened: &Opened,
    workflow: &WorkflowId,
    events: &[BuildEvent],
    told: &mut [Story],
) {
    for story in told {
        let Story::Build(build) = story else {
            continue;
        };
        if build.failure.is_none() {
            continue;
        }
        build.last_lines = last_lines(config, build);
        build.changed = changed(config, opened, workflow, events, build);
    }
}

/// How the phase ended that failed; none if the log is not here, or cannot be shown.
fn last_lines(config: &Config, build: &BuildStory) -> Option<Vec<String>> {
    let folder = config.state_dir.join("builds").join(build.build_id.as_str());
    let lines = of_failed_phase(&folder, &secrets(&folder).ok()?).ok()?;
    (!lines.is_empty()).then_some(lines)
}

fn changed(
    config: &Config,
    opened: &Opened,
    workflow: &WorkflowId,
    events: &[BuildEvent],
    build: &BuildStory,
) -> Option<Changed> {
    let good = intent_of(events, &build.last_good.as_ref()?.build_id)?;
    let failed = intent_of(events, &build.build_id)?;
    let step = &build.step_id;
    // The journal says which inputs are others, whatever git has still.
    Some(match lines(config, opened, (workflow, step), (good, failed)) {
        Ok((commits, changes)) => Changed::between(step, (good, failed), commits, changes),
        Err(why) => {
            let unread = Some(match &why {
                CommandError::Pass(error) => error.diagnostic().one_line(),
                CommandError::Io(error) => error.to_string(),
            });
            Changed { unread, ..Changed::between(step, (good, failed), vec![], vec![]) }
        }
    })
}

/// The commits between two builds, and what differs in what they were made from.
fn lines(
    config: &Config,
    opened: &Opened,
    (workflow, step): (&WorkflowId, &StepId),
    (good, failed): (&Intent, &Intent),
) -> Result<(Vec<CommitLine>, Vec<ChangedFile>), CommandError> {
    let source = &opened.repository.source;
    for (what, revision) in [("the last good build", &good.revision), ("it", &failed.revision)] {
        if source.at(revision).is_err() {
            return Err(no_such_commit(what, revision).into());
        }
    }
    let engine = Engine::new();
    let side = |intent: &Intent| {
        let image = |id, name| SourceImage { id, name };
        // Of an image that a person adopted it is not written down what its source is called.
        let draft = intent.promise.as_deref().or(failed.promise.as_deref());
        let names = draft.map(|draft| {
            let base = (draft.root_base_ami_id.clone(), draft.root_base_ami_name.clone());
            (draft.source_ami_name.clone(), base)
        });
        let Some((source_name, (base, base_name))) = names else {
            return Ok(PastSide::default());
        };
        let made = MadeFrom {
            workflow,
            step,
            revision: &intent.revision,
            region: &intent.region,
            source: image(intent.source_ami.clone(), source_name),
            root_base: image(base, base_name),
        };
        past_side(config, opened, &engine, &made)
    };
    let (before, after) = (side(good)?, side(failed)?);
    let touched =
        source.touched_since(&good.revision, &failed.revision, &after.paths, MOST_COMMITS)?;
    let commit = |revision: Revision| -> Result<CommitLine, CommandError> {
        let facts = source.describe(&revision)?;
        let (author, time, subject) = (facts.author, facts.time, facts.subject);
        Ok(CommitLine { revision, author, time, subject })
    };
    let commits = touched.into_iter().map(commit).collect::<Result<_, _>>()?;
    Ok((commits, differences(&before.side, &after.side)))
}
