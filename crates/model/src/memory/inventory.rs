//! Records, journal, leases, heartbeats and requests in maps.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use jiff::Timestamp;

use crate::ids::{BuildId, RequestId, Revision, StepId, WorkflowId};
use crate::inventory::heartbeat::{Answer, Heartbeat};
use crate::inventory::journal::{Attempt, BuildEvent, Stage};
use crate::inventory::record::Record;
use crate::inventory::request::{AnswerTo, News, Request, StandingRequest};
use crate::inventory::reservation::{Reservation, ReservationChange};
use crate::inventory::{
    Fence, Heads, Heartbeats, Inventory, InventoryError, Journal, Lease, Leases, Many,
    OpenWorkflow, Records, Requests, Write,
};

/// An inventory that lives as long as its value.
#[derive(Debug, Default)]
pub struct MemoryInventory {
    tables: Mutex<Tables>,
}

#[derive(Debug, Default)]
struct Tables {
    records: BTreeMap<(WorkflowId, StepId), Record>,
    events: BTreeMap<(WorkflowId, BuildId, u32), BuildEvent>,
    attempts: BTreeMap<(WorkflowId, StepId), Attempt>,
    leases: BTreeMap<WorkflowId, Lease>,
    /// How many events each workflow has.
    counts: BTreeMap<WorkflowId, u64>,
    /// The commit at which each reference was applied last.
    applied: BTreeMap<WorkflowId, BTreeMap<String, Revision>>,
    beats: BTreeMap<(WorkflowId, BuildId), Heartbeat>,
    /// Builds whose next heartbeat is answered with the request to end.
    cancelled: BTreeSet<(WorkflowId, BuildId)>,
    requests: BTreeMap<(WorkflowId, RequestId), StandingRequest>,
    /// How often something was asked in each workflow.
    asked: BTreeMap<WorkflowId, u64>,
    reservations: BTreeMap<(WorkflowId, RequestId), Reservation>,
    versions: u64,
}

impl Tables {
    fn lease(&self, workflow: &WorkflowId) -> Option<Lease> {
        let lease = self.leases.get(workflow)?;
        let journal_seq = self.counts.get(workflow).copied().unwrap_or_default();
        let applied = self.applied.get(workflow).cloned().unwrap_or_default();
        Some(Lease { journal_seq, applied, ..lease.clone() })
    }

    fn put(&mut self, lease: Lease) -> Lease {
        self.versions += 1;
        let lease = Lease { version: format!("version {}", self.versions), ..lease };
        let workflow = lease.workflow_id.clone();
        self.leases.insert(workflow.clone(), lease.clone());
        self.lease(&workflow).unwrap_or(lease)
    }

    fn check(&self, fence: &Fence) -> Result<(), InventoryError> {
        match self.leases.get(&fence.workflow_id) {
            Some(lease) if lease.is_held_under(fence.token) => Ok(()),
            _ => Err(InventoryError::Fenced { workflow: fence.workflow_id.clone() }),
        }
    }

    fn count_event(&mut self, workflow: &WorkflowId) {
        *self.counts.entry(workflow.clone()).or_default() += 1;
    }

    fn write(&mut self, write: Write) -> Result<(), InventoryError> {
        if let Some(event) = &write.event {
            match self.events.get(&place(event)) {
                Some(stands) if stands == event => return Ok(()),
                Some(_) => return Err(conflict(event.name())),
                None => {}
            }
        }
        if let Some(answer) = &write.answer {
            match self.request_of(answer) {
                Some(StandingRequest { answer: None, .. }) => {}
                Some(stands) if stands.answer.as_ref() == Some(&answer.answer) => return Ok(()),
                _ => return Err(conflict(answer.name())),
            }
        }
        if let Some(removal) = &write.removal {
            let key = (removal.workflow_id.clone(), removal.step_id.clone());
            let stands = self.records.get(&key).map(|record| &record.head.ami_id);
            if stands != Some(&removal.image) {
                return Err(conflict(removal.name()));
            }
        }
        if let Some((record, expected)) = write.record {
            let key = (record.head.workflow_id.clone(), record.head.step_id.clone());
            let stands = self.records.get(&key).map(|record| record.head.ami_id.as_str());
            if expected.is_some_and(|expected| !expected.is_met_by(stands)) {
                return Err(conflict(record.head.name()));
            }
            self.records.insert(key, record);
        }
        if let Some(removal) = &write.removal {
            self.records.remove(&(removal.workflow_id.clone(), removal.step_id.clone()));
        }
        if let Some(event) = write.event {
            let step = (event.workflow_id.clone(), event.step_id.clone());
            if let Some(attempt) = Attempt::after(self.attempts.get(&step), &event) {
                self.attempts.insert(step, attempt);
            }
            if matches!(event.stage, Stage::CancelRequested { .. }) {
                self.cancelled.insert((event.workflow_id.clone(), event.build_id.clone()));
            }
            self.count_event(&event.workflow_id);
            self.events.insert(place(&event), event);
        }
        if let Some(answer) = write.answer
            && let Some(stands) = self.request_of(&answer)
        {
            stands.answer = Some(answer.answer);
        }
        match write.reservation {
            Some(ReservationChange::Begin(reservation)) => {
                let key = (reservation.workflow_id.clone(), reservation.id.clone());
                self.reservations.insert(key, reservation);
            }
            Some(ReservationChange::End { workflow_id, id }) => {
                self.reservations.remove(&(workflow_id, id));
            }
            None => {}
        }
        Ok(())
    }

