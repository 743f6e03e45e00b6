//! Where records, the build journal and the leases are kept.
//!
//! This file is the port, [`Inventory`], which is made of a port for each of the five things that are
//! kept; `sqlite` and `dynamodb` are its adapters, and one contract suite runs over both.
//!
//! # Guarantees
//!
//! * A [`Write`] happens whole or not at all, and only while its [`Fence`] is the newest of its
//!   workflow.
//! * Journal events are never changed: another event in the place of one is
//!   [`InventoryError::Conflict`]. A write whose event is there already, word for word, has
//!   happened (its answer was lost): it succeeds and changes nothing.

pub mod build_times;
pub mod heartbeat;
pub mod journal;
mod many;
pub mod record;
pub mod request;
pub mod reservation;
pub mod tags;

use std::collections::BTreeMap;

use async_trait::async_trait;
use jiff::Timestamp;

use crate::ids::{AmiId, BuildId, RequestId, Revision, StepId, WorkflowId};
use heartbeat::{Answer, BuildSignal, Heartbeat};
use journal::{Attempt, BuildEvent, Reach};
pub use many::{Malformed, Many};
use record::{Record, RecordHead};
use request::{AnswerTo, News, Request, StandingRequest};
use reservation::{Reservation, ReservationChange};

/// Proof of holding a workflow's lease: a number that grows with every holder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fence {
    /// The workflow.
    pub workflow_id: WorkflowId,
    /// Greater than that of every earlier holder.
    pub token: u64,
}

/// A lease as an observer reads it. Whether it has expired is judged by the observer: it has, if
/// `version` stood still for `duration` by the observer's own clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The workflow.
    pub workflow_id: WorkflowId,
    /// The holder, as `host/pid/start-mark`; none once released.
    pub holder: Option<String>,
    /// The fencing token.
    pub token: u64,
    /// Changes at every heartbeat.
    pub version: String,
    /// How long the holder may be silent, in seconds.
    pub duration_seconds: u64,
    /// When the holder says it renewed it last, by its own clock; for display only.
    pub renewed_at: Timestamp,
    /// Grows with every journal entry of the workflow, whoever writes it: a holder that sees it
    /// unchanged at a heartbeat needs not read the journal again.
    pub journal_seq: u64,
    /// The commit at which each followed reference was applied last, by the name of the reference
    /// as the configuration has it.
    pub applied: BTreeMap<String, Revision>,
}

/// The journal's word that the intent of a build is written, before money is spent. Only
/// `write_intent` of [`Inventory`] makes it, and no build starts without it.
///
/// ```compile_fail
/// use reconciler_model::ids::BuildId;
/// use reconciler_model::inventory::IntentWritten;
/// let forged = IntentWritten { build_id: BuildId::generate() };
/// ```
#[derive(Debug)]
pub struct IntentWritten {
    build_id: BuildId,
}

impl IntentWritten {
    /// The build that may start.
    #[must_use]
    pub fn build_id(&self) -> &BuildId {
        &self.build_id
    }
}

impl dyn Inventory {
    /// Begins a build in the journal.
    pub async fn write_intent(
        &self,
        intent: BuildEvent,
        fence: &Fence,
    ) -> Result<IntentWritten, InventoryError> {
        let build_id = intent.build_id.clone();
        let write = Write { event: Some(intent), ..Write::default() };
        // Seeded bug: intent-is-not-needed
        self.write(write, Some(fence)).await?;
        Ok(IntentWritten { build_id })
    }
}

impl Lease {
    /// Whether this token writes under it: it is the newest, and somebody holds it.
    #[must_use]
    pub fn is_held_under(&self, token: u64) -> bool {
        self.token == token && self.holder.is_some()
    }

    /// Whether a lease stands as it was seen, or still does not.
    #[must_use]
    pub fn is_as_seen(stands: Option<&Self>, seen: Option<&Self>) -> bool {
        let mark = |lease: &Self| (lease.token, lease.version.clone());
        stands.map(mark) == seen.map(mark)
    }

    /// Which it is, in words.
    #[must_use]
    pub fn name(workflow: &WorkflowId) -> String {
        format!("the lease of workflow {workflow}")
    }
}

/// What a record must look like for a write to take place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expected {
    /// There is none.
    Absent,
    /// It names this image.
    Image(AmiId),
}

