//! The rules of the inventory's port on what people ask for, and on the commit that was applied
//! last. Each takes an empty, prepared inventory and knows nothing of the adapter.

use std::collections::BTreeMap;
use std::sync::Arc;

use reconciler_model::ids::{AmiId, BuildId, RequestId, Revision};
use reconciler_model::inventory::request::{
    Answer, AnswerTo, Outcome, Request, StandingRequest, Wish,
};
use reconciler_model::inventory::reservation::{Reservation, ReservationChange};
use reconciler_model::inventory::{Expected, Fence, Inventory, InventoryError, Write};

use super::values::{Build, hold, minute, record, step, workflow};

type Empty = Arc<dyn Inventory>;

fn request() -> Request {
    Request {
        workflow_id: workflow(),
        id: RequestId::generate(),
        by: "köbi@desk".to_owned(),
        at: minute(1),
        why: Some("a hotfix".to_owned()),
        wish: Wish::Retry { step: step("pyenv") },
    }
}

fn done() -> Answer {
    let build = BuildId::new("01900000-0000-7000-8000-000000000000");
    Answer { at: minute(2), by: "one/1/2".to_owned(), outcome: Outcome::Done { build } }
}

fn refused() -> Answer {
    let outcome = Outcome::Refused { why: "it runs".to_owned(), hint: Some("wait".to_owned()) };
    Answer { outcome, ..done() }
}

fn answering(request: &Request, answer: Answer) -> Write {
    let (workflow_id, id) = (request.workflow_id.clone(), request.id.clone());
    Write { answer: Some(AnswerTo { workflow_id, id, answer }), ..Write::default() }
}

fn standing(request: &Request, answer: Option<Answer>) -> StandingRequest {
    StandingRequest { id: request.id.clone(), request: Ok(request.clone()), answer }
}

async fn held(inventory: &Empty) -> Fence {
    let lease = hold(inventory.as_ref(), "one/1/2").await;
    Fence { workflow_id: workflow(), token: lease.token }
}

pub(crate) async fn a_request_stands_until_it_is_answered_and_its_answer_stands_beside_it(
    inventory: Empty,
) {
    let (one, two) = (request(), request());
    assert_eq!(inventory.request(&workflow(), &one.id).await.unwrap(), None);
    assert_eq!(inventory.requests(&workflow()).await.unwrap(), []);
    // Nobody needs a lease to ask.
    for request in [&one, &two] {
        inventory.ask(request).await.unwrap();
    }
    let mut other = request();
    other.workflow_id = "another".into();
    inventory.ask(&other).await.unwrap();
    let all = [standing(&one, None), standing(&two, None)];
    assert_eq!(inventory.requests(&workflow()).await.unwrap(), all);
    let fence = held(&inventory).await;
    inventory.write(answering(&two, refused()), Some(&fence)).await.unwrap();
    let all = [standing(&one, None), standing(&two, Some(refused()))];
    assert_eq!(inventory.requests(&workflow()).await.unwrap(), all);
    let found = inventory.request(&workflow(), &two.id).await.unwrap();
    assert_eq!(found, Some(standing(&two, Some(refused()))));
}

pub(crate) async fn a_request_asked_twice_is_asked_once_and_counted_once(inventory: Empty) {
    let request = request();
    let before = inventory.news(&workflow()).await.unwrap();
    inventory.ask(&request).await.unwrap();
    let asked = inventory.news(&workflow()).await.unwrap();
    assert_ne!(asked.requests, before.requests);
    inventory.ask(&request).await.unwrap();
    assert_eq!(inventory.news(&workflow()).await.unwrap(), asked);
    let another = Request { by: "somebody else".to_owned(), ..request.clone() };
    let refused = inventory.ask(&another).await;
    assert!(matches!(refused, Err(InventoryError::Conflict { .. })), "{refused:?}");
    assert_eq!(inventory.requests(&workflow()).await.unwrap(), [standing(&request, None)]);
}

