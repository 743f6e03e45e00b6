//! The rules of the inventory's port on signs of life. Each takes an empty, prepared inventory and
//! knows nothing of the adapter.

use std::sync::Arc;
use std::time::Duration;

use reconciler_model::build::{BuildOutcome, Exit, PackerStage};
use reconciler_model::build_resources::ClaimedResources;
use reconciler_model::ids::{AmiName, BuildId, Region, WorkflowId};
use reconciler_model::inventory::heartbeat::{Answer, BuildSignal, Heartbeat, new_version};
use reconciler_model::inventory::journal::Stage;
use reconciler_model::inventory::{Fence, Inventory, InventoryError, Lease, OpenWorkflow};

use super::values::{Build, hold, minute, of_event, reach, step, workflow};

type Empty = Arc<dyn Inventory>;

fn traces() -> ClaimedResources {
    ClaimedResources {
        key_pairs: vec!["packer_6743a2b1-3b0a-8d9c-5b5e-0a1b2c3d4e5f".to_owned()],
        instances: vec!["i-1".to_owned()],
        ..ClaimedResources::default()
    }
}

fn beat(build: &BuildId) -> Heartbeat {
    Heartbeat {
        workflow_id: workflow(),
        step_id: step("pyenv"),
        build_id: build.clone(),
        host: "builder-Ærø".to_owned(),
        version: new_version(),
        silence_seconds: 120,
        at: minute(1),
        sign: BuildSignal::Running { traces: traces(), sources: vec![] },
    }
}

fn given_up(build: &BuildId) -> Heartbeat {
    Heartbeat {
        sign: BuildSignal::GivenUp {
            ami_name: AmiName::new("ubuntu/acore/pyenv/01234567"),
            traces: traces(),
            unplanned_sources: vec![],
            cancelled: false,
            until: minute(300),
            region: Region::new("us-east-1"),
            reach: reach(),
        },
        ..beat(build)
    }
}

fn fence(token: u64) -> Fence {
    Fence { workflow_id: workflow(), token }
}

pub(crate) async fn a_beat_takes_the_place_of_the_one_before_and_needs_no_lease(inventory: Empty) {
    let build = BuildId::generate();
    assert_eq!(inventory.last_beat(&workflow(), &build).await.unwrap(), None);
    assert_eq!(inventory.beats(&workflow()).await.unwrap(), []);
    let first = beat(&build);
    assert_eq!(inventory.beat(&first).await.unwrap(), Answer::GoOn);
    let outcome = BuildOutcome {
        stage: PackerStage::Build,
        exit: Exit::Code(7),
        artifacts: vec![],
        failures: vec!["Script exited with 7".to_owned()],
        errors: vec!["größer".to_owned()],
        traces: traces(),
        sources: vec![],
        others: vec![],
        finished: false,
        last_words: vec![],
        lost: None,
        phases: vec![],
        duration: Duration::from_millis(1_500),
        log: "/state/builds/x/packer.log".into(),
    };
    let last = Heartbeat { sign: BuildSignal::Over { outcome: Box::new(outcome) }, ..beat(&build) };
    assert_ne!(first.version, last.version);
    for _ in 0..2 {
        assert_eq!(inventory.beat(&last).await.unwrap(), Answer::GoOn);
    }
    let stands = inventory.last_beat(&workflow(), &build).await.unwrap();
    assert_eq!(stands, Some(last));
    assert_eq!(inventory.lease(&workflow()).await.unwrap(), None);
    assert_eq!(inventory.events(&workflow(), None, 10).await.unwrap(), []);
    assert_eq!(inventory.attempts(&workflow()).await.unwrap(), []);
}

pub(crate) async fn beats_come_in_the_order_of_builds_and_only_of_their_workflow(inventory: Empty) {
    let (one, two) = (beat(&BuildId::generate()), beat(&BuildId::generate()));
    let mut other = beat(&BuildId::generate());
    other.workflow_id = WorkflowId::new("other");
    for beat in [&two, &other, &one] {
        inventory.beat(beat).await.unwrap();
    }
    assert_eq!(inventory.beats(&workflow()).await.unwrap(), [one, two]);
}

pub(crate) async fn a_build_that_was_given_up_is_told_so_and_stays_so(inventory: Empty) {
    let held = hold(&*inventory, "a/1").await;
    let (beaten, silent) = (BuildId::generate(), BuildId::generate());
    let stood = beat(&beaten);
    inventory.beat(&stood).await.unwrap();
    for (build, seen) in [(&beaten, Some(stood.version.as_str())), (&silent, None)] {
        let buried = given_up(build);
        for _ in 0..2 {
            inventory.give_up(&buried, seen, &fence(held.token)).await.unwrap();
        }
        let answer = inventory.beat(&beat(build)).await.unwrap();
        assert_eq!(answer, Answer::GivenUp);
        let stands = inventory.last_beat(&workflow(), build).await.unwrap();
        assert_eq!(stands, Some(buried));
    }
    assert!(inventory.beats(&workflow()).await.unwrap().iter().all(|beat| beat.sign.is_given_up()));
}