impl Expected {
    /// Whether a record that names this image, or none, is what is expected.
    #[must_use]
    pub fn is_met_by(&self, stands: Option<&str>) -> bool {
        match self {
            Self::Absent => stands.is_none(),
            Self::Image(id) => stands == Some(id.as_str()),
        }
    }
}

/// The records of a workflow as a plan reads them. One that cannot be read stops nobody else.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Heads {
    /// Those that can be read, in step id order.
    pub records: Vec<RecordHead>,
    /// The others, each with what is wrong with it.
    pub malformed: Vec<(StepId, String)>,
    /// Whether there is no inventory at its place yet: no file, no table.
    pub missing: bool,
}

/// A workflow of which something is open: a build that is not settled, or one that was given up and
/// is still looked after.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OpenWorkflow {
    /// The workflow.
    pub workflow_id: WorkflowId,
    /// How AWS is reached for it.
    pub reach: Reach,
}

impl OpenWorkflow {
    /// What an attempt leaves open; none once it is settled.
    #[must_use]
    pub fn of_attempt(workflow: &WorkflowId, attempt: &Attempt) -> Option<Self> {
        let reach = || attempt.intent.reach.clone();
        (!attempt.is_settled()).then(|| Self { workflow_id: workflow.clone(), reach: reach() })
    }

    /// What a beat leaves open: none, unless its build was given up.
    #[must_use]
    pub fn of_beat(beat: &Heartbeat) -> Option<Self> {
        match &beat.sign {
            BuildSignal::GivenUp { reach, .. } => {
                Some(Self { workflow_id: beat.workflow_id.clone(), reach: reach.clone() })
            }
            BuildSignal::Running { .. } | BuildSignal::Over { .. } => None,
        }
    }
}

/// A record that is to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removal {
    /// The workflow.
    pub workflow_id: WorkflowId,
    /// The step.
    pub step_id: StepId,
    /// The image that it must name: [`InventoryError::Conflict`] if it names another, or is gone.
    pub image: AmiId,
}

impl Removal {
    /// Which record it is, in words.
    #[must_use]
    pub fn name(&self) -> String {
        format!("record {}/{}", self.workflow_id, self.step_id)
    }
}

/// One atomic write: a record, a journal event, the answer to a request, or several of them.
#[derive(Clone, Debug, Default)]
pub struct Write {
    /// The record to put, and what must stand there now.
    pub record: Option<(Record, Option<Expected>)>,
    /// The record to remove, which is another than the one to put.
    pub removal: Option<Removal>,
    /// The event to append.
    pub event: Option<BuildEvent>,
    /// The answer to give. A request has at most one: [`InventoryError::Conflict`] if another
    /// stands there, or if there is no such request.
    pub answer: Option<AnswerTo>,
    /// The reservation that begins or ends.
    pub reservation: Option<ReservationChange>,
}

/// The current image of each step.
#[async_trait]
pub trait Records: Send + Sync {
    /// All records of a workflow without the long texts: one query, in step id order.
    async fn heads(&self, workflow: &WorkflowId) -> Result<Heads, InventoryError>;

    /// One whole record.
    async fn record(
        &self,
        workflow: &WorkflowId,
        step: &StepId,
    ) -> Result<Option<Record>, InventoryError>;

    /// All records of a step over workflows, newest image first.
    async fn records_of_step(&self, step: &StepId) -> Result<Many<Record>, InventoryError>;

    /// All records of a workflow, newest image first.
    async fn records_of_workflow(
        &self,
        workflow: &WorkflowId,
    ) -> Result<Many<Record>, InventoryError>;
}

/// What happened to each build.
#[async_trait]
pub trait Journal: Send + Sync {
    /// The newest attempt at each step of a workflow.
    async fn attempts(&self, workflow: &WorkflowId) -> Result<Many<Attempt>, InventoryError>;

    /// Those of them that did not end in a record and a clean account: running, failed, or with
    /// leftovers that are not known to be gone. All that a pass asks for, and none of it where all
    /// is well.
    async fn unrecorded_attempts(
        &self,
        workflow: &WorkflowId,
    ) -> Result<Many<Attempt>, InventoryError> {
        let mut attempts = self.attempts(workflow).await?;
        attempts.sound.retain(|attempt| !attempt.is_recorded_and_clean());
        Ok(attempts)
    }