    fn request_of(&mut self, answer: &AnswerTo) -> Option<&mut StandingRequest> {
        self.requests.get_mut(&(answer.workflow_id.clone(), answer.id.clone()))
    }

    fn newest_records(&self, which: impl Fn(&Record) -> bool) -> Vec<Record> {
        let mut records: Vec<_> =
            self.records.values().filter(|record| which(record)).cloned().collect();
        records.sort_by(|one, other| {
            let key = |record: &Record| {
                let head = &record.head;
                (head.create_at, head.workflow_id.clone(), head.step_id.clone())
            };
            key(other).cmp(&key(one))
        });
        records
    }

    /// Events, newest build first and in a build the newest event first.
    fn newest_events(
        &self,
        workflow: &WorkflowId,
        which: impl Fn(&BuildEvent) -> bool,
    ) -> impl Iterator<Item = BuildEvent> {
        let events = self.events.values().rev();
        events.filter(move |event| event.workflow_id == *workflow && which(event)).cloned()
    }
}

fn place(event: &BuildEvent) -> (WorkflowId, BuildId, u32) {
    (event.workflow_id.clone(), event.build_id.clone(), event.seq)
}

fn conflict(what: String) -> InventoryError {
    InventoryError::Conflict { what }
}

fn many<T>(sound: impl IntoIterator<Item = T>) -> Many<T> {
    Many { sound: sound.into_iter().collect(), malformed: Vec::new() }
}

impl MemoryInventory {
    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Records for MemoryInventory {
    async fn heads(&self, workflow: &WorkflowId) -> Result<Heads, InventoryError> {
        let tables = self.tables();
        let records = tables.records.values().map(|record| &record.head);
        let records = records.filter(|head| head.workflow_id == *workflow).cloned().collect();
        Ok(Heads { records, ..Heads::default() })
    }

    async fn record(
        &self,
        workflow: &WorkflowId,
        step: &StepId,
    ) -> Result<Option<Record>, InventoryError> {
        Ok(self.tables().records.get(&(workflow.clone(), step.clone())).cloned())
    }

    async fn records_of_step(&self, step: &StepId) -> Result<Many<Record>, InventoryError> {
        Ok(many(self.tables().newest_records(|record| record.head.step_id == *step)))
    }

    async fn records_of_workflow(
        &self,
        workflow: &WorkflowId,
    ) -> Result<Many<Record>, InventoryError> {
        Ok(many(self.tables().newest_records(|record| record.head.workflow_id == *workflow)))
    }
}

#[async_trait]
impl Journal for MemoryInventory {
    async fn attempts(&self, workflow: &WorkflowId) -> Result<Many<Attempt>, InventoryError> {
        let tables = self.tables();
        let attempts = tables.attempts.iter().filter(|((of, _), _)| of == workflow);
        Ok(many(attempts.map(|(_, attempt)| attempt.clone())))
    }

    async fn events(
        &self,
        workflow: &WorkflowId,
        step: Option<&StepId>,
        limit: usize,
    ) -> Result<Many<BuildEvent>, InventoryError> {
        let tables = self.tables();
        let of_step = |event: &BuildEvent| step.is_none_or(|step| event.step_id == *step);
        Ok(many(tables.newest_events(workflow, of_step).take(limit)))
    }

