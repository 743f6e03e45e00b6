//! Every metric, once: its name, what it means, its unit, its labels, and how many series there are
//! of it. The text of a scrape, the table of `docs/metrics.md`, the alert rules and the dashboard
//! are held against this table.
//!
//! Labels are repository, folder and step, and words of which there are few: never a commit, a
//! build, an image or an id, for each of those would be a series of its own for ever.

/// A metric.
#[derive(Debug, PartialEq)]
pub struct Metric {
    /// As a query names it.
    pub name: &'static str,
    /// What its values mean, as a sentence.
    pub help: &'static str,
    /// What it does over time.
    pub kind: Kind,
    /// What it is counted in, which stands in the name as well; none: pieces, or a point in time.
    pub unit: Option<Unit>,
    /// The names of its labels.
    pub labels: &'static [&'static str],
    /// How many series there are of it.
    pub limit: Limit,
}

/// What a metric does over time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// It grows, from 0 at the start of the process.
    Counter,
    /// It is what it is at the scrape.
    Gauge,
    /// It counts values by their size.
    Histogram {
        /// The sizes.
        bounds: &'static [f64],
    },
}

/// What a metric is counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Seconds.
    Seconds,
    /// Bytes.
    Bytes,
}

/// How many series there are of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// As many as its labels have words, whatever is followed.
    Fixed,
    /// For each repository.
    Repository,
    /// For each workflow.
    Workflow,
    /// For each step; none while there are more steps than `metrics.max_steps`.
    Step,
    /// For each operation of AWS that was called.
    Operation,
}

impl Metric {
    /// The name without what is appended to it where it is written: `_total`, and the unit.
    #[must_use]
    pub fn stem(&self) -> &'static str {
        let name = match self.kind {
            Kind::Counter => self.name.strip_suffix("_total").unwrap_or(self.name),
            Kind::Gauge | Kind::Histogram { .. } => self.name,
        };
        match self.unit {
            Some(Unit::Seconds) => name.strip_suffix("_seconds").unwrap_or(name),
            Some(Unit::Bytes) => name.strip_suffix("_bytes").unwrap_or(name),
            None => name,
        }
    }
}

const WORKFLOW: &[&str] = &["repository", "folder"];
const STEP: &[&str] = &["repository", "folder", "step"];

const PASS_BOUNDS: &[f64] = &[0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 60.0];
const BUILD_BOUNDS: &[f64] = &[60.0, 180.0, 300.0, 600.0, 1200.0, 1800.0, 3600.0, 7200.0, 14_400.0];
const ROLLOUT_BOUNDS: &[f64] = &[60.0, 300.0, 900.0, 1800.0, 3600.0, 7200.0, 14_400.0, 43_200.0];
const CALL_BOUNDS: &[f64] = &[0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0];

