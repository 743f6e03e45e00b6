//! The rules of the inventory's port. Each takes an empty, prepared inventory and knows nothing of
//! the adapter.

use std::collections::BTreeMap;
use std::sync::Arc;

use reconciler_model::digest::Digest;
use reconciler_model::ids::{AmiId, AmiName, WorkflowId};
use reconciler_model::inventory::journal::{Asked, Progress, Stage};
use reconciler_model::inventory::record::Record;
use reconciler_model::inventory::tags::Tags;
use reconciler_model::inventory::{
    Expected, Fence, Inventory, InventoryError, OpenWorkflow, Write,
};

use super::values::{
    Build, failed, forgotten, hold, minute, of_event, of_record, reach, record, removal, step,
    workflow,
};

type Empty = Arc<dyn Inventory>;

fn fence(token: u64) -> Fence {
    Fence { workflow_id: workflow(), token }
}

fn images(records: &[Record]) -> Vec<&str> {
    records.iter().map(|record| record.head.ami_id.as_str()).collect()
}

pub(crate) async fn an_inventory_without_anything_is_empty(inventory: Empty) {
    let (workflow, pyenv) = (workflow(), step("pyenv"));
    assert_eq!(inventory.heads(&workflow).await.unwrap().records, []);
    assert_eq!(inventory.record(&workflow, &pyenv).await.unwrap(), None);
    assert_eq!(inventory.records_of_step(&pyenv).await.unwrap(), []);
    assert_eq!(inventory.records_of_workflow(&workflow).await.unwrap(), []);
    assert_eq!(inventory.attempts(&workflow).await.unwrap(), []);
    assert_eq!(inventory.events(&workflow, None, 10).await.unwrap(), []);
    assert_eq!(inventory.lease(&workflow).await.unwrap(), None);
}

pub(crate) async fn preparing_twice_changes_nothing(inventory: Empty) {
    let put = record("pyenv", "ami-1", minute(0));
    inventory.write(of_record(put.clone()), None).await.unwrap();
    inventory.prepare().await.unwrap();
    let read = inventory.record(&workflow(), &step("pyenv")).await.unwrap();
    assert_eq!(read, Some(put));
}

pub(crate) async fn a_record_comes_back_as_it_was_written(inventory: Empty) {
    let mut full = record("pyenv", "ami-1", minute(0));
    full.head.ami_name = AmiName::new("ubuntu/Ærø 🦀/'quoted'");
    let mut bare = record("größe", "ami-2", minute(1));
    if let Some(built) = &mut bare.head.built {
        built.tags = Tags::default();
        built.build_seconds = 0;
    }
    "{}".clone_into(&mut bare.metadata);
    bare.components.as_mut().unwrap().params.clear();
    for put in [full, bare] {
        inventory.write(of_record(put.clone()), None).await.unwrap();
        let read = inventory.record(&workflow(), &put.head.step_id).await.unwrap();
        assert_eq!(read, Some(put));
    }
}

pub(crate) async fn a_record_without_anything_of_ours_is_read_as_such(inventory: Empty) {
    let mut put = record("pyenv", "ami-1", minute(0));
    put.head.built = None;
    put.components = None;
    inventory.write(of_record(put.clone()), None).await.unwrap();
    let heads = inventory.heads(&workflow()).await.unwrap();
    assert_eq!(heads.records, [put.head.clone()]);
    let read = inventory.record(&workflow(), &step("pyenv")).await.unwrap();
    assert_eq!(read, Some(put));
}

pub(crate) async fn a_record_that_is_put_again_replaces_all_of_the_old_one(inventory: Empty) {
    let old = record("pyenv", "ami-1", minute(0));
    let mut new = record("pyenv", "ami-2", minute(5));
    new.head.built = None;
    new.components = None;
    inventory.write(of_record(old), None).await.unwrap();
    inventory.write(of_record(new.clone()), None).await.unwrap();
    let all = inventory.records_of_workflow(&workflow()).await.unwrap();
    assert_eq!(all, [new]);
}

