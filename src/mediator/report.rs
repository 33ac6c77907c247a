//! How a mediator's workflows are, as people and dashboards see it.

use std::sync::Arc;
use std::time::Duration;

use super::domain::Domain;
use super::table::{Open, Record};
use crate::clock::{Moment, Timestamp};
use crate::message::Key;
use crate::signal::WorkflowState;
use crate::store::file::bytes::Bytes;
use crate::workflow::history::{Did, Entry, Kind};
use crate::workflow::{History, WorkflowId};

/// How a workflow is; from [`WorkflowHandle::report`](crate::WorkflowHandle::report).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct WorkflowReport {
    /// Its id.
    pub id: WorkflowId,
    /// Its name.
    pub workflow: String,
    /// The version of the code that it began with.
    pub version: u32,
    /// Its mediator.
    pub mediator: Arc<str>,
    /// What it is about.
    pub key: Option<Key>,
    /// When it began.
    pub started: Timestamp,
    /// How often it has begun anew ([`Steps::continue_with`](crate::Steps::continue_with)).
    pub run: u32,
    /// How it is.
    pub state: WorkflowState,
    /// Why it is not moving, and what to do about it: what it waits for, or what is wrong.
    pub why: String,
    /// The steps that it waits for.
    pub waits_for: Vec<WaitingStep>,
    /// All that it did and all that came to it, one line each. No line holds what was said.
    pub history: Vec<String>,
    /// How many bytes its history takes.
    pub bytes: usize,
}

/// A step that a workflow waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct WaitingStep {
    /// Its number.
    pub step: u32,
    /// What it is: `call`, `sleep`, `wait_for`, `ask_person`, `child`, `run` or `undo`.
    pub kind: &'static str,
    /// The name of what it sends or waits for, or the question that it asks.
    pub name: String,
    /// What the event that it waits for is about.
    pub key: Option<Key>,
    /// Since when it waits.
    pub since: Timestamp,
    /// How long it still waits, if not for ever.
    pub left: Option<Duration>,
}

/// A question that waits for a person; from [`Runtime::tasks`](crate::Runtime::tasks).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Task {
    /// Whose question it is.
    pub workflow: WorkflowId,
    /// The name of that workflow.
    pub name: String,
    /// What that is about.
    pub key: Option<Key>,
    /// The step that asks.
    pub step: u32,
    /// The question.
    pub question: String,
    /// Since when it waits.
    pub since: Timestamp,
    /// How long it still waits, if not for ever.
    pub left: Option<Duration>,
}

fn waiting(open: &Open, now: Moment) -> WaitingStep {
    WaitingStep {
        step: open.step,
        kind: open.kind.name(),
        name: open.name.to_string(),
        key: open.key.clone(),
        since: Timestamp::from_millis(open.since),
        left: open.due.map(|due| due.since(now)),
    }
}

fn history(record: &Record) -> Vec<String> {
    let did = Did::read(&record.steps).unwrap_or_default();
    let begun = did.begun.iter().map(|begun| format!("turn {}: {}", begun.turn, begun.said()));
    let came = record.entries().flatten().map(|(_, entry)| match Entry::read(&mut Bytes(entry)) {
        Ok(Entry::Done { step, result }) => format!("step {step} is done: {} bytes", result.len()),
        Ok(Entry::Failed { step, failure, .. }) => {
            format!("step {step} failed: {}", failure.chain().join(": "))
        }
        Ok(Entry::Over { step }) => format!("the time of step {step} is over"),
        Ok(Entry::Came { name, event, .. }) => format!("`{name}` came: {event}"),
        Ok(Entry::Cancelled) => "somebody cancelled it".to_owned(),
        Ok(Entry::Compensate) => "somebody had it make up for what it did".to_owned(),
        Err(_) => "something that cannot be read".to_owned(),
    });
    begun.chain(came).collect()
}

/// What was said when a step failed last.
fn last_failure(record: &Record, step: u32) -> Option<String> {
    let failed = record.entries().flatten().filter_map(|(_, entry)| {
        match Entry::read(&mut Bytes(entry)).ok()? {
            Entry::Failed { step: of, failure, .. } if of == step => {
                Some(failure.chain().join(": "))
            }
            _ => None,
        }
    });
    failed.last()
}