pub(crate) async fn only_the_holder_of_the_lease_gives_a_build_up_or_forgets_it(inventory: Empty) {
    let build = BuildId::generate();
    let stood = beat(&build);
    inventory.beat(&stood).await.unwrap();
    let old = hold(&*inventory, "a/1").await;
    let new = hold(&*inventory, "b/2").await;
    for token in [old.token, new.token + 1] {
        for refused in [
            inventory.give_up(&given_up(&build), Some(&stood.version), &fence(token)).await,
            inventory.forget_beat(&build, &fence(token)).await,
        ] {
            assert!(matches!(refused, Err(InventoryError::Fenced { .. })), "{refused:?}");
        }
    }
    assert_eq!(inventory.beat(&beat(&build)).await.unwrap(), Answer::GoOn);
    for _ in 0..2 {
        inventory.forget_beat(&build, &fence(new.token)).await.unwrap();
    }
    assert_eq!(inventory.beats(&workflow()).await.unwrap(), []);
}

pub(crate) async fn who_asks_for_a_build_to_end_is_heard_by_its_supervisor(inventory: Empty) {
    let ask = || Stage::CancelRequested { by: "köbi".to_owned() };
    for beats_before in [true, false] {
        let mut build = Build::of("pyenv");
        let write = of_event(build.intent());
        inventory.write(write, None).await.unwrap();
        if beats_before {
            let answer = inventory.beat(&beat(build.id())).await.unwrap();
            assert_eq!(answer, Answer::GoOn);
        }
        let write = of_event(build.next(ask()));
        inventory.write(write, None).await.unwrap();
        for _ in 0..2 {
            let answer = inventory.beat(&beat(build.id())).await.unwrap();
            assert_eq!(answer, Answer::Cancel);
        }
    }
    let other = inventory.beat(&beat(&BuildId::generate())).await.unwrap();
    assert_eq!(other, Answer::GoOn);
}

pub(crate) async fn a_build_that_has_given_a_sign_since_is_not_given_up(inventory: Empty) {
    let held = hold(&*inventory, "a/1").await;
    let build = BuildId::generate();
    let seen = beat(&build);
    inventory.beat(&seen).await.unwrap();
    inventory.beat(&beat(&build)).await.unwrap();
    for seen in [Some(seen.version.as_str()), None] {
        let refused = inventory.give_up(&given_up(&build), seen, &fence(held.token)).await;
        assert!(matches!(refused, Err(InventoryError::Conflict { .. })), "{refused:?}");
    }
    let late =
        inventory.give_up(&given_up(&BuildId::generate()), Some("x"), &fence(held.token)).await;
    assert!(matches!(late, Err(InventoryError::Conflict { .. })), "{late:?}");
    assert_eq!(inventory.beat(&beat(&build)).await.unwrap(), Answer::GoOn);
}

pub(crate) async fn a_workflow_is_listed_as_open_while_a_build_that_was_given_up_is_looked_after(
    inventory: Empty,
) {
    let lease = hold(&*inventory, "a/1").await;
    let build = BuildId::generate();
    let buried = Heartbeat {
        sign: BuildSignal::GivenUp {
            ami_name: AmiName::new("ubuntu/acore/pyenv/01234567"),
            traces: traces(),
            unplanned_sources: vec![],
            cancelled: false,
            until: minute(300),
            region: Region::new("us-east-1"),
            reach: reach(),
        },
        ..beat(&build)
    };
    let fence = fence(lease.token);
    inventory.give_up(&buried, None, &fence).await.unwrap();
    let open = OpenWorkflow { workflow_id: workflow(), reach: reach() };
    assert_eq!(inventory.open_workflows().await.unwrap(), [open]);
    for _ in 0..2 {
        inventory.forget_beat(&build, &fence).await.unwrap();
        assert_eq!(inventory.open_workflows().await.unwrap(), []);
    }
}

/// Whoever holds the lease looks then whether anybody needs it: it may come late.
pub(crate) async fn the_first_sign_of_life_of_a_build_is_counted(inventory: Empty) {
    let lease = hold(&*inventory, "a/1").await;
    let build = BuildId::generate();
    let mut counts = Vec::new();
    for _ in 0..3 {
        inventory.beat(&beat(&build)).await.unwrap();
        counts.push(counted(&inventory, &lease).await);
    }
    inventory.forget_beat(&build, &fence(lease.token)).await.unwrap();
    inventory.beat(&beat(&build)).await.unwrap();
    counts.push(counted(&inventory, &lease).await);
    assert_eq!(counts, [1, 1, 1, 2]);
}

/// What the holder of a lease sees at a heartbeat of what was written about builds.
async fn counted(inventory: &Empty, lease: &Lease) -> u64 {
    let lease = inventory.renew_lease(lease, minute(2)).await.unwrap();
    lease.journal_seq + inventory.news(&workflow()).await.unwrap().first_beats
}
