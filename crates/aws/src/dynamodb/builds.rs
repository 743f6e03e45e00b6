//! The items of the second table, `{table}_builds`: journal events, and beside them what they
//! amount to. Pure.
//!
//! | `item` | content |
//! | --- | --- |
//! | `{build_id}#{seq:06}` | one event, never changed |
//! | `@step/{step_id}` | the newest attempt at a step, folded; changed in the transaction of each event |
//! | `@reservation/{request_id}` | images that a person is about to take away, as JSON |
//! | `@lease` | the lease of the workflow, how many events it has, and the commits that were applied last |
//!
//! Beside the partitions of workflows there is one of what is open (`open`).
//!
//! A build id begins with a digit, so that all events sort before all items with an `@`.

use std::collections::BTreeMap;

use crate::dynamodb::terms::Terms;
use reconciler_items::Item;
use reconciler_items::attributes::{
    json, json_value, number, number_value, optional_text, parsed, text, text_value,
};
use reconciler_model::ids::{BuildId, RequestId, Revision, StepId, WorkflowId};
use reconciler_model::inventory::Lease;
use reconciler_model::inventory::journal::{Attempt, BuildEvent};
use reconciler_model::inventory::reservation::Reservation;

/// The attribute of the lease that holds the commits that were applied last, as JSON.
pub(super) const APPLIED: &str = "applied";
/// The attribute of a reservation that holds it, as JSON.
const RESERVED: &str = "reservation";
/// The range key of the lease.
pub(super) const LEASE: &str = "@lease";
/// What the range keys of attempts begin with.
pub(super) const STEP: &str = "@step/";
/// What the range keys of reservations begin with; they sort between the lease and the attempts.
pub(super) const RESERVATION: &str = "@reservation/";
/// All attempts sort before it, and the lease before all attempts.
pub(super) const AFTER_STEPS: &str = "@step0";
/// All events sort before it.
pub(super) const AFTER_EVENTS: &str = "@";

/// The key of one item.
pub(super) fn key(workflow: &WorkflowId, item: &str) -> Item {
    Item::from([
        ("workflow_id".to_owned(), text_value(workflow.as_str())),
        ("item".to_owned(), text_value(item)),
    ])
}

/// The range key of an event.
pub(super) fn event_key(event: &BuildEvent) -> Result<String, String> {
    let build = event.build_id.as_str();
    if build.starts_with(|first: char| first.is_ascii_digit()) {
        Ok(format!("{build}#{:06}", event.seq))
    } else {
        Err(format!("build id {build:?} does not begin with a digit"))
    }
}

/// The range key of the newest attempt at a step.
pub(super) fn attempt_key(step: &StepId) -> String {
    format!("{STEP}{step}")
}

/// Whether a range key is that of an attempt.
pub(super) fn is_attempt_key(key: &str) -> bool {
    key.starts_with(STEP)
}

/// The key of a reservation.
pub(super) fn reservation_key(workflow: &WorkflowId, id: &RequestId) -> Item {
    key(workflow, &format!("{RESERVATION}{id}"))
}

/// A reservation as an item.
pub(super) fn reservation_item(reservation: &Reservation) -> Result<Item, String> {
    let mut item = reservation_key(&reservation.workflow_id, &reservation.id);
    item.insert(RESERVED.to_owned(), json_value(reservation)?);
    Ok(item)
}

/// A reservation, or what is wrong with its item.
pub(super) fn reservation(item: &Item) -> Result<Reservation, String> {
    json(item, RESERVED)
}

/// An event as an item.
pub(super) fn event_item(event: &BuildEvent) -> Result<Item, String> {
    let mut item = key(&event.workflow_id, &event_key(event)?);
    item.extend([
        ("step_id".to_owned(), text_value(event.step_id.as_str())),
        ("at".to_owned(), text_value(event.at.to_string())),
        ("stage".to_owned(), json_value(&event.stage)?),
    ]);
    Ok(item)
}

/// An event, or what is wrong with its item.
pub(super) fn event(item: &Item) -> Result<BuildEvent, String> {
    let key = text(item, "item")?;
    let (build, seq) =
        key.rsplit_once('#').ok_or_else(|| format!("{key:?} is not the key of an event"))?;
    Ok(BuildEvent {
        workflow_id: WorkflowId::new(text(item, "workflow_id")?),
        step_id: StepId::new(text(item, "step_id")?),
        build_id: BuildId::new(build),
        seq: seq.parse().map_err(|_| format!("{key:?} is not the key of an event"))?,
        at: parsed(item, "at")?,
        stage: json(item, "stage")?,
    })
}

/// The newest attempt at a step as an item. Build and place stand beside the JSON for the condition
/// of the next write.
pub(super) fn attempt_item(workflow: &WorkflowId, attempt: &Attempt) -> Result<Item, String> {
    let mut item = key(workflow, &attempt_key(&attempt.step_id));
    item.extend([
        ("build_id".to_owned(), text_value(attempt.build_id.as_str())),
        ("seq".to_owned(), number_value(attempt.seq.into())),
        ("attempt".to_owned(), json_value(attempt)?),
    ]);
    Ok(item)
}