    /// The journal of a workflow or of one step, newest build first and in a build the newest event
    /// first, at most `limit` events.
    async fn events(
        &self,
        workflow: &WorkflowId,
        step: Option<&StepId>,
        limit: usize,
    ) -> Result<Many<BuildEvent>, InventoryError>;

    /// The journal of one build, newest event first.
    async fn events_of_build(
        &self,
        workflow: &WorkflowId,
        build: &BuildId,
    ) -> Result<Many<BuildEvent>, InventoryError>;

    /// The journal of a step's builds that began after a time, in the order of [`Self::events`].
    async fn events_since(
        &self,
        workflow: &WorkflowId,
        step: &StepId,
        since: Timestamp,
    ) -> Result<Many<BuildEvent>, InventoryError>;
}

/// Who acts on each workflow.
#[async_trait]
pub trait Leases: Send + Sync {
    /// The lease as it stands; none if there never was one.
    async fn lease(&self, workflow: &WorkflowId) -> Result<Option<Lease>, InventoryError>;

    /// Takes the lease if it stands as `seen` (none: if there never was one), with a token greater
    /// than all before. [`InventoryError::Conflict`] if somebody else was quicker.
    async fn acquire_lease(
        &self,
        workflow: &WorkflowId,
        holder: &str,
        duration_seconds: u64,
        seen: Option<&Lease>,
        now: Timestamp,
    ) -> Result<Lease, InventoryError>;

    /// A heartbeat: a new version under the same token. [`InventoryError::Fenced`] if the lease is
    /// another's.
    async fn renew_lease(&self, lease: &Lease, now: Timestamp) -> Result<Lease, InventoryError>;

    /// Gives the lease back; the token stays, so that the next one is greater.
    /// [`InventoryError::Fenced`] if it is another's already.
    async fn release_lease(&self, lease: &Lease) -> Result<(), InventoryError>;

    /// Notes the commit at which a reference was applied last. Without a fence it is the word of a
    /// person who may write leases, and counts as an event: the holder looks at once.
    async fn note_applied(
        &self,
        workflow: &WorkflowId,
        reference: &str,
        revision: &Revision,
        fence: Option<&Fence>,
    ) -> Result<(), InventoryError>;
}

/// Which builds live.
#[async_trait]
pub trait Heartbeats: Send + Sync {
    /// A supervisor's sign of life, in the place of the one before. Needs no lease: it is the
    /// supervisor's word about its own build and decides nothing. A build that was given up stays
    /// so.
    async fn beat(&self, beat: &Heartbeat) -> Result<Answer, InventoryError>;

    /// The newest beat of one build.
    async fn last_beat(
        &self,
        workflow: &WorkflowId,
        build: &BuildId,
    ) -> Result<Option<Heartbeat>, InventoryError>;

    /// The newest beats of a workflow's builds, those given up included, in the order of their ids.
    async fn beats(&self, workflow: &WorkflowId) -> Result<Many<Heartbeat>, InventoryError>;

    /// Gives a build up, by a beat that says so, in the place of the beat of the version `seen`
    /// (none: of no beat). [`InventoryError::Conflict`] if the build has given a sign of life
    /// since.
    async fn give_up(
        &self,
        beat: &Heartbeat,
        seen: Option<&str>,
        fence: &Fence,
    ) -> Result<(), InventoryError>;

    /// Removes the beat of a build that is settled; one that is not there is fine.
    async fn forget_beat(&self, build: &BuildId, fence: &Fence) -> Result<(), InventoryError>;
}

/// What people ask for.
#[async_trait]
pub trait Requests: Send + Sync {
    /// Asks. Needs no lease. The same request asked twice is asked once; another one of the same id
    /// is [`InventoryError::Conflict`].
    async fn ask(&self, request: &Request) -> Result<(), InventoryError>;

    /// One request, as it stands.
    async fn request(
        &self,
        workflow: &WorkflowId,
        id: &RequestId,
    ) -> Result<Option<StandingRequest>, InventoryError>;

    /// All requests of a workflow that stand, answered or not, in the order of their ids.
    async fn requests(&self, workflow: &WorkflowId)
    -> Result<Vec<StandingRequest>, InventoryError>;

    /// What others have written for the holder of the lease beside the journal: one cheap read.
    async fn news(&self, workflow: &WorkflowId) -> Result<News, InventoryError>;