    async fn events_of_build(
        &self,
        workflow: &WorkflowId,
        build: &BuildId,
    ) -> Result<Many<BuildEvent>, InventoryError> {
        let tables = self.tables();
        Ok(many(tables.newest_events(workflow, |event| event.build_id == *build)))
    }

    async fn events_since(
        &self,
        workflow: &WorkflowId,
        step: &StepId,
        since: Timestamp,
    ) -> Result<Many<BuildEvent>, InventoryError> {
        let (tables, since) = (self.tables(), BuildId::earliest(since));
        let since = |event: &BuildEvent| {
            event.step_id == *step && event.build_id.as_str() >= since.as_str()
        };
        Ok(many(tables.newest_events(workflow, since)))
    }
}

#[async_trait]
impl Leases for MemoryInventory {
    async fn lease(&self, workflow: &WorkflowId) -> Result<Option<Lease>, InventoryError> {
        Ok(self.tables().lease(workflow))
    }

    async fn acquire_lease(
        &self,
        workflow: &WorkflowId,
        holder: &str,
        duration_seconds: u64,
        seen: Option<&Lease>,
        now: Timestamp,
    ) -> Result<Lease, InventoryError> {
        let mut tables = self.tables();
        let stands = tables.leases.get(workflow);
        if !Lease::is_as_seen(stands, seen) {
            return Err(conflict(Lease::name(workflow)));
        }
        let token = stands.map_or(0, |lease| lease.token) + 1;
        Ok(tables.put(Lease {
            workflow_id: workflow.clone(),
            holder: Some(holder.to_owned()),
            token,
            version: String::new(),
            duration_seconds,
            renewed_at: now,
            journal_seq: 0,
            applied: BTreeMap::new(),
        }))
    }

    async fn renew_lease(&self, lease: &Lease, now: Timestamp) -> Result<Lease, InventoryError> {
        let mut tables = self.tables();
        tables.check(&Fence { workflow_id: lease.workflow_id.clone(), token: lease.token })?;
        Ok(tables.put(Lease { renewed_at: now, ..lease.clone() }))
    }

    async fn release_lease(&self, lease: &Lease) -> Result<(), InventoryError> {
        let mut tables = self.tables();
        let stands = tables.leases.get(&lease.workflow_id).cloned();
        let Some(stands) = stands.filter(|stands| stands.token == lease.token) else {
            return Err(InventoryError::Fenced { workflow: lease.workflow_id.clone() });
        };
        tables.put(Lease { holder: None, ..stands });
        Ok(())
    }

    async fn note_applied(
        &self,
        workflow: &WorkflowId,
        reference: &str,
        revision: &Revision,
        fence: Option<&Fence>,
    ) -> Result<(), InventoryError> {
        let mut tables = self.tables();
        if let Some(fence) = fence {
            tables.check(fence)?;
        } else {
            tables.count_event(workflow);
            if !tables.leases.contains_key(workflow) {
                tables.put(Lease {
                    workflow_id: workflow.clone(),
                    holder: None,
                    token: 0,
                    version: String::new(),
                    duration_seconds: 0,
                    renewed_at: Timestamp::UNIX_EPOCH,
                    journal_seq: 0,
                    applied: BTreeMap::new(),
                });
            }
        }
        let applied = tables.applied.entry(workflow.clone()).or_default();
        applied.insert(reference.to_owned(), revision.clone());
        Ok(())
    }
}

#[async_trait]
impl Heartbeats for MemoryInventory {
    async fn beat(&self, beat: &Heartbeat) -> Result<Answer, InventoryError> {
        let mut tables = self.tables();
        let key = (beat.workflow_id.clone(), beat.build_id.clone());
        match tables.beats.get(&key) {
            Some(stands) if stands.sign.is_given_up() => return Ok(Answer::GivenUp),
            Some(_) => {}
            // The first one may come late, of a build that is settled.
            None => tables.count_event(&beat.workflow_id),
        }
        tables.beats.insert(key.clone(), beat.clone());
        Ok(if tables.cancelled.contains(&key) { Answer::Cancel } else { Answer::GoOn })
    }

    async fn last_beat(
        &self,
        workflow: &WorkflowId,
        build: &BuildId,
    ) -> Result<Option<Heartbeat>, InventoryError> {
        Ok(self.tables().beats.get(&(workflow.clone(), build.clone())).cloned())
    }

