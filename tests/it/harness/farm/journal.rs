//! What a farm's inventory holds: the journal, the lease, signs of life.

use std::sync::Arc;

use aws_sdk_dynamodb::types::AttributeValue;
use jiff::Timestamp;
use reconciler::sqlite::SqliteInventory;
use reconciler_aws::dynamodb::DynamoDbInventory;
use reconciler_model::ids::{RequestId, StepId, WorkflowId};
use reconciler_model::inventory::heartbeat::Heartbeat;
use reconciler_model::inventory::journal::BuildEvent;
use reconciler_model::inventory::request::{Request, StandingRequest, Wish};
use reconciler_model::inventory::reservation::Reservation;
use reconciler_model::inventory::{Inventory, Lease, Write};
use serde_json::Value;

use super::{Farm, Store, in_runtime};
use crate::harness::python_library;

/// The journal of a build that went well.
pub(crate) const RECORDED: [&str; 7] =
    ["intent", "started", "image_seen", "available", "tagged", "recorded", "cleaned"];

/// The journal of a build that failed at once.
pub(crate) const FAILED: [&str; 4] = ["intent", "started", "failed", "cleaned"];

impl Farm {
    async fn inventory(&self) -> Arc<dyn Inventory> {
        match self.store {
            Store::DynamoDb => {
                let client = self.session().await.dynamodb(None);
                Arc::new(DynamoDbInventory::new(client, "images".to_owned(), false))
            }
            Store::Sqlite => Arc::new(SqliteInventory::open(self.records()).unwrap()),
        }
    }

    /// The journal of a step, oldest event first.
    pub(crate) fn events(&self, step: &str) -> Vec<BuildEvent> {
        let events = in_runtime(async {
            let (workflow, step) = (WorkflowId::new("wf-1"), StepId::new(step));
            self.inventory().await.events(&workflow, Some(&step), 1000).await
        });
        let mut events = events.unwrap().sound;
        events.reverse();
        events
    }

    /// The stages of a step's builds in the journal, oldest first, by name.
    pub(crate) fn stages(&self, step: &str) -> Vec<String> {
        self.events(step)
            .iter()
            .map(|event| match serde_json::to_value(&event.stage).unwrap() {
                Value::Object(stage) => stage.keys().next().unwrap().clone(),
                stage => stage.as_str().unwrap().to_owned(),
            })
            .collect()
    }

    /// Whether a step's journal has come to a stage.
    pub(crate) fn has_come_to(&self, step: &str, stage: &str) -> bool {
        self.stages(step).iter().any(|one| one == stage)
    }

    /// Waits until a step's journal has come to a stage.
    #[track_caller]
    pub(crate) fn wait_for_stage(&self, step: &str, stage: &str) {
        self.wait_until(&format!("{step} has come to `{stage}`"), |farm| {
            farm.has_come_to(step, stage)
        });
    }

    /// Waits until a step is recorded and what its build left is looked after.
    #[track_caller]
    pub(crate) fn settles(&self, step: &str) {
        self.wait_until(&format!("{step} is recorded and cleaned up"), |farm| {
            farm.state_of(step) == "in-sync" && farm.is_cleaned_up(step)
        });
    }

    /// Whether what a step's newest build left is looked after.
    pub(crate) fn is_cleaned_up(&self, step: &str) -> bool {
        self.stages(step).last().is_some_and(|last| last == "cleaned")
    }

    /// The newest failure that the journal keeps of the step `a` is of this class, and its cause
    /// says this.
    #[track_caller]
    pub(crate) fn failed(&self, class: &str, words: &str) {
        let failure = self.failure("a");
        assert_eq!(failure["class"], class, "{failure}");
        let cause = failure["cause"].as_str().unwrap();
        assert!(cause.contains(words), "{words:?} is in the cause: {cause}");
    }

    /// The newest failure that the journal keeps of a step.
    #[track_caller]
    fn failure(&self, step: &str) -> Value {
        let events = self.events(step);
        let failed = events
            .iter()
            .rev()
            .find_map(|event| serde_json::to_value(&event.stage).unwrap().get("failed").cloned());
        failed.unwrap_or_else(|| panic!("no failure: {events:#?}"))
    }

    /// The newest sign of life of a step's newest build.
    pub(crate) fn last_beat(&self, step: &str) -> Option<Heartbeat> {
        let build = self.events(step).last()?.build_id.clone();
        in_runtime(async {
            self.inventory().await.last_beat(&WorkflowId::new("wf-1"), &build).await
        })
        .unwrap()
    }