fn why(record: &Record, open: &[WaitingStep]) -> String {
    let of_status = record.status.why(&record.head);
    if record.lacks_room {
        return "it waits for room for what it sends: look which processor does not keep up"
            .to_owned();
    }
    if !(of_status.is_empty() || record.status.goes_on()) || open.is_empty() {
        return of_status;
    }
    let waits = open.iter().map(|WaitingStep { step, kind, name, .. }| {
        let failed = last_failure(record, *step).map(|said| format!(", which failed: {said}"));
        format!("step {step} ({kind} `{name}`){}", failed.unwrap_or_default())
    });
    let waits = format!("it waits for {}", waits.collect::<Vec<_>>().join(", "));
    if of_status.is_empty() { waits } else { format!("{of_status}; {waits}") }
}

impl Domain {
    /// How a workflow is.
    pub(crate) fn report(&self, id: WorkflowId, now: Moment) -> Option<WorkflowReport> {
        let shard = self.shard(id)?;
        let record = shard.records.get(&id)?;
        let mut waits_for: Vec<_> = record.open.iter().map(|open| waiting(open, now)).collect();
        waits_for.sort_by_key(|open| open.step);
        let head = &record.head;
        Some(WorkflowReport {
            id,
            workflow: head.workflow.to_string(),
            version: head.version,
            mediator: self.name.clone(),
            key: head.key.clone(),
            started: Timestamp::from_millis(head.started),
            run: head.run,
            state: record.status.state(),
            why: why(record, &waits_for),
            waits_for,
            history: history(record),
            bytes: record.size(),
        })
    }

    /// What it was told, and did then.
    pub(crate) fn history(&self, id: WorkflowId) -> Option<History> {
        let shard = self.shard(id)?;
        let record = shard.records.get(&id)?;
        let head = &record.head;
        let told = record.told? as usize;
        Some(History {
            workflow: head.workflow.to_owned(),
            version: head.version,
            id,
            first: head.numbers.first,
            restarts: head.numbers.restarts.to_vec(),
            held_back: head.held_back,
            input: head.input.to_vec(),
            steps: record.steps.clone(),
            entries: record
                .entries()
                .flatten()
                .take(told)
                .map(|(_, entry)| entry.to_vec())
                .collect(),
        })
    }

    /// Whether it has begun that step.
    pub(crate) fn has_begun(&self, id: WorkflowId, step: u32) -> Option<bool> {
        let shard = self.shard(id)?;
        let did = Did::read(&shard.records.get(&id)?.steps).ok()?;
        Some(did.begun.iter().any(|begun| begun.step == step))
    }

    /// Those of some states, the oldest first.
    pub(crate) fn those(&self, wanted: impl Fn(WorkflowState) -> bool) -> Vec<(u64, WorkflowId)> {
        let mut found = Vec::new();
        for shard in self.tables() {
            let all = shard.records.iter().filter(|(_, record)| wanted(record.status.state()));
            found.extend(all.map(|(id, record)| (record.head.started, *id)));
        }
        found.sort_unstable();
        found
    }

    /// All questions that wait for a person.
    pub(crate) fn tasks(&self, now: Moment) -> Vec<Task> {
        let mut tasks = Vec::new();
        for shard in self.tables() {
            for (id, record) in &shard.records {
                for open in record.open.iter().filter(|open| open.kind == Kind::Ask) {
                    let WaitingStep { step, name: question, since, left, .. } = waiting(open, now);
                    let (name, key) = (record.head.workflow.to_string(), record.head.key.clone());
                    tasks.push(Task { workflow: *id, name, key, step, question, since, left });
                }
            }
        }
        tasks
    }

    /// What a shown value is now.
    pub(crate) fn shown(&self, id: WorkflowId) -> Option<Box<[u8]>> {
        self.shard(id)?.records.get(&id)?.shows.clone()
    }

    /// What dashboards are shown.
    pub(crate) fn census(&self) -> Census {
        let now = Timestamp::now().as_millis();
        let (mut states, mut oldest, mut step) = ([0; WorkflowState::ALL.len()], now, now);
        for shard in self.tables() {
            for record in shard.records.values() {
                let state = record.status.state();
                let place = WorkflowState::ALL.iter().position(|of| *of == state);
                states[place.unwrap_or(0)] += 1;
                oldest = oldest.min(record.head.started);
                let is_command = |open: &&Open| matches!(open.kind, Kind::Call | Kind::Undo);
                let commands = record.open.iter().filter(is_command);
                step = commands.fold(step, |oldest, open| oldest.min(open.since));
            }
        }
        let since = |then: u64| Duration::from_millis(now.saturating_sub(then));
        Census { states, oldest: since(oldest), oldest_step: since(step) }
    }
}

/// How many workflows are in which state, and for how long.
pub(crate) struct Census {
    pub(crate) states: [u64; WorkflowState::ALL.len()],
    pub(crate) oldest: Duration,
    pub(crate) oldest_step: Duration,
}
