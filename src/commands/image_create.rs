//! `reconciler image create`: the image of an instance that a person has prepared and stopped, for a
//! step that no template makes.
//!
//! Whoever holds the lease is asked to write the intent; this process then asks EC2 for the image,
//! with the person's credentials, and waits while the holder follows it to its record. Nobody else
//! ever asks EC2 for it: after Ctrl-C or a crash it is looked for by its name and its tags.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use jiff::Timestamp;
use reconciler::config::Config;
use reconciler::controller::connect::Use;
use reconciler::controller::requests::TO_BE_ASKED;
use reconciler::git::trusted::Purpose;
use reconciler_core::build::instance::may_be_imaged;
use reconciler_core::desired::step::SourceImage;
use reconciler_core::images::tags::ImageTags;
use reconciler_core::requests::may_make_image;
use reconciler_jinja::Engine;
use reconciler_model::build::Sighting;
use reconciler_model::clock::Moment;
use reconciler_model::diagnostic::Diagnostic;
use reconciler_model::ids::{AmiId, BuildId, StepId};
use reconciler_model::images::{CatalogError, PreparedInstance};
use reconciler_model::inventory::journal::{Attempt, Progress, RecordDraft};
use reconciler_model::inventory::request::Wish;

use super::ask::Asking;
use super::open::{Opened, config, keep_folders_with, refuse_shared, shared_ids, workflows_of};
use super::plan::{Observed, see};
use super::teller::ending;
use super::{CommandError, print};
use crate::cli::ImageCreateArgs;
use reconciler::git::discover::WorkflowFolder;

/// How long the image is waited for: big disks take hours.
const PATIENCE: Duration = Duration::from_hours(6);

pub(crate) async fn run(
    named: Option<&Path>,
    args: &ImageCreateArgs,
) -> Result<ExitCode, CommandError> {
    let config = config(named)?;
    let engine = Engine::new();
    let step = StepId::new(&args.step);
    let mut all = workflows_of(&config, &args.which, Purpose::Follow)?;
    let shared = shared_ids(&config, &all);
    keep_folders_with(&mut all, std::slice::from_ref(&args.step))?;
    let mut meant = all.iter().flat_map(|one| one.folders.iter().map(move |folder| (one, folder)));
    let (Some((opened, folder)), None) = (meant.next(), meant.next()) else {
        return Err(Diagnostic::new(format!("several workflows have a step {step}"))
            .hint("name one with `--workflow`")
            .into());
    };
    refuse_shared(&shared, opened, folder)?;
    let make = Making { config: &config, engine: &engine, opened, folder, step: &step, args };
    Box::pin(make.carry_out()).await
}

struct Making<'a> {
    config: &'a Config,
    engine: &'a Engine,
    opened: &'a Opened,
    folder: &'a WorkflowFolder,
    step: &'a StepId,
    args: &'a ImageCreateArgs,
}