/// Counts an event of a workflow, on the item of its lease.
pub(super) fn one_more_event() -> Terms {
    Terms::change("ADD #journal_seq :one", [(":one", number_value(1))])
}

/// The newest attempt at a step, or what is wrong with its item.
pub(super) fn attempt(item: &Item) -> Result<Attempt, String> {
    json(item, "attempt")
}

/// The lease, or what is wrong with its item; none if nobody ever held it and it only counts
/// events.
pub(super) fn lease(workflow: &WorkflowId, item: &Item) -> Result<Option<Lease>, String> {
    if !item.contains_key("token") {
        return Ok(None);
    }
    Ok(Some(Lease {
        workflow_id: workflow.clone(),
        holder: optional_text(item, "holder")?.map(str::to_owned),
        token: number(item, "token")?,
        version: text(item, "version")?.to_owned(),
        duration_seconds: number(item, "duration_seconds")?,
        renewed_at: parsed(item, "renewed_at")?,
        // Missing until the first event.
        journal_seq: if item.contains_key("journal_seq") {
            number(item, "journal_seq")?
        } else {
            0
        },
        applied: applied(item)?,
    }))
}

/// The commits that were applied last, by their references, or what is wrong with them; none were
/// where nobody noted any.
pub(super) fn applied(item: &Item) -> Result<BTreeMap<String, Revision>, String> {
    if item.contains_key(APPLIED) { json(item, APPLIED) } else { Ok(BTreeMap::new()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use reconciler_model::inventory::journal::Stage;

    /// See `format_stability`: a literal is never changed, another one is added. What stands in
    /// `stage` and `attempt` is looked at where these are.
    #[test]
    fn items_that_an_earlier_version_wrote_are_read() {
        let texts = |all: &[(&str, &str)]| -> Item {
            let of = |(name, value): &(&str, &str)| ((*name).to_owned(), text_value(*value));
            all.iter().map(of).collect()
        };
        let numbers = |item: &mut Item, all: &[(&str, u64)]| {
            item.extend(all.iter().map(|(name, value)| ((*name).to_owned(), number_value(*value))));
        };
        let event = texts(&[
            ("workflow_id", "acore"),
            ("item", "01900000-0000-7000-8000-000000000000#000012"),
            ("step_id", "py#env"),
            ("at", "2024-06-13T12:00:00.000000001Z"),
            ("stage", r#"{"started":{"pid":4242}}"#),
        ]);
        let read = started("01900000-0000-7000-8000-000000000000");
        assert_eq!(super::event(&event).unwrap(), read);
        assert_eq!(event_item(&read).unwrap(), event);

        let mut item = texts(&[
            ("workflow_id", "acore"),
            ("item", "@lease"),
            ("holder", "one/4242/98765-0123456789abcdef"),
            ("version", "v"),
            ("renewed_at", "2026-11-25T00:00:00Z"),
        ]);
        numbers(&mut item, &[("token", 7), ("duration_seconds", 30), ("journal_seq", 9)]);
        let lease = Lease {
            workflow_id: WorkflowId::new("acore"),
            holder: Some("one/4242/98765-0123456789abcdef".into()),
            token: 7,
            version: "v".into(),
            duration_seconds: 30,
            renewed_at: "2026-11-25T00:00:00Z".parse().unwrap(),
            journal_seq: 9,
            applied: BTreeMap::new(),
        };
        assert_eq!(super::lease(&lease.workflow_id, &item), Ok(Some(lease.clone())));
        let commit = "4f2c1e9000000000000000000000000000000000";
        item.extend(texts(&[("applied", &format!(r#"{{"main":"{commit}"}}"#))]));
        let lease = Lease { applied: [("main".into(), Revision::new(commit))].into(), ..lease };
        assert_eq!(super::lease(&lease.workflow_id, &item), Ok(Some(lease)));
        assert_eq!((LEASE, STEP), ("@lease", "@step/"));
    }

    fn started(build: &str) -> BuildEvent {
        BuildEvent {
            workflow_id: WorkflowId::new("acore"),
            step_id: StepId::new("py#env"),
            build_id: BuildId::new(build),
            seq: 12,
            at: "2024-06-13T12:00:00.000000001Z".parse().unwrap(),
            stage: Stage::Started { pid: 4242 },
        }
    }

    #[test]
    fn an_event_comes_back_from_its_item() {
        let event = started("01900000-0000-7000-8000-000000000000");
        let item = event_item(&event).unwrap();
        assert_eq!(text(&item, "item").unwrap(), "01900000-0000-7000-8000-000000000000#000012");
        assert_eq!(super::event(&item).unwrap(), event);
    }

    #[test]
    fn an_event_that_would_not_sort_before_the_lease_is_refused() {
        assert!(event_item(&started("@lease")).is_err());
        assert!(event_item(&started("b1")).is_err());
    }

    #[test]
    fn an_item_that_only_counts_events_is_no_lease() {
        let workflow = WorkflowId::new("acore");
        let mut item = key(&workflow, LEASE);
        item.insert("journal_seq".to_owned(), number_value(3));
        assert_eq!(lease(&workflow, &item), Ok(None));
    }
}