macro_rules! metrics {
    ($($(#[$about:meta])* $constant:ident = ($name:literal, $kind:expr, $unit:expr, $labels:expr, $limit:expr, $help:literal $(,)?);)*) => {
        $(
            #[doc = $help]
            pub const $constant: &Metric = &Metric {
                name: $name, help: $help, kind: $kind, unit: $unit, labels: $labels, limit: $limit,
            };
        )*

        /// All of them, in the order in which people read them.
        pub const ALL: &[&Metric] = &[$($constant),*];
    };
}

metrics! {
    INFO = ("reconciler_info", Kind::Gauge, None, &["version"], Limit::Fixed,
        "Always 1; the label is the version of the program.");
    STEPS = ("reconciler_steps", Kind::Gauge, None, &["repository", "folder", "state"], Limit::Workflow,
        "Steps in each state, zeros too, of workflows that this process acts on.");
    STEP_STATE = ("reconciler_step_state", Kind::Gauge, None, &["repository", "folder", "step", "state"], Limit::Step,
        "Always 1; the label is the state that the step is in now.");
    STEP_IMAGE_CREATED = ("reconciler_step_image_created_timestamp_seconds", Kind::Gauge, None, STEP, Limit::Step,
        "When the recorded image of the step was created, in seconds since 1970.");
    STEP_NEXT_TRY = ("reconciler_step_next_try_timestamp_seconds", Kind::Gauge, None, STEP, Limit::Step,
        "When the build of the step that has failed is tried again, in seconds since 1970.");
    STEPS_NEED_A_PERSON = ("reconciler_steps_need_a_person", Kind::Gauge, None, WORKFLOW, Limit::Workflow,
        "Steps that stay as they are until somebody does something.");
    BUILDS_RUNNING = ("reconciler_builds_running", Kind::Gauge, None, &[], Limit::Fixed,
        "Builds that this process follows.");
    BUILDS_WAITING = ("reconciler_builds_waiting", Kind::Gauge, None, &[], Limit::Fixed,
        "Builds that could start, were there a slot.");
    BUILDS_LIMIT = ("reconciler_builds_limit", Kind::Gauge, None, &[], Limit::Fixed,
        "How many builds may run at once.");
    BUILD_ELAPSED = ("reconciler_build_elapsed_seconds", Kind::Gauge, Some(Unit::Seconds), STEP, Limit::Step,
        "How long the build of the step has been running.");
    BUILD_EXPECTED = ("reconciler_build_expected_seconds", Kind::Gauge, Some(Unit::Seconds), STEP, Limit::Step,
        "How long the last build of a step that is building took.");
    ROLLOUT_STEPS_LEFT = ("reconciler_rollout_steps_left", Kind::Gauge, None, WORKFLOW, Limit::Workflow,
        "Steps that are not yet as the followed commit says.");
    ROLLOUT_STARTED = ("reconciler_rollout_started_timestamp_seconds", Kind::Gauge, None, WORKFLOW, Limit::Workflow,
        "When work for the followed commit was first seen, in seconds since 1970; there while steps are left.");
    ROLLOUT_EXPECTED_END = ("reconciler_rollout_expected_end_timestamp_seconds", Kind::Gauge, None, WORKFLOW, Limit::Workflow,
        "When all that waits for nobody is foretold to be in sync, in seconds since 1970.");
    LEASE_HELD = ("reconciler_lease_held", Kind::Gauge, None, WORKFLOW, Limit::Workflow,
        "1 where this process acts on the workflow, 0 where it stands by or cannot.");
    INVENTORY_REACHED = ("reconciler_inventory_reached", Kind::Gauge, None, WORKFLOW, Limit::Workflow,
        "1 where the inventory of the workflow was reached when it was last looked for, otherwise 0.");
    WORKFLOW_FAILING = ("reconciler_workflow_failing", Kind::Gauge, None, WORKFLOW, Limit::Workflow,
        "1 where the last pass could not look at the workflow, otherwise 0.");
    TROUBLES = ("reconciler_troubles", Kind::Gauge, None, &[], Limit::Fixed,
        "What is tried again and again without success, as `status` lists it.");
    LAST_PASS = ("reconciler_last_pass_timestamp_seconds", Kind::Gauge, None, &[], Limit::Fixed,
        "When the last pass ended, in seconds since 1970; before the first, when the process began.");
    PASS_INTERVAL = ("reconciler_pass_interval_seconds", Kind::Gauge, Some(Unit::Seconds), &[], Limit::Fixed,
        "How often a pass is made when nothing wakes the loop.");
    LAST_FETCH = ("reconciler_repository_last_fetch_timestamp_seconds", Kind::Gauge, None, &["repository"], Limit::Repository,
        "When the repository was last fetched, or read where it is local, in seconds since 1970; before the first time, when the process began.");
    POLL_INTERVAL = ("reconciler_repository_poll_interval_seconds", Kind::Gauge, Some(Unit::Seconds), &["repository"], Limit::Repository,
        "How often the repository is fetched, or read where it is local, when nothing happens.");
    SERIES_DROPPED = ("reconciler_series_dropped", Kind::Gauge, None, &[], Limit::Fixed,
        "Series of single steps that are left out, for there are more steps than `metrics.max_steps`.");
    STATE_FREE = ("reconciler_state_free_bytes", Kind::Gauge, Some(Unit::Bytes), &[], Limit::Fixed,
        "Room on the file system of the state folder.");
    STATE_SIZE = ("reconciler_state_size_bytes", Kind::Gauge, Some(Unit::Bytes), &[], Limit::Fixed,
        "Size of the file system of the state folder.");
    RESIDENT_MEMORY = ("process_resident_memory_bytes", Kind::Gauge, Some(Unit::Bytes), &[], Limit::Fixed,
        "Memory of the process, without its supervisors and Packer.");
    OPEN_FILES = ("process_open_fds", Kind::Gauge, None, &[], Limit::Fixed,
        "Files and connections that the process has open.");
    PROCESS_START = ("process_start_time_seconds", Kind::Gauge, Some(Unit::Seconds), &[], Limit::Fixed,
        "When the process began, in seconds since 1970.");
    PASSES = ("reconciler_passes_total", Kind::Counter, None, &["outcome"], Limit::Fixed,
        "Passes over everything: `idle`, `acted` (something was started or changed), or `failed` (something could not be looked at).");
    BUILDS_STARTED = ("reconciler_builds_started_total", Kind::Counter, None, WORKFLOW, Limit::Workflow,
        "Builds that this process has started.");
    BUILDS_ENDED = ("reconciler_builds_ended_total", Kind::Counter, None, &["repository", "folder", "outcome", "class"], Limit::Workflow,
        "Builds that have ended: `recorded`, `taken_over` (an earlier image), or `failed`, with the class of the failure.");
    UPDATES = ("reconciler_updates_total", Kind::Counter, None, WORKFLOW, Limit::Workflow,
        "Steps whose tags or record were brought up to date without a build.");
    AWS_CALLS = ("reconciler_aws_calls_total", Kind::Counter, None, &["service", "operation", "outcome"], Limit::Operation,
        "Tries of calls of AWS by this process, retries too: `answered`, `refused`, or `unanswered`. Those of Packer and of supervisors are not among them.");
    HTTP_REQUESTS = ("reconciler_http_requests_total", Kind::Counter, None, &["route", "code"], Limit::Fixed,
        "Requests that were answered over HTTP.");
    PASS_DURATION = ("reconciler_pass_duration_seconds", Kind::Histogram { bounds: PASS_BOUNDS }, Some(Unit::Seconds), &[], Limit::Fixed,
        "How long passes over everything took.");
    BUILD_DURATION = ("reconciler_build_duration_seconds", Kind::Histogram { bounds: BUILD_BOUNDS }, Some(Unit::Seconds), &["repository", "folder", "outcome"], Limit::Workflow,
        "How long builds took, from the decision to their end.");
    ROLLOUT_DURATION = ("reconciler_rollout_duration_seconds", Kind::Histogram { bounds: ROLLOUT_BOUNDS }, Some(Unit::Seconds), WORKFLOW, Limit::Workflow,
        "How long it took from when work for a commit was first seen until nothing was left.");
    AWS_CALL_DURATION = ("reconciler_aws_call_duration_seconds", Kind::Histogram { bounds: CALL_BOUNDS }, Some(Unit::Seconds), &["service"], Limit::Operation,
        "How long tries of calls of AWS took.");
}

#[cfg(test)]
mod tests;