    async fn beats(&self, workflow: &WorkflowId) -> Result<Many<Heartbeat>, InventoryError> {
        let tables = self.tables();
        Ok(many(tables.beats.values().filter(|beat| beat.workflow_id == *workflow).cloned()))
    }

    async fn give_up(
        &self,
        beat: &Heartbeat,
        seen: Option<&str>,
        fence: &Fence,
    ) -> Result<(), InventoryError> {
        let mut tables = self.tables();
        tables.check(fence)?;
        let key = (beat.workflow_id.clone(), beat.build_id.clone());
        if !beat.may_replace(tables.beats.get(&key), seen) {
            return Err(conflict(format!("the beat of {}", beat.build_id)));
        }
        tables.beats.insert(key, beat.clone());
        Ok(())
    }

    async fn forget_beat(&self, build: &BuildId, fence: &Fence) -> Result<(), InventoryError> {
        let mut tables = self.tables();
        tables.check(fence)?;
        let key = (fence.workflow_id.clone(), build.clone());
        tables.beats.remove(&key);
        tables.cancelled.remove(&key);
        Ok(())
    }
}

#[async_trait]
impl Requests for MemoryInventory {
    async fn ask(&self, request: &Request) -> Result<(), InventoryError> {
        let mut tables = self.tables();
        let key = (request.workflow_id.clone(), request.id.clone());
        match tables.requests.get(&key) {
            Some(stands) if stands.request.as_ref() == Ok(request) => return Ok(()),
            Some(_) => return Err(conflict(format!("request {}", request.id))),
            None => {}
        }
        *tables.asked.entry(request.workflow_id.clone()).or_default() += 1;
        let (id, request) = (request.id.clone(), Ok(request.clone()));
        tables.requests.insert(key, StandingRequest { id, request, answer: None });
        Ok(())
    }

    async fn request(
        &self,
        workflow: &WorkflowId,
        id: &RequestId,
    ) -> Result<Option<StandingRequest>, InventoryError> {
        Ok(self.tables().requests.get(&(workflow.clone(), id.clone())).cloned())
    }

    async fn requests(
        &self,
        workflow: &WorkflowId,
    ) -> Result<Vec<StandingRequest>, InventoryError> {
        let tables = self.tables();
        let requests = tables.requests.iter().filter(|((of, _), _)| of == workflow);
        Ok(requests.map(|(_, request)| request.clone()).collect())
    }

    async fn news(&self, workflow: &WorkflowId) -> Result<News, InventoryError> {
        let requests = self.tables().asked.get(workflow).copied().unwrap_or_default();
        Ok(News { requests, first_beats: 0 })
    }

    async fn forget_request(&self, id: &RequestId, fence: &Fence) -> Result<(), InventoryError> {
        let mut tables = self.tables();
        tables.check(fence)?;
        tables.requests.remove(&(fence.workflow_id.clone(), id.clone()));
        Ok(())
    }

    async fn reservations(
        &self,
        workflow: &WorkflowId,
    ) -> Result<Vec<Reservation>, InventoryError> {
        let tables = self.tables();
        let standing = tables.reservations.iter().filter(|((of, _), _)| of == workflow);
        Ok(standing.map(|(_, reservation)| reservation.clone()).collect())
    }
}

#[async_trait]
impl Inventory for MemoryInventory {
    fn place(&self) -> String {
        "memory".to_owned()
    }

    async fn prepare(&self) -> Result<(), InventoryError> {
        Ok(())
    }

    async fn examine(&self) -> Result<(), InventoryError> {
        Ok(())
    }

    async fn open_workflows(&self) -> Result<Vec<OpenWorkflow>, InventoryError> {
        let tables = self.tables();
        let attempts = tables.attempts.iter();
        let attempts = attempts
            .filter_map(|((workflow, _), attempt)| OpenWorkflow::of_attempt(workflow, attempt));
        let beats = tables.beats.values().filter_map(OpenWorkflow::of_beat);
        let open: BTreeSet<_> = attempts.chain(beats).collect();
        Ok(open.into_iter().collect())
    }

    async fn write(&self, write: Write, fence: Option<&Fence>) -> Result<(), InventoryError> {
        let mut tables = self.tables();
        if let Some(fence) = fence {
            tables.check(fence)?;
        }
        tables.write(write)
    }
}