    /// Takes from a step's record what the reconciler has put there, as the Python library does when
    /// it saves one of its own.
    pub(crate) fn forget_what_it_was_made_of(&self, step: &str) {
        in_runtime(async {
            let (inventory, workflow) = (self.inventory().await, WorkflowId::new("wf-1"));
            let mut record =
                inventory.record(&workflow, &StepId::new(step)).await.unwrap().unwrap();
            record.head.built = None;
            record.components = None;
            let write = Write { record: Some((record, None)), ..Write::default() };
            inventory.write(write, None).await.unwrap();
        });
    }

    /// What is asked of the farm's workflow, in the order of ids.
    pub(crate) fn requests(&self) -> Vec<StandingRequest> {
        in_runtime(async { self.inventory().await.requests(&WorkflowId::new("wf-1")).await })
            .unwrap()
    }

    /// What is reserved in the farm's workflow.
    pub(crate) fn reservations(&self) -> Vec<Reservation> {
        in_runtime(async { self.inventory().await.reservations(&WorkflowId::new("wf-1")).await })
            .unwrap()
    }

    /// A request of the farm's workflow, which is not asked yet.
    pub(crate) fn request(wish: Wish) -> Request {
        Request {
            workflow_id: WorkflowId::new("wf-1"),
            id: RequestId::generate(),
            by: "somebody@elsewhere".to_owned(),
            at: Timestamp::now(),
            why: None,
            wish,
        }
    }

    /// Asks for something, as a command on another host does.
    pub(crate) fn ask(&self, wish: Wish) -> RequestId {
        let request = Self::request(wish);
        self.ask_as(&request);
        request.id
    }

    /// Asks for this.
    pub(crate) fn ask_as(&self, request: &Request) {
        in_runtime(async { self.inventory().await.ask(request).await }).unwrap();
    }

    /// Puts a request as a program of another version would.
    pub(crate) fn put_request(&self, id: &RequestId, request: &str) {
        let text = |text: &str| AttributeValue::S(text.to_owned());
        let item = [
            ("workflow_id", text("wf-1")),
            ("request_id", text(id.as_str())),
            ("request", text(request)),
        ];
        let item = item.map(|(name, value)| (name.to_owned(), value)).into();
        in_runtime(async {
            let client = self.session().await.dynamodb(None);
            let put = client.put_item().table_name("images_requests").set_item(Some(item));
            put.send().await.unwrap();
            client
                .update_item()
                .table_name("images_requests")
                .key("workflow_id", AttributeValue::S("wf-1".to_owned()))
                .key("request_id", AttributeValue::S("@asked".to_owned()))
                .update_expression("ADD #count :one")
                .expression_attribute_names("#count", "count")
                .expression_attribute_values(":one", AttributeValue::N("1".to_owned()))
                .send()
                .await
                .unwrap();
        });
    }

    /// What the real Python library finds by its three queries: the image of the step, those of the
    /// workflow, and those of the step in all workflows.
    pub(crate) fn read_by_python(&self, workflow: &str, step: &str) -> Value {
        let said = self.run_python("read_catalog.py", &[workflow, step], "");
        serde_json::from_str(&said).unwrap()
    }

    /// Has the real Python library save records in its own form, in the place of those that are
    /// there.
    pub(crate) fn save_by_python(&self, records: &Value) {
        self.run_python("write_catalog.py", &[], &records.to_string());
    }

    /// Has the real Python library validate the step in a folder of the work tree, or build, tag and
    /// record its image, with the Packer of the farm: what it knows of the step, and what it rendered.
    pub(crate) fn library(&self, what: &str, folder: &str) -> Value {
        let folder = self.repo.path().join("packer_workspaces").join(folder);
        let arguments = [&folder, &self.packer].map(|path| path.to_str().unwrap());
        let sources = self.source_overrides().to_string();
        let said = self.run_python("build_step.py", &[&arguments[..], &[what]].concat(), &sources);
        serde_json::from_str(&said).unwrap()
    }

    fn run_python(&self, script: &str, more: &[&str], input: &str) -> String {
        let table = [&self.emulator().endpoint(), self.region.name, "images"];
        python_library::run(script, table, more, input)
    }

    /// The lease of a workflow.
    pub(crate) fn lease_of(&self, workflow: &str) -> Option<Lease> {
        in_runtime(async { self.inventory().await.lease(&WorkflowId::new(workflow)).await })
            .unwrap()
    }
}
