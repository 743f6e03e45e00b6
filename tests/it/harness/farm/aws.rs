//! What the emulated AWS shows of a farm's region, and what it is told to do there.

use reconciler_aws::session::{Session, SessionSettings, StaticKeys};
use serde_json::{Value, json};

use super::{BASE, Farm};

impl Farm {
    /// A way to the emulator for a test that calls AWS itself.
    pub(crate) async fn session(&self) -> Session {
        let settings = SessionSettings {
            region: Some(self.region.name.to_owned()),
            endpoint_url: Some(self.emulator().endpoint()),
            keys: Some(StaticKeys {
                access_key_id: "test".to_owned(),
                secret_access_key: "test".to_owned(),
                session_token: None,
            }),
            ..SessionSettings::default()
        };
        Session::open(&settings).await.unwrap()
    }

    /// Takes an image away, as somebody else would.
    pub(crate) fn deregister(&self, image: &str) {
        in_runtime(async {
            let client = self.session().await.ec2();
            client.deregister_image().image_id(image).send().await
        })
        .unwrap();
    }

    /// These faults, and no others, from now on.
    pub(crate) fn faults(&self, rules: &Value) {
        self.region.tell("faults", rules);
    }

    /// Every call is answered as it should be from now on.
    pub(crate) fn no_faults(&self) {
        self.faults(&json!([]));
    }

    /// New images are pending for so long from now on; for an emulator of the farm's own.
    pub(crate) fn images_are_pending_for(&self, seconds: u32) {
        self.emulator().control_post("/_control/pending", &json!({ "seconds": seconds }));
    }

    /// Whether new images end as failed ones from now on; for an emulator of the farm's own.
    pub(crate) fn images_fail(&self, fail: bool) {
        self.emulator().control_post("/_control/fail-images", &json!(fail));
    }

    /// How often each operation was called since the last [`Self::forget_calls`].
    pub(crate) fn calls(&self, operation: &str) -> u64 {
        self.region.ask("calls")[operation].as_u64().unwrap_or(0)
    }

    /// Forgets the calls so far.
    pub(crate) fn forget_calls(&self) {
        self.region.tell("reset-calls", &Value::Null);
    }

    /// Calls that write, other than the lease's.
    pub(crate) fn writes(&self) -> Value {
        let calls = self.region.ask("calls");
        let reads = |name: &str| {
            let operation = name.split('.').nth(1).unwrap_or_default();
            ["BatchGet", "Describe", "Get", "Query", "Scan"]
                .iter()
                .any(|read| operation.starts_with(read))
                || operation == "UpdateItem"
        };
        let calls = calls.as_object().cloned().unwrap_or_default();
        calls.into_iter().filter(|(name, _)| !reads(name)).collect()
    }

    /// Resources of a kind, as the emulator tells of them.
    pub(crate) fn resources(&self, kind: &str) -> Vec<Value> {
        self.region.ask("resources")[kind].as_array().cloned().unwrap_or_default()
    }

    /// The images beside the base, of whatever state.
    pub(crate) fn images(&self) -> Vec<Value> {
        let mut images = self.resources("images");
        images.retain(|image| image["id"] != BASE);
        images
    }

    /// How many images there are beside the base, of whatever state.
    pub(crate) fn made_images(&self) -> usize {
        self.images().len()
    }

    /// What a build may have left behind, for people to read; empty if nothing.
    pub(crate) fn leftovers(&self) -> String {
        let mut left = self.resources("instances");
        left.retain(|instance| instance["state"] != "terminated");
        left.extend(self.resources("key_pairs"));
        left.extend(self.resources("security_groups"));
        left.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    }
}

/// Runs what a test calls of AWS itself.
pub(crate) fn in_runtime<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}