impl Making<'_> {
    async fn look(&self) -> Result<Observed, CommandError> {
        see(self.config, self.opened, self.folder, self.engine, Use::Act).await
    }

    async fn carry_out(&self) -> Result<ExitCode, CommandError> {
        let seen = self.look().await?;
        let plan = &seen.look.plan;
        let newest = seen.look.newest.attempts.get(self.step);
        let (_, source) = may_make_image(plan, self.step, newest)?;
        let instance = self.instance(&seen).await?;
        self.started_from(&instance, source)?;
        let asking =
            Asking { config: self.config, ports: &seen.ports, workflow: &plan.workflow_id };
        let wish = Wish::MakeImage {
            step: self.step.clone(),
            instance: instance.id.clone(),
            stopped: instance.transition.clone(),
        };
        let id = asking.ask(wish, self.args.why.as_ref()).await?;
        let answered = asking.answer(&id, async || self.look().await.map(Some)).await?;
        let allowed = seen.ports.context.moment();
        let attempt = self.allowed(&seen, &answered.build).await?;
        self.create(&seen, &attempt, &instance, allowed).await?;
        print::note(
            "waiting until the image is recorded (Ctrl-C ends the wait: it is recorded all the same, by whoever holds the lease next)",
        );
        let attempt = asking.settled(attempt, &Sighting::Unknown, PATIENCE).await?;
        print::text(&format!("{} {}\n", self.step, ending(&attempt, Timestamp::now())))?;
        Ok(match attempt.progress {
            Progress::Recorded { .. } => ExitCode::SUCCESS,
            _ => ExitCode::FAILURE,
        })
    }

    /// The instance, if an image may be made of it.
    async fn instance(&self, seen: &Observed) -> Result<PreparedInstance, CommandError> {
        let Some(catalog) = &seen.ports.catalog else {
            return Err(Diagnostic::new("EC2 is not connected").into());
        };
        let id = &self.args.instance_id;
        let instance = catalog.instance(id).await?;
        may_be_imaged(id, instance.as_ref())?;
        instance.ok_or_else(|| Diagnostic::new(format!("there is no instance {id}")).into())
    }

    /// Asks where the instance was not started from the image that git asks for.
    fn started_from(
        &self,
        instance: &PreparedInstance,
        source: &SourceImage,
    ) -> Result<(), CommandError> {
        if instance.image_id == source.id {
            return Ok(());
        }
        let warning = Diagnostic::new(format!(
            "instance {} was started from {}, and {} stands on {} ({})",
            instance.id, instance.image_id, self.step, source.id, source.name
        ));
        if self.args.yes {
            print::warning(&warning.hint("the record will say that it stands on the latter"));
            return Ok(());
        }
        let confirmed = print::can_ask() && {
            print::warning(&warning);
            print::confirmed(
                "make its image all the same, and record it as standing on the latter?",
            )?
        };
        if confirmed {
            return Ok(());
        }
        Err(warning
            .hint("start an instance from the right image, or say `--yes` if what it was started from holds the same")
            .into())
    }

    /// The build as the journal allows it.
    async fn allowed(&self, seen: &Observed, build: &BuildId) -> Result<Attempt, CommandError> {
        let (inventory, workflow) = (&seen.ports.inventory, &seen.look.plan.workflow_id);
        let attempts = inventory.attempts(workflow).await?;
        let found = attempts.into_iter().find(|attempt| attempt.build_id == *build);
        found.ok_or_else(|| {
            Diagnostic::new(format!("build {build} of {} is over already", self.step))
                .hint(format!("reconciler history --build {build}"))
                .into()
        })
    }

    /// Asks EC2 for the image.
    async fn create(
        &self,
        seen: &Observed,
        attempt: &Attempt,
        instance: &PreparedInstance,
        allowed: Moment,
    ) -> Result<(), CommandError> {
        let Some(maker) = seen.ports.image_maker() else {
            return Err(Diagnostic::new("EC2 is not connected").into());
        };
        let draft = attempt.intent.promise.as_deref().ok_or_else(|| {
            Diagnostic::new(format!("build {} is over already", attempt.build_id))
        })?;
        // A process that stood still for so long does not make an image that nobody waits for.
        if seen.ports.context.moment().saturating_sub(allowed) >= TO_BE_ASKED {
            return Err(Diagnostic::new("too long ago: the permission to make the image is void")
                .hint("ask again")
                .into());
        }
        let tags = tags_of(seen, attempt, draft);
        let name = &attempt.intent.ami_name;
        match maker.create_image(&instance.id, name, &tags).await {
            Ok(image) => {
                print::text(&format!("{image} {name} is being made of {}\n", instance.id))?;
                Ok(())
            }
            // An answer that was lost: whoever records it looks whether it is this one.
            Err(CatalogError::Refused { detail, .. })
                if detail.starts_with("InvalidAMIName.Duplicate") =>
            {
                print::note(&format!("{name} is there already: it is looked at"));
                Ok(())
            }
            Err(error) => {
                print::note(&format!(
                    "the build is given up in a quarter of an hour; to end it at once: reconciler cancel {}",
                    self.step
                ));
                Err(error.into())
            }
        }
    }
}

/// The tags that the image bears from birth: those of its record.
fn tags_of(
    seen: &Observed,
    attempt: &Attempt,
    draft: &RecordDraft,
) -> std::collections::BTreeMap<String, String> {
    let intent = &attempt.intent;
    let base: &AmiId = &intent.source_ami;
    ImageTags {
        name: &intent.ami_name,
        base_ami_id: base,
        base_ami_name: &draft.source_ami_name,
        root_base_ami_id: &draft.root_base_ami_id,
        root_base_ami_name: &draft.root_base_ami_name,
        aws_tags: &draft.aws_tags,
        workflow_id: &seen.look.plan.workflow_id,
        step_id: &attempt.step_id,
        fingerprint: &intent.fingerprint,
        build_id: &attempt.build_id,
        revision: &intent.revision,
    }
    .tags()
}