pub(crate) async fn a_request_is_answered_once_and_with_what_it_changes_or_not_at_all(
    inventory: Empty,
) {
    let request = request();
    let fence = held(&inventory).await;
    let unknown = inventory.write(answering(&request, done()), Some(&fence)).await;
    assert!(matches!(unknown, Err(InventoryError::Conflict { .. })), "{unknown:?}");
    inventory.ask(&request).await.unwrap();
    let with = |expected, answer| Write {
        record: Some((record("pyenv", "ami-1", minute(0)), Some(expected))),
        event: Some(Build::of("pyenv").intent()),
        ..answering(&request, answer)
    };
    // What it changes cannot be changed: no answer either.
    let elsewhere = Expected::Image(AmiId::new("ami-0"));
    let conflict = inventory.write(with(elsewhere, done()), Some(&fence)).await;
    assert!(matches!(conflict, Err(InventoryError::Conflict { .. })), "{conflict:?}");
    assert_eq!(inventory.requests(&workflow()).await.unwrap(), [standing(&request, None)]);
    inventory.write(with(Expected::Absent, done()), Some(&fence)).await.unwrap();
    let all = [standing(&request, Some(done()))];
    assert_eq!(inventory.requests(&workflow()).await.unwrap(), all);
    // Answered already: nothing of what comes with another answer is written.
    let stands = Expected::Image(AmiId::new("ami-1"));
    let mut again = with(stands, refused());
    if let Some((record, _)) = &mut again.record {
        record.head.ami_id = AmiId::new("ami-2");
    }
    let conflict = inventory.write(again, Some(&fence)).await;
    assert!(matches!(conflict, Err(InventoryError::Conflict { .. })), "{conflict:?}");
    let kept = inventory.record(&workflow(), &step("pyenv")).await.unwrap().unwrap();
    assert_eq!(kept.head.ami_id, AmiId::new("ami-1"));
    assert_eq!(inventory.requests(&workflow()).await.unwrap(), all);
}

pub(crate) async fn only_the_holder_of_the_lease_answers(inventory: Empty) {
    let request = request();
    inventory.ask(&request).await.unwrap();
    let old = held(&inventory).await;
    let new = held(&inventory).await;
    let refused = inventory.write(answering(&request, done()), Some(&old)).await;
    assert!(matches!(refused, Err(InventoryError::Fenced { .. })), "{refused:?}");
    assert_eq!(inventory.requests(&workflow()).await.unwrap(), [standing(&request, None)]);
    inventory.write(answering(&request, done()), Some(&new)).await.unwrap();
}

pub(crate) async fn an_answer_repeated_word_for_word_was_given_once(inventory: Empty) {
    let request = request();
    inventory.ask(&request).await.unwrap();
    let fence = held(&inventory).await;
    for _ in 0..2 {
        inventory.write(answering(&request, refused()), Some(&fence)).await.unwrap();
    }
    let other = inventory.write(answering(&request, done()), Some(&fence)).await;
    assert!(matches!(other, Err(InventoryError::Conflict { .. })), "{other:?}");
    let all = [standing(&request, Some(refused()))];
    assert_eq!(inventory.requests(&workflow()).await.unwrap(), all);
}

pub(crate) async fn only_the_holder_of_the_lease_forgets_a_request(inventory: Empty) {
    let request = request();
    inventory.ask(&request).await.unwrap();
    let old = held(&inventory).await;
    let new = held(&inventory).await;
    let refused = inventory.forget_request(&request.id, &old).await;
    assert!(matches!(refused, Err(InventoryError::Fenced { .. })), "{refused:?}");
    for _ in 0..2 {
        inventory.forget_request(&request.id, &new).await.unwrap();
        assert_eq!(inventory.requests(&workflow()).await.unwrap(), []);
    }
    // What is asked after that is seen.
    let before = inventory.news(&workflow()).await.unwrap();
    inventory.ask(&self::request()).await.unwrap();
    assert_ne!(inventory.news(&workflow()).await.unwrap(), before);
}

fn reservation(request: &Request) -> Reservation {
    Reservation {
        workflow_id: request.workflow_id.clone(),
        id: request.id.clone(),
        by: request.by.clone(),
        at: minute(2),
        images: vec![AmiId::new("ami-1"), AmiId::new("ami-2")],
        run: true,
    }
}

fn reserving(request: &Request) -> Write {
    let begins = ReservationChange::Begin(reservation(request));
    Write { reservation: Some(begins), ..answering(request, done()) }
}