pub(crate) async fn heads_come_in_step_id_order_and_only_of_their_workflow(inventory: Empty) {
    let mut other = record("pyenv", "ami-9", minute(0));
    other.head.workflow_id = WorkflowId::new("other");
    inventory.write(of_record(other), None).await.unwrap();
    let mut wanted = Vec::new();
    for name in ["pyenv", "Zebra", "mysql", "build_deps"] {
        let put = record(name, &format!("ami-{name}"), minute(0));
        wanted.push(put.head.clone());
        inventory.write(of_record(put), None).await.unwrap();
    }
    wanted.sort_by(|one, two| one.step_id.cmp(&two.step_id));
    let heads = inventory.heads(&workflow()).await.unwrap();
    assert_eq!(heads.records, wanted);
    assert_eq!(heads.malformed, []);
}

pub(crate) async fn records_come_newest_image_first(inventory: Empty) {
    for (name, ami_id, at) in
        [("pyenv", "ami-2", 20), ("mysql", "ami-3", 30), ("core", "ami-1", 10)]
    {
        let put = record(name, ami_id, minute(at));
        inventory.write(of_record(put), None).await.unwrap();
    }
    let all = inventory.records_of_workflow(&workflow()).await.unwrap();
    assert_eq!(images(&all), ["ami-3", "ami-2", "ami-1"]);

    for (run, ami_id, at) in [("run-1", "ami-5", 50), ("run-2", "ami-4", 5)] {
        let mut put = record("pyenv", ami_id, minute(at));
        put.head.workflow_id = WorkflowId::new(run);
        inventory.write(of_record(put), None).await.unwrap();
    }
    // An index may lag behind its table.
    for _ in 0..50 {
        if inventory.records_of_step(&step("pyenv")).await.unwrap().len() == 3 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    let of_step = inventory.records_of_step(&step("pyenv")).await.unwrap();
    assert_eq!(images(&of_step), ["ami-5", "ami-2", "ami-4"]);
}

pub(crate) async fn a_record_expected_to_be_absent_is_put_once(inventory: Empty) {
    let write = |ami_id| Write {
        record: Some((record("pyenv", ami_id, minute(0)), Some(Expected::Absent))),
        ..Write::default()
    };
    inventory.write(write("ami-1"), None).await.unwrap();
    let second = inventory.write(write("ami-2"), None).await;
    assert!(matches!(second, Err(InventoryError::Conflict { .. })), "{second:?}");
    let all = inventory.records_of_workflow(&workflow()).await.unwrap();
    assert_eq!(images(&all), ["ami-1"]);
}

pub(crate) async fn a_record_is_replaced_only_where_the_expected_image_stands(inventory: Empty) {
    let write = |ami_id, expected| Write {
        record: Some((
            record("pyenv", ami_id, minute(0)),
            Some(Expected::Image(AmiId::new(expected))),
        )),
        ..Write::default()
    };
    let nothing_there = inventory.write(write("ami-2", "ami-1"), None).await;
    assert!(matches!(nothing_there, Err(InventoryError::Conflict { .. })), "{nothing_there:?}");
    let first = record("pyenv", "ami-1", minute(0));
    inventory.write(of_record(first), None).await.unwrap();
    inventory.write(write("ami-2", "ami-1"), None).await.unwrap();
    let late = inventory.write(write("ami-3", "ami-1"), None).await;
    assert!(matches!(late, Err(InventoryError::Conflict { .. })), "{late:?}");
    let all = inventory.records_of_workflow(&workflow()).await.unwrap();
    assert_eq!(images(&all), ["ami-2"]);
}

pub(crate) async fn a_record_is_removed_whole_and_only_where_it_names_the_image(inventory: Empty) {
    let remove = |image| Write { removal: Some(removal("pyenv", image)), ..Write::default() };
    let nothing_there = inventory.write(remove("ami-1"), None).await;
    assert!(matches!(nothing_there, Err(InventoryError::Conflict { .. })), "{nothing_there:?}");
    for (name, image) in [("pyenv", "ami-1"), ("mysql", "ami-2")] {
        let put = record(name, image, minute(0));
        inventory.write(of_record(put), None).await.unwrap();
    }
    let another = inventory.write(remove("ami-2"), None).await;
    let Err(InventoryError::Conflict { what }) = another else { panic!("{another:?}") };
    assert_eq!(what, record("pyenv", "ami-1", minute(0)).head.name());
    assert_eq!(inventory.heads(&workflow()).await.unwrap().records.len(), 2);
    inventory.write(remove("ami-1"), None).await.unwrap();
    let left = inventory.records_of_workflow(&workflow()).await.unwrap();
    assert_eq!(images(&left), ["ami-2"]);
    assert_eq!(inventory.record(&workflow(), &step("pyenv")).await.unwrap(), None);
    // Nothing of it comes back with another record.
    let mut put = record("pyenv", "ami-3", minute(1));
    put.components = None;
    inventory.write(of_record(put.clone()), None).await.unwrap();
    assert_eq!(inventory.record(&workflow(), &step("pyenv")).await.unwrap(), Some(put));
}

pub(crate) async fn a_removal_and_its_event_happen_both_or_not_at_all_and_under_the_lease(
    inventory: Empty,
) {
    let (old, new) = (hold(&*inventory, "a/1").await, hold(&*inventory, "b/2").await);
    inventory.write(of_record(record("pyenv", "ami-1", minute(0))), None).await.unwrap();
    let mut told = Build::of("pyenv");
    let forgotten = told.next(forgotten("ami-1", new.token));
    let both = |image| Write {
        removal: Some(removal("pyenv", image)),
        event: Some(forgotten.clone()),
        ..Write::default()
    };
    let stale = inventory.write(both("ami-1"), Some(&fence(old.token))).await;
    assert!(matches!(stale, Err(InventoryError::Fenced { .. })), "{stale:?}");
    let another = inventory.write(both("ami-2"), Some(&fence(new.token))).await;
    assert!(matches!(another, Err(InventoryError::Conflict { .. })), "{another:?}");
    assert_eq!(inventory.events(&workflow(), None, 9).await.unwrap(), []);
    assert_eq!(inventory.heads(&workflow()).await.unwrap().records.len(), 1);
    // Word for word again: it has happened, for the answer to the first was lost.
    for _ in 0..2 {
        inventory.write(both("ami-1"), Some(&fence(new.token))).await.unwrap();
    }
    assert_eq!(inventory.heads(&workflow()).await.unwrap().records, []);
    assert_eq!(inventory.events(&workflow(), None, 9).await.unwrap(), [forgotten]);
    assert_eq!(inventory.attempts(&workflow()).await.unwrap(), [], "it is no attempt");
    assert_eq!(inventory.open_workflows().await.unwrap(), []);
}

pub(crate) async fn a_record_and_its_event_are_written_both_or_not_at_all(inventory: Empty) {
    let mut build = Build::of("pyenv");
    inventory.write(of_event(build.intent()), None).await.unwrap();
    let recorded = build.next(Stage::Recorded {
        ami_id: AmiId::new("ami-1"),
        build_seconds: 5,
        phases: vec![],
    });
    let both = |expected| Write {
        record: Some((record("pyenv", "ami-1", minute(0)), Some(expected))),
        event: Some(recorded.clone()),
        ..Write::default()
    };
    // The record's condition fails: no event.
    let refused = inventory.write(both(Expected::Image(AmiId::new("ami-0"))), None).await;
    assert!(matches!(refused, Err(InventoryError::Conflict { .. })), "{refused:?}");
    let events = inventory.events(&workflow(), None, 10).await.unwrap();
    assert_eq!(events.len(), 1);
    let attempts = inventory.attempts(&workflow()).await.unwrap();
    assert_eq!(attempts[0].progress, Progress::Intended);

    inventory.write(both(Expected::Absent), None).await.unwrap();
    let attempts = inventory.attempts(&workflow()).await.unwrap();
    assert!(attempts[0].is_over());

    // Another event stands in its place: no record.
    let mut write = both(Expected::Image(AmiId::new("ami-1")));
    write.record.as_mut().unwrap().0.head.ami_id = AmiId::new("ami-2");
    write.event.as_mut().unwrap().at = minute(99);
    let refused = inventory.write(write, None).await;
    assert!(matches!(refused, Err(InventoryError::Conflict { .. })), "{refused:?}");
    let all = inventory.records_of_workflow(&workflow()).await.unwrap();
    assert_eq!(images(&all), ["ami-1"]);
}

pub(crate) async fn a_write_repeated_word_for_word_has_happened_once(inventory: Empty) {
    let held = hold(&*inventory, "a/1").await;
    let mut build = Build::of("pyenv");
    let write = Write {
        record: Some((record("pyenv", "ami-1", minute(0)), Some(Expected::Absent))),
        event: Some(build.intent()),
        ..Write::default()
    };
    for _ in 0..2 {
        inventory.write(write.clone(), Some(&fence(held.token))).await.unwrap();
    }
    assert_eq!(inventory.events(&workflow(), None, 10).await.unwrap().len(), 1);
    let stands = inventory.lease(&workflow()).await.unwrap().unwrap();
    assert_eq!(stands.journal_seq, 1);
    // But not for one whose lease is another's meanwhile.
    hold(&*inventory, "b/2").await;
    let stale = inventory.write(write, Some(&fence(held.token))).await;
    assert!(matches!(stale, Err(InventoryError::Fenced { .. })), "{stale:?}");
}

pub(crate) async fn an_event_is_never_changed(inventory: Empty) {
    let mut build = Build::of("pyenv");
    let intent = build.intent();
    inventory.write(of_event(intent.clone()), None).await.unwrap();
    let mut again = intent.clone();
    again.at = minute(99);
    let second = inventory.write(of_event(again), None).await;
    assert!(matches!(second, Err(InventoryError::Conflict { .. })), "{second:?}");
    let events = inventory.events(&workflow(), None, 10).await.unwrap();
    assert_eq!(events, [intent]);
}

pub(crate) async fn events_come_newest_first_by_step_and_up_to_the_limit(inventory: Empty) {
    let mut written = Vec::new();
    for name in ["pyenv", "mysql", "pyenv"] {
        let mut build = Build::of(name);
        for event in
            [build.intent(), build.next(Stage::Started { pid: 4242 }), build.next(failed())]
        {
            inventory.write(of_event(event.clone()), None).await.unwrap();
            written.push(event);
        }
    }
    written.reverse();
    let all = inventory.events(&workflow(), None, 100).await.unwrap();
    assert_eq!(all, written);
    let some = inventory.events(&workflow(), None, 4).await.unwrap();
    assert_eq!(some, written[..4]);
    let one = written[0].build_id.clone();
    let of_one = inventory.events_of_build(&workflow(), &one).await.unwrap();
    let (its, others): (Vec<_>, Vec<_>) =
        written.iter().cloned().partition(|event| event.build_id == one);
    assert!(!others.is_empty(), "there are other builds");
    assert_eq!(of_one, its);
    let hour = jiff::SignedDuration::from_hours(1);
    for (since, all) in
        [(jiff::Timestamp::now() - hour, true), (jiff::Timestamp::now() + hour, false)]
    {
        let found = inventory.events_since(&workflow(), &step("pyenv"), since).await.unwrap();
        let known = written.iter().filter(|event| all && event.step_id == step("pyenv"));
        assert_eq!(found, known.cloned().collect::<Vec<_>>());
    }
    let pyenv = inventory.events(&workflow(), Some(&step("pyenv")), 4).await.unwrap();
    let of_pyenv: Vec<_> =
        written.iter().filter(|event| event.step_id == step("pyenv")).take(4).cloned().collect();
    assert_eq!(pyenv, of_pyenv);
}

pub(crate) async fn attempts_are_the_newest_build_of_each_step_folded(inventory: Empty) {
    let mut first = Build::of("pyenv");
    let mut second = Build::of("pyenv");
    let mut other = Build::of("mysql");
    for event in [
        first.intent(),
        first.next(failed()),
        second.intent(),
        // Clean-up after an older build is an event of that build only.
        first.next(Stage::Cleaned { removed: vec!["i-1".to_owned()] }),
        second.next(Stage::Started { pid: 7 }),
        second.next(Stage::ImageSeen { ami_id: AmiId::new("ami-1") }),
        other.intent(),
    ] {
        inventory.write(of_event(event), None).await.unwrap();
    }
    let attempts = inventory.attempts(&workflow()).await.unwrap();
    let [mysql, pyenv] = &attempts[..] else {
        panic!("{attempts:?}");
    };
    assert_eq!(mysql.step_id, step("mysql"));
    assert_eq!(mysql.progress, Progress::Intended);
    assert_eq!(mysql.intent.promise.as_ref().unwrap().aws_tags["team"], "Größe");
    assert_eq!(&pyenv.build_id, second.id());
    assert_eq!(pyenv.seq, 2);
    assert_eq!(pyenv.progress, Progress::ImageSeen);
    assert_eq!(pyenv.ami_id, Some(AmiId::new("ami-1")));
    assert!(!pyenv.cleaned);
    assert_eq!(pyenv.intent.fingerprint, Digest::of(b"desired").into());
    assert_eq!(pyenv.started_at, minute(0));
    assert_eq!(pyenv.updated_at, minute(2));
}

pub(crate) async fn a_request_takes_the_next_place_without_a_lease_and_the_attempt_says_whose_it_is(
    inventory: Empty,
) {
    let lease = hold(inventory.as_ref(), "host-1/1").await;
    let fence = fence(lease.token);
    let mut build = Build::of("pyenv");
    let write = |event, fence| inventory.write(of_event(event), fence);
    write(build.intent(), Some(&fence)).await.unwrap();
    let by = "alice@desk".to_owned();
    let stage = build.next(Stage::Started { pid: 7 });
    let mut asked = stage.clone();
    asked.stage = Stage::CancelRequested { by: by.clone() };
    write(asked.clone(), None).await.unwrap();
    // Whoever writes the stages finds the place taken, and goes on behind it.
    let late = write(stage, Some(&fence)).await;
    assert!(matches!(late, Err(InventoryError::Conflict { .. })), "{late:?}");
    write(build.next(failed()), Some(&fence)).await.unwrap();
    let again = build.next(Stage::RetryRequested { by: by.clone() });
    write(again, None).await.unwrap();
    let attempts = inventory.attempts(&workflow()).await.unwrap();
    let said = |asked: &Option<Asked>| asked.as_ref().map(|asked| asked.by.clone());
    assert_eq!(said(&attempts[0].cancel_requested), Some(by.clone()));
    assert_eq!(said(&attempts[0].retry_requested), Some(by));
    assert!(matches!(attempts[0].progress, Progress::Failed(_)));
}

pub(crate) async fn attempts_without_a_record_are_those_that_run_failed_or_left_something(
    inventory: Empty,
) {
    let recorded =
        || Stage::Recorded { ami_id: AmiId::new("ami-1"), build_seconds: 5, phases: vec![] };
    let cleaned = || Stage::Cleaned { removed: vec![] };
    for (name, stages) in [
        ("running", vec![]),
        ("failed", vec![failed(), cleaned()]),
        ("recorded", vec![recorded(), cleaned()]),
        ("left", vec![recorded()]),
    ] {
        let mut build = Build::of(name);
        let write = of_event(build.intent());
        inventory.write(write, None).await.unwrap();
        for stage in stages {
            let write = of_event(build.next(stage));
            inventory.write(write, None).await.unwrap();
        }
    }
    let attempts = inventory.unrecorded_attempts(&workflow()).await.unwrap();
    let steps: Vec<_> = attempts.iter().map(|attempt| &attempt.step_id).collect();
    assert_eq!(steps, [&step("failed"), &step("left"), &step("running")]);
    // Tried again, it is one of them again.
    let write = of_event(Build::of("recorded").intent());
    inventory.write(write, None).await.unwrap();
    let attempts = inventory.unrecorded_attempts(&workflow()).await.unwrap();
    assert_eq!(attempts.len(), 4);
}

pub(crate) async fn lease_and_attempts_that_are_read_at_once_are_what_each_says_by_itself(
    inventory: Empty,
) {
    let (lease, attempts) = inventory.lease_and_attempts(&workflow()).await.unwrap();
    assert_eq!((lease.unwrap(), attempts.len()), (None, 0));
    // The first and the last of all names, a build that is recorded, and a sign of life.
    let (first, last) = ("\u{1}", "\u{10ffff}");
    let mut clean = Build::of("recorded");
    let recorded =
        Stage::Recorded { ami_id: AmiId::new("ami-1"), build_seconds: 5, phases: vec![] };
    let events = [
        Build::of(first).intent(),
        Build::of(last).intent(),
        clean.intent(),
        clean.next(recorded),
        clean.next(Stage::Cleaned { removed: vec![] }),
    ];
    for event in events {
        inventory.write(of_event(event), None).await.unwrap();
    }
    let (lease, attempts) = inventory.lease_and_attempts(&workflow()).await.unwrap();
    assert_eq!((lease.unwrap(), attempts.len()), (None, 2), "nobody has held the lease yet");
    let held = hold(inventory.as_ref(), "one").await;
    let (lease, attempts) = inventory.lease_and_attempts(&workflow()).await.unwrap();
    assert_eq!(lease.unwrap(), inventory.lease(&workflow()).await.unwrap());
    assert_eq!(attempts, inventory.unrecorded_attempts(&workflow()).await.unwrap().sound);
    let steps: Vec<_> = attempts.iter().map(|attempt| &attempt.step_id).collect();
    assert_eq!((held.token, steps), (1, vec![&step(first), &step(last)]));
}

pub(crate) async fn a_workflow_is_listed_as_open_until_its_last_build_is_settled(inventory: Empty) {
    assert_eq!(inventory.open_workflows().await.unwrap(), []);
    let open = OpenWorkflow { workflow_id: workflow(), reach: reach() };
    let (mut one, mut two) = (Build::of("pyenv"), Build::of("mysql"));
    for event in [one.intent(), two.intent(), one.next(Stage::Started { pid: 7 })] {
        inventory.write(of_event(event), None).await.unwrap();
        let listed = inventory.open_workflows().await.unwrap();
        assert_eq!(listed, std::slice::from_ref(&open), "once, with the way to AWS");
    }
    let cleaned = || Stage::Cleaned { removed: vec![] };
    for event in [one.next(failed()), one.next(cleaned()), two.next(failed())] {
        inventory.write(of_event(event), None).await.unwrap();
        assert_eq!(inventory.open_workflows().await.unwrap(), std::slice::from_ref(&open));
    }
    let last = of_event(two.next(cleaned()));
    inventory.write(last, None).await.unwrap();
    assert_eq!(inventory.open_workflows().await.unwrap(), []);
    // Another try opens it again.
    let again = of_event(Build::of("pyenv").intent());
    inventory.write(again, None).await.unwrap();
    assert_eq!(inventory.open_workflows().await.unwrap(), [open]);
}

pub(crate) async fn a_stale_token_writes_neither_record_nor_event(inventory: Empty) {
    let old = hold(&*inventory, "a/1").await;
    let new = hold(&*inventory, "b/2").await;
    let put = record("pyenv", "ami-1", minute(0));
    let mut build = Build::of("pyenv");
    let intent = build.intent();
    for write in [of_record(put.clone()), of_event(intent.clone())] {
        let stale = inventory.write(write.clone(), Some(&fence(old.token))).await;
        assert!(matches!(stale, Err(InventoryError::Fenced { .. })), "{stale:?}");
        let future = inventory.write(write, Some(&fence(new.token + 1))).await;
        assert!(matches!(future, Err(InventoryError::Fenced { .. })), "{future:?}");
    }
    assert_eq!(inventory.heads(&workflow()).await.unwrap().records, []);
    assert_eq!(inventory.events(&workflow(), None, 9).await.unwrap(), []);
    let both = Write {
        record: Some((put, Some(Expected::Absent))),
        event: Some(intent),
        ..Write::default()
    };
    inventory.write(both, Some(&fence(new.token))).await.unwrap();
    assert_eq!(inventory.heads(&workflow()).await.unwrap().records.len(), 1);
}

pub(crate) async fn without_a_lease_no_token_writes(inventory: Empty) {
    let put = record("pyenv", "ami-1", minute(0));
    for token in [0, 1] {
        let refused = inventory.write(of_record(put.clone()), Some(&fence(token))).await;
        assert!(matches!(refused, Err(InventoryError::Fenced { .. })), "{refused:?}");
    }
}

pub(crate) async fn a_lease_given_back_writes_no_more_and_is_taken_anew(inventory: Empty) {
    let held = hold(&*inventory, "a/1").await;
    inventory.release_lease(&held).await.unwrap();
    let stands = inventory.lease(&workflow()).await.unwrap().unwrap();
    assert_eq!(stands.holder, None);
    assert_eq!(stands.token, held.token);
    assert_ne!(stands.version, held.version);
    let put = of_record(record("pyenv", "ami-1", minute(0)));
    let refused = inventory.write(put, Some(&fence(held.token))).await;
    assert!(matches!(refused, Err(InventoryError::Fenced { .. })), "{refused:?}");
    let renewed = inventory.renew_lease(&held, minute(1)).await;
    assert!(matches!(renewed, Err(InventoryError::Fenced { .. })), "{renewed:?}");
    let next = hold(&*inventory, "b/2").await;
    assert!(next.token > held.token);
    let late = inventory.release_lease(&held).await;
    assert!(matches!(late, Err(InventoryError::Fenced { .. })), "{late:?}");
    let stands = inventory.lease(&workflow()).await.unwrap().unwrap();
    assert_eq!(stands.holder.as_deref(), Some("b/2"));
}

pub(crate) async fn of_sixteen_that_want_the_lease_one_gets_it(inventory: Empty) {
    for round in 0..2 {
        let seen = inventory.lease(&workflow()).await.unwrap();
        let tries: Vec<_> = (0..16)
            .map(|number| {
                let (inventory, seen) = (Arc::clone(&inventory), seen.clone());
                tokio::spawn(async move {
                    let holder = format!("host/{number}");
                    inventory
                        .acquire_lease(&workflow(), &holder, 30, seen.as_ref(), minute(round))
                        .await
                })
            })
            .collect();
        let mut winners = Vec::new();
        for tried in tries {
            match tried.await.unwrap() {
                Ok(lease) => winners.push(lease),
                Err(InventoryError::Conflict { .. }) => {}
                Err(other) => panic!("{other:?}"),
            }
        }
        assert_eq!(winners.len(), 1, "{winners:?}");
        let stands = inventory.lease(&workflow()).await.unwrap();
        assert_eq!(stands.as_ref(), winners.first());
    }
}

pub(crate) async fn a_heartbeat_changes_the_version_and_keeps_the_token(inventory: Empty) {
    let held = hold(&*inventory, "a/1").await;
    assert_eq!(held.duration_seconds, 30);
    let renewed = inventory.renew_lease(&held, minute(3)).await.unwrap();
    assert_ne!(renewed.version, held.version);
    assert_eq!(renewed.token, held.token);
    assert_eq!(renewed.renewed_at, minute(3));
    assert_eq!(renewed.holder.as_deref(), Some("a/1"));
    assert_eq!(inventory.lease(&workflow()).await.unwrap(), Some(renewed.clone()));
    // What was seen before the heartbeat is no ground to take it.
    let taken = inventory.acquire_lease(&workflow(), "b/2", 30, Some(&held), minute(4)).await;
    assert!(matches!(taken, Err(InventoryError::Conflict { .. })), "{taken:?}");
    let taken =
        inventory.acquire_lease(&workflow(), "b/2", 60, Some(&renewed), minute(4)).await.unwrap();
    assert!(taken.token > held.token);
    assert_eq!(taken.duration_seconds, 60);
    let late = inventory.renew_lease(&renewed, minute(5)).await;
    assert!(matches!(late, Err(InventoryError::Fenced { .. })), "{late:?}");
}

pub(crate) async fn every_event_of_a_workflow_is_counted(inventory: Empty) {
    let mut build = Build::of("pyenv");
    // Also before there is a lease, by somebody who holds none.
    inventory.write(of_event(build.intent()), None).await.unwrap();
    assert_eq!(inventory.lease(&workflow()).await.unwrap(), None);
    let held = hold(&*inventory, "a/1").await;
    assert_eq!(held.journal_seq, 1);
    for (event, fence) in [
        (build.next(Stage::Started { pid: 1 }), Some(fence(held.token))),
        (build.next(failed()), None),
    ] {
        inventory.write(of_event(event), fence.as_ref()).await.unwrap();
    }
    let renewed = inventory.renew_lease(&held, minute(1)).await.unwrap();
    assert_eq!(renewed.journal_seq, 3);
    inventory.write(of_record(record("pyenv", "ami-1", minute(0))), None).await.unwrap();
    let stands = inventory.lease(&workflow()).await.unwrap().unwrap();
    assert_eq!(stands.journal_seq, 3);
}

/// DynamoDB answers in pages of 1 MB; each of these is 10 KB as a record, an attempt and an event.
pub(crate) async fn more_than_a_page_of_records_and_attempts_is_read_whole(inventory: Empty) {
    let count = 130;
    let filler = "x".repeat(10_000);
    for number in 0..count {
        let name = format!("step-{number:05}");
        let mut put = record(&name, &format!("ami-{number}"), minute(number));
        if let Some(built) = &mut put.head.built {
            built.tags = BTreeMap::from([("filler".to_owned(), filler.clone())]).into();
        }
        let mut intent = Build::of(&name).intent();
        if let Stage::Intent(intent) = &mut intent.stage {
            intent.promise.as_mut().unwrap().metadata.clone_from(&filler);
        }
        let write = Write { record: Some((put, None)), event: Some(intent), ..Write::default() };
        inventory.write(write, None).await.unwrap();
    }
    let heads = inventory.heads(&workflow()).await.unwrap();
    let steps: Vec<_> = heads.records.iter().map(|head| &head.step_id).collect();
    assert_eq!(heads.records.len(), usize::try_from(count).unwrap());
    assert!(steps.is_sorted());
    let all = inventory.records_of_workflow(&workflow()).await.unwrap();
    assert_eq!(all.len(), heads.records.len());
    assert_eq!(all[0].head.step_id, step("step-00129"));
    let attempts = inventory.attempts(&workflow()).await.unwrap();
    assert_eq!(attempts.len(), heads.records.len());
    for limit in [5_000, 120] {
        let events = inventory.events(&workflow(), None, limit).await.unwrap();
        assert_eq!(events.len(), heads.records.len().min(limit));
    }
    let last = inventory.events(&workflow(), Some(&step("step-00000")), 10).await.unwrap();
    assert_eq!(last.len(), 1);
    assert_eq!(inventory.lease(&workflow()).await.unwrap(), None);
}