    /// Removes a request that was answered long ago; one that is not there is fine.
    async fn forget_request(&self, id: &RequestId, fence: &Fence) -> Result<(), InventoryError>;

    /// The reservations of a workflow that stand, whether they have ended by themselves or not, in
    /// the order of their ids. One that cannot be read is an error: nobody knows what is reserved.
    async fn reservations(&self, workflow: &WorkflowId)
    -> Result<Vec<Reservation>, InventoryError>;
}

/// So many events are asked for at most where all that a workflow has ever had are wanted: those of
/// some years.
pub const WHOLE_JOURNAL: usize = 100_000;

/// Records, journal, leases, heartbeats and requests of all workflows of one account, in one place.
#[async_trait]
pub trait Inventory: Records + Journal + Leases + Heartbeats + Requests {
    /// Where it is, for people: `DynamoDB table acore_ami_catalog`, `SQLite …/inventory.sqlite`.
    fn place(&self) -> String;

    /// Creates what is missing and refuses a table of another schema. Called by whatever is going
    /// to write; readers treat a missing table as empty.
    async fn prepare(&self) -> Result<(), InventoryError>;

    /// Refuses what [`Self::prepare`] would refuse, for whoever is not going to write. What is
    /// missing is fine, and so is a schema that this user may not look at. A schema by which
    /// nothing can be read at all is left to what reads, which refuses it in the same words.
    async fn examine(&self) -> Result<(), InventoryError>;

    /// Whether what was opened is still what stands at its place: a file can be replaced. Looked at
    /// before each effect at AWS.
    fn is_in_place(&self) -> bool {
        true
    }

    /// The lease of a workflow and its [`Journal::unrecorded_attempts`], for whoever shows both: one
    /// question where that costs less than two. A lease that cannot be read hides no attempt.
    async fn lease_and_attempts(
        &self,
        workflow: &WorkflowId,
    ) -> Result<(Result<Option<Lease>, InventoryError>, Many<Attempt>), InventoryError> {
        let attempts = self.unrecorded_attempts(workflow).await?;
        Ok((self.lease(workflow).await, attempts))
    }

    /// The workflows of which something is open, whoever began it.
    async fn open_workflows(&self) -> Result<Vec<OpenWorkflow>, InventoryError>;

    /// Writes, on the condition that `fence` is the newest of its workflow (without one:
    /// unconditionally, for the commands of a person that hold no lease, such as `retry`).
    async fn write(&self, write: Write, fence: Option<&Fence>) -> Result<(), InventoryError>;
}

/// What an inventory answers instead.
#[derive(Debug, thiserror::Error)]
pub enum InventoryError {
    /// The condition of a write does not hold: somebody else has written.
    #[error("{what} was changed by somebody else meanwhile")]
    Conflict {
        /// The record, event or lease.
        what: String,
    },
    /// The lease is another's now.
    #[error("the lease of workflow {workflow} is held by another reconciler now")]
    Fenced {
        /// The workflow.
        workflow: WorkflowId,
    },
    /// The table or file has another schema than this program's.
    #[error("{place} cannot be used: {detail}")]
    Schema {
        /// Which table or file.
        place: String,
        /// What differs and what to do.
        detail: String,
    },
    /// A record cannot be read.
    #[error("record {key} in {place} cannot be read: {detail}")]
    Malformed {
        /// Which table or file.
        place: String,
        /// Which record.
        key: String,
        /// What is wrong with it.
        detail: String,
    },
    /// What was opened is not what stands at its place by now.
    #[error(
        "{place} was deleted or replaced while it was in use: nothing more is done by what stood there"
    )]
    Replaced {
        /// Which file.
        place: String,
    },
    /// No permission; names the action.
    #[error("access denied: {action} on {place}")]
    Denied {
        /// For example `dynamodb:Query`.
        action: String,
        /// Which table or file.
        place: String,
    },
    /// No credentials, or expired or wrong ones.
    #[error("no valid credentials for {place}: {detail}")]
    Credentials {
        /// Which table.
        place: String,
        /// What the service or the SDK said.
        detail: String,
    },
    /// It may work later.
    #[error("{place} did not answer: {detail}")]
    Unavailable {
        /// Which table or file.
        place: String,
        /// What happened.
        detail: String,
    },
    /// It will not work by itself.
    #[error("{place}: {detail}")]
    Failed {
        /// Which table or file.
        place: String,
        /// What happened.
        detail: String,
    },
}
