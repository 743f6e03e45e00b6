//! What the catalog makes of an EC2 that is late, overloaded, refuses, or hangs up.
//!
//! Faults hold for a whole emulator: these tests share one of their own and take turns.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use reconciler_model::build_resources::{ClaimedResources, ResourceKind};
use reconciler_model::ids::BuildId;
use reconciler_model::images::{CatalogError, ImageReader as _, ImageWriter as _, TagChange};
use serde_json::{Value, json};
use tokio::sync::{Mutex, MutexGuard};

use super::region::{Place, name, packers, unique};
use crate::harness::emulator::Emulator;

static TURN: Mutex<()> = Mutex::const_new(());

/// The emulator for as long as a test has its turn.
struct Faulty {
    emulator: &'static Emulator,
    _turn: MutexGuard<'static, ()>,
}

impl Faulty {
    async fn turn() -> Self {
        static EMULATOR: OnceLock<Emulator> = OnceLock::new();
        let turn = TURN.lock().await;
        let faulty = Self { emulator: EMULATOR.get_or_init(Emulator::start), _turn: turn };
        faulty.set("pending", &json!({ "seconds": 0 }));
        faulty.set("fail-images", &json!(false));
        faulty.set("faults", &json!([]));
        faulty
    }

    fn set(&self, what: &str, value: &Value) {
        self.emulator.control_post(&format!("/_control/{what}"), value);
    }

    fn fault(&self, operation: &str, kind: &str, times: u32) {
        let rule = json!({ "operation": operation, "kind": kind, "times": times });
        self.set("faults", &json!([rule]));
    }
}

fn soon(milliseconds: u64) -> Timestamp {
    Timestamp::now() + Duration::from_millis(milliseconds)
}

#[tokio::test]
async fn a_pending_image_is_waited_for_until_it_is_available_or_the_deadline_passes() {
    let faulty = Faulty::turn().await;
    let place = Place::open(faulty.emulator).await;
    faulty.set("pending", &json!({ "seconds": 1.0 }));
    let id = place.published(&unique("slow")).await;
    let begin = Instant::now();
    place.catalog.wait_available(&id, soon(10_000)).await.unwrap();
    assert!(begin.elapsed() > Duration::from_millis(700));

    faulty.set("pending", &json!({ "seconds": 60 }));
    let id = place.published(&unique("slower")).await;
    let late = place.catalog.wait_available(&id, soon(800)).await;
    assert!(matches!(late, Err(CatalogError::StillPending { .. })), "{late:?}");
}

#[tokio::test]
async fn a_failed_image_is_told_and_is_a_leftover_of_its_build() {
    let faulty = Faulty::turn().await;
    let place = Place::open(faulty.emulator).await;
    let build = BuildId::generate();
    let instance = place.instance(&packers(), None).await;
    faulty.set("fail-images", &json!(true));
    let own = name(&unique("failed"));
    let id = place.image_of(&instance, own.as_str()).await;
    let error = place.catalog.wait_available(&id, soon(5_000)).await;
    assert!(matches!(error, Err(CatalogError::ImageFailed { .. })), "{error:?}");

    let found = place.owned(&build, &own, &ClaimedResources::default(), &[]).await;
    assert_eq!(found.ids(ResourceKind::Image), [id.as_str()]);
    assert_eq!(found.ids(ResourceKind::Snapshot).len(), 1);
    let gone = place.catalog.remove_all(&found).await.unwrap();
    assert_eq!(gone.len(), 2);
    assert_eq!(place.catalog.own_image_named(&own).await.unwrap(), None);
}

#[tokio::test]
async fn what_passes_by_itself_is_tried_again() {
    let faulty = Faulty::turn().await;
    let place = Place::open(faulty.emulator).await;
    let id = place.published(&unique("throttled")).await;
    for kind in ["throttle", "internal", "drop-before", "drop-after", "truncate"] {
        faulty.fault("ec2.DescribeImages", kind, 2);
        let found = place.catalog.image(&id).await;
        assert!(found.as_ref().is_ok_and(Option::is_some), "{kind}: {found:?}");
    }
}

#[tokio::test]
async fn what_does_not_pass_is_unavailable_and_never_a_missing_image() {
    let faulty = Faulty::turn().await;
    let place = Place::open(faulty.emulator).await;
    let id = place.published(&unique("away")).await;
    for kind in ["throttle", "internal", "drop-before", "truncate"] {
        faulty.fault("ec2.DescribeImages", kind, 1000);
        let error = place.catalog.image(&id).await.unwrap_err();
        assert!(matches!(error, CatalogError::Unavailable { .. }), "{kind}: {error:?}");
    }
}

#[tokio::test]
async fn throttling_does_not_end_a_wait() {
    let faulty = Faulty::turn().await;
    let place = Place::open(faulty.emulator).await;
    let id = place.published(&unique("patient")).await;
    faulty.fault("ec2.DescribeImages", "throttle", 5);
    let image = place.catalog.wait_available(&id, soon(30_000)).await;
    assert_eq!(image.unwrap().id, id);
}

#[tokio::test]
async fn no_permission_names_the_action() {
    let faulty = Faulty::turn().await;
    let place = Place::open(faulty.emulator).await;
    let id = place.published(&unique("secret")).await;
    let image = place.catalog.image(&id).await.unwrap().unwrap();

    faulty.fault("ec2.DescribeImages", "denied", 1);
    let error = place.catalog.images(&[id]).await.unwrap_err();
    assert!(
        matches!(&error, CatalogError::Denied { action, .. } if action == "ec2:DescribeImages")
    );
    faulty.fault("ec2.CreateTags", "denied", 1);
    let change = TagChange { set: [("team".to_owned(), "ops".to_owned())].into(), remove: vec![] };
    let error = place.catalog.tag(&image, &change).await.unwrap_err();
    assert!(
        error.to_string().starts_with("access denied: ec2:CreateTags: UnauthorizedOperation"),
        "{error}"
    );
}

#[tokio::test]
async fn expired_credentials_are_said_to_be_that() {
    let faulty = Faulty::turn().await;
    let place = Place::open(faulty.emulator).await;
    faulty.fault("ec2.DescribeImages", "expired", 1000);
    let error = place.catalog.own_image_named(&name("any")).await.unwrap_err();
    assert!(matches!(error, CatalogError::Credentials { .. }), "{error:?}");
    assert!(error.to_string().contains("RequestExpired"), "{error}");
}

#[tokio::test]
async fn known_images_take_one_call_however_many() {
    let faulty = Faulty::turn().await;
    let place = Place::open(faulty.emulator).await;
    let mut ids = Vec::new();
    for _ in 0..50 {
        ids.push(place.published(&unique("many")).await);
    }
    faulty.set("reset-calls", &Value::Null);
    assert_eq!(place.catalog.images(&ids).await.unwrap().len(), 50);
    let calls = faulty.emulator.control_get("/_control/calls");
    assert_eq!(calls, json!({ "ec2.DescribeImages": 1 }));
}
