//! A vocabulary of records and events for the tests of the inventory.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use reconciler_model::build_phases::{BuildPhase, PhaseEnd, PhaseKind};
use reconciler_model::components::Components;
use reconciler_model::digest::Digest;
use reconciler_model::ids::{
    AmiId, AmiName, BuildId, HostMark, Region, Revision, StepId, WorkflowId,
};
use reconciler_model::inventory::build_times::BuildTimes;
use reconciler_model::inventory::journal::{
    BuildEvent, Failure, FailureClass, Forgotten, Intent, Reach, RecordDraft, Stage,
};
use reconciler_model::inventory::record::{Built, Record, RecordHead};
use reconciler_model::inventory::tags::Tags;
use reconciler_model::inventory::{Inventory, Lease, Removal, Write};

pub(crate) fn workflow() -> WorkflowId {
    WorkflowId::new("acore-ami-2024-06-13-12-00-00")
}

pub(crate) fn step(name: &str) -> StepId {
    StepId::new(name)
}

/// A moment, in minutes after a fixed one.
pub(crate) fn minute(minutes: i64) -> Timestamp {
    let start: Timestamp = "2024-06-13T12:00:00Z".parse().unwrap();
    start + SignedDuration::from_mins(minutes)
}

pub(crate) fn components() -> Components {
    Components {
        secrets: std::collections::BTreeMap::new(),
        identity: Digest::of(b"identity"),
        params: BTreeMap::from([("größe".to_owned(), Digest::of(b"1"))]),
        templates: BTreeMap::from([("pyenv.pkr.hcl".to_owned(), Digest::of(b"2"))]),
        files: BTreeMap::new(),
        source_ami: AmiId::new("ami-0root"),
    }
}

/// A record as this program writes it.
pub(crate) fn record(step_id: &str, ami_id: &str, created: Timestamp) -> Record {
    Record {
        head: RecordHead {
            workflow_id: workflow(),
            step_id: step(step_id),
            ami_id: AmiId::new(ami_id),
            ami_name: AmiName::new(format!("ubuntu/{step_id}/{ami_id}")),
            create_at: created,
            base_ami_id: AmiId::new("ami-0base"),
            base_ami_name: AmiName::new("base"),
            root_base_ami_id: AmiId::new("ami-0root"),
            root_base_ami_name: AmiName::new("ubuntu"),
            built: Some(Built {
                fingerprint: Digest::of(ami_id.as_bytes()).into(),
                build_id: BuildId::generate(),
                revision: Revision::new("4f2c1e9000000000000000000000000000000000"),
                region: Region::new("us-east-1"),
                tags: Tags::from(BTreeMap::from([
                    ("Name".to_owned(), format!("ubuntu/{step_id}")),
                    ("Prüfer".to_owned(), "Ærø 🦀 \"quoted\"\n".to_owned()),
                ])),
                metadata_digest: Digest::of(b"{}"),
                build_seconds: 2460,
                build_times: BuildTimes::default().with(2460),
                recorded_at: created,
                fence: 7,
            }),
        },
        aws_console_url: format!("https://console.aws.amazon.com/ec2/#{ami_id}"),
        details: format!(r#"{{"id": "{ami_id}", "note": "Ærø 🦀"}}"#),
        metadata: r#"{"who": "köbi"}"#.to_owned(),
        components: Some(components()),
    }
}

/// One build, whose events are counted.
pub(crate) struct Build {
    step: StepId,
    id: BuildId,
    seq: u32,
}

impl Build {
    pub(crate) fn of(step_id: &str) -> Self {
        Self { step: step(step_id), id: BuildId::generate(), seq: 0 }
    }

    pub(crate) fn id(&self) -> &BuildId {
        &self.id
    }

    pub(crate) fn next(&mut self, stage: Stage) -> BuildEvent {
        let event = BuildEvent {
            workflow_id: workflow(),
            step_id: self.step.clone(),
            build_id: self.id.clone(),
            seq: self.seq,
            at: minute(self.seq.into()),
            stage,
        };
        self.seq += 1;
        event
    }

    pub(crate) fn intent(&mut self) -> BuildEvent {
        let intent = Intent {
            fingerprint: Digest::of(b"desired").into(),
            ami_name: AmiName::new("ubuntu/acore/pyenv/01234567"),
            revision: Revision::new("4f2c1e9000000000000000000000000000000000"),
            source_ami: AmiId::new("ami-0root"),
            region: Region::new("us-east-1"),
            host: "builder-1".to_owned(),
            afterwards: reconciler_model::afterwards::PostImageSteps::default(),
            maker: reconciler_model::inventory::journal::Maker::Packer,
            prepared_by: Some(HostMark::new("0123456789abcdef")),
            reach: reach(),
            deadline: minute(120),
            fence: 1,
            attempt: 3,
            promise: Some(Box::new(RecordDraft {
                source_ami_name: AmiName::new("base"),
                root_base_ami_id: AmiId::new("ami-0root"),
                root_base_ami_name: AmiName::new("ubuntu"),
                components: components(),
                aws_tags: BTreeMap::from([("team".to_owned(), "Größe".to_owned())]),
                metadata: "{}".to_owned(),
                metadata_digest: Digest::of(b"{}"),
            })),
        };
        self.next(Stage::Intent(intent))
    }
}

/// How AWS is reached for the builds here.
pub(crate) fn reach() -> Reach {
    Reach { profile: Some("größe".to_owned()), region: None, own_keys: false, hides: true }
}

pub(crate) fn failed() -> Stage {
    Stage::Failed(Failure {
        class: FailureClass::Step,
        cause: "provisioner 2 exited with 1".to_owned(),
        details: String::new(),
        log: Some("/var/log/b1.log".to_owned()),
        phases: vec![BuildPhase {
            phase: PhaseKind::Provisioner,
            source: None,
            place: Some(2),
            name: "größe.sh".to_owned(),
            seconds: 842,
            tries: 2,
            end: PhaseEnd::Failed,
            last_seconds: Some(302),
        }],
        changed: "file changed: größe.sh".to_owned(),
        retry_at: None,
    })
}

/// The removal of a step's record that names this image.
pub(crate) fn removal(step_id: &str, image: &str) -> Removal {
    Removal { workflow_id: workflow(), step_id: step(step_id), image: AmiId::new(image) }
}

/// That the record of this image was removed under this token.
pub(crate) fn forgotten(image: &str, fence: u64) -> Stage {
    Stage::Forgotten(Forgotten {
        ami_id: AmiId::new(image),
        ami_name: AmiName::new("ubuntu/pyenv"),
        source_ami: AmiId::new("ami-0base"),
        fingerprint: Some(Digest::of(b"desired").into()),
        build_id: Some(BuildId::new("1")),
        revision: Some(Revision::new("4f2c1e9000000000000000000000000000000000")),
        region: Region::new("us-east-1"),
        by: "ada@desk".to_owned(),
        fence,
    })
}

pub(crate) fn of_record(record: Record) -> Write {
    Write { record: Some((record, None)), ..Write::default() }
}

pub(crate) fn of_event(event: BuildEvent) -> Write {
    Write { event: Some(event), ..Write::default() }
}

/// Takes the lease as it stands.
pub(crate) async fn hold(inventory: &dyn Inventory, holder: &str) -> Lease {
    let seen = inventory.lease(&workflow()).await.unwrap();
    inventory.acquire_lease(&workflow(), holder, 30, seen.as_ref(), minute(0)).await.unwrap()
}