pub(crate) async fn a_reservation_begins_with_the_answer_that_grants_it_and_stands_until_it_ends(
    inventory: Empty,
) {
    let (one, two) = (request(), request());
    let fence = held(&inventory).await;
    assert_eq!(inventory.reservations(&workflow()).await.unwrap(), []);
    // Nobody has asked: no answer, and no reservation.
    let unknown = inventory.write(reserving(&one), Some(&fence)).await;
    assert!(matches!(unknown, Err(InventoryError::Conflict { .. })), "{unknown:?}");
    assert_eq!(inventory.reservations(&workflow()).await.unwrap(), []);
    for request in [&one, &two] {
        inventory.ask(request).await.unwrap();
        // The first answer may have been lost on its way.
        for _ in 0..2 {
            inventory.write(reserving(request), Some(&fence)).await.unwrap();
        }
    }
    let both = [reservation(&one), reservation(&two)];
    assert_eq!(inventory.reservations(&workflow()).await.unwrap(), both);
    assert_eq!(inventory.reservations(&"another".into()).await.unwrap(), []);
    // What a pass reads, it reads as before.
    inventory.write(super::values::of_event(Build::of("pyenv").intent()), None).await.unwrap();
    let (lease, attempts) = inventory.lease_and_attempts(&workflow()).await.unwrap();
    assert_eq!((lease.unwrap().map(|lease| lease.token), attempts.len()), (Some(fence.token), 1));
    assert_eq!(attempts.malformed, []);
    assert_eq!(inventory.attempts(&workflow()).await.unwrap().len(), 1);
    assert_eq!(inventory.events(&workflow(), None, 9).await.unwrap().len(), 1);
    let end = || {
        let (workflow_id, id) = (workflow(), one.id.clone());
        let ends = ReservationChange::End { workflow_id, id };
        Write { reservation: Some(ends), ..Write::default() }
    };
    for _ in 0..2 {
        inventory.write(end(), Some(&fence)).await.unwrap();
        assert_eq!(inventory.reservations(&workflow()).await.unwrap(), [reservation(&two)]);
    }
}

pub(crate) async fn only_the_holder_of_the_lease_reserves_and_ends_a_reservation(inventory: Empty) {
    let (one, two) = (request(), request());
    inventory.ask(&one).await.unwrap();
    inventory.ask(&two).await.unwrap();
    let old = held(&inventory).await;
    inventory.write(reserving(&one), Some(&old)).await.unwrap();
    let new = held(&inventory).await;
    let (workflow_id, id) = (workflow(), one.id.clone());
    let end =
        Write { reservation: Some(ReservationChange::End { workflow_id, id }), ..Write::default() };
    for late in [reserving(&two), end] {
        let refused = inventory.write(late, Some(&old)).await;
        assert!(matches!(refused, Err(InventoryError::Fenced { .. })), "{refused:?}");
    }
    assert_eq!(inventory.reservations(&workflow()).await.unwrap(), [reservation(&one)]);
    inventory.write(reserving(&two), Some(&new)).await.unwrap();
    assert_eq!(inventory.reservations(&workflow()).await.unwrap().len(), 2);
}

pub(crate) async fn the_commit_that_was_applied_last_stands_beside_the_lease(inventory: Empty) {
    let commit = |digit: &str| Revision::new(digit.repeat(40));
    let (main, other) = ("main", "refs/heads/ø");
    // A person may say it before anybody held the lease.
    inventory.note_applied(&workflow(), other, &commit("1"), None).await.unwrap();
    let free = inventory.lease(&workflow()).await.unwrap().unwrap();
    assert_eq!((free.holder, free.applied.len()), (None, 1), "who only looks sees it");
    let lease = hold(inventory.as_ref(), "one/1/2").await;
    let fence = Fence { workflow_id: workflow(), token: lease.token };
    inventory.note_applied(&workflow(), main, &commit("2"), Some(&fence)).await.unwrap();
    for _ in 0..2 {
        inventory.note_applied(&workflow(), main, &commit("3"), Some(&fence)).await.unwrap();
    }
    let noted = BTreeMap::from([(main.into(), commit("3")), (other.into(), commit("1"))]);
    let seen = inventory.lease(&workflow()).await.unwrap().unwrap();
    assert_eq!(seen.applied, noted);
    let renewed = inventory.renew_lease(&lease, minute(3)).await.unwrap();
    assert_eq!(renewed.applied, noted);
    // Another holder, perhaps on another host, knows it and may go on from it.
    let next = hold(inventory.as_ref(), "two/1/2").await;
    assert_eq!(next.applied, noted);
    let late = inventory.note_applied(&workflow(), main, &commit("2"), Some(&fence)).await;
    assert!(matches!(late, Err(InventoryError::Fenced { .. })), "{late:?}");
    let before = inventory.renew_lease(&next, minute(4)).await.unwrap();
    inventory.note_applied(&workflow(), main, &commit("4"), None).await.unwrap();
    let after = inventory.renew_lease(&next, minute(5)).await.unwrap();
    assert_eq!(after.applied.get(main), Some(&commit("4")));
    assert!(after.journal_seq > before.journal_seq, "the holder looks at once");
    inventory.release_lease(&next).await.unwrap();
    assert_eq!(inventory.lease(&workflow()).await.unwrap().unwrap().applied, after.applied);
}
