//! Workflows among those who ask: their mediators are found by number, and by what they can begin.

use std::any::Any;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use parking_lot::RwLock;

use super::Requests;
use crate::clock::Timestamp;
use crate::error::{Failure, Outcome};
use crate::message::{EventId, Key};
use crate::queue::answer::Answer;
use crate::workflow::WorkflowId;
use crate::workflow::history::Entry;

/// What begins a workflow.
pub(crate) struct Start {
    pub(crate) workflow: &'static str,
    pub(crate) input: Vec<u8>,
    /// What it is about, if its own code says nothing of it.
    pub(crate) key: Option<Key>,
    /// What it is derived from: an event's id, or a parent's step's.
    pub(crate) from: EventId,
    pub(crate) correlation: EventId,
    /// Whose step waits for its end.
    pub(crate) parent: Option<(WorkflowId, u32)>,
}

/// A workflow that begins when that is given, unless it is there already.
pub(crate) struct Beginning {
    pub(crate) id: WorkflowId,
    /// None if it is there already, or was.
    pub(crate) begins: Option<Box<dyn Answer>>,
    /// What the log gets with it.
    pub(crate) facts: Vec<u8>,
}

/// A mediator, as those see it who answer its workflows' steps.
pub(crate) trait Awaits: Send + Sync {
    fn number(&self) -> u32;

    /// Whether that step waits for an answer.
    fn awaits(&self, of: WorkflowId, step: u32) -> bool;

    /// Tells a workflow that [`Entry`], as bytes, when it is committed.
    fn tells(self: Arc<Self>, of: WorkflowId, entry: Vec<u8>) -> Box<dyn Answer>;

    fn begin(self: Arc<Self>, start: Start) -> Outcome<Beginning>;

    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync>;

    /// Tells it what became of one of its steps, when that is committed.
    fn answer(
        self: Arc<Self>,
        of: WorkflowId,
        step: u32,
        result: Outcome<Vec<u8>>,
    ) -> Box<dyn Answer> {
        let entry = match result {
            Ok(result) => Entry::Done { step, result: &result }.bytes(),
            Err(failure) => {
                let at = Timestamp::now().as_millis();
                Entry::Failed { step, failure, at, again: false }.bytes()
            }
        };
        self.tells(of, entry)
    }

    /// As [`Awaits::answer`], of a result that is put where it belongs.
    fn answer_with(
        self: Arc<Self>,
        of: WorkflowId,
        step: u32,
        put: &mut dyn FnMut(&mut Vec<u8>) -> Outcome,
    ) -> Outcome<Box<dyn Answer>> {
        let mut entry = Vec::with_capacity(32);
        Entry::put_done(&mut entry, step);
        put(&mut entry)?;
        Ok(self.tells(of, entry))
    }

    /// Cancels what began as a child with that name, at that step of its parent, when that is committed.
    fn cancels_child(self: Arc<Self>, workflow: &str, from: EventId) -> Box<dyn Answer> {
        let id = WorkflowId::of_event(self.number(), workflow, from);
        self.tells(id, Entry::Cancelled.bytes())
    }
}

/// The mediators of a runtime.
#[derive(Default)]
pub(crate) struct Mediators {
    any: AtomicBool,
    all: RwLock<All>,
}

#[derive(Default)]
struct All {
    by_number: BTreeMap<u32, Arc<dyn Awaits>>,
    by_workflow: HashMap<&'static str, u32>,
}

impl Mediators {
    /// A mediator of that number is there, and begins these workflows. Whoever had the number gives way before
    /// anybody finds the new one. Fails with the one that another one begins already, if there is one.
    pub(crate) fn add(
        &self,
        number: u32,
        mediator: Arc<dyn Awaits>,
        workflows: &[&'static str],
        gives_way: impl FnOnce(Arc<dyn Awaits>),
    ) -> Result<(), &'static str> {
        let all = &mut *self.all.write();
        let taken =
            |name: &&&'static str| all.by_workflow.get(**name).is_some_and(|of| *of != number);
        if let Some(taken) = workflows.iter().find(taken) {
            return Err(taken);
        }
        all.by_number.remove(&number).map(gives_way);
        all.by_number.insert(number, mediator);
        all.by_workflow.extend(workflows.iter().map(|name| (*name, number)));
        self.any.store(true, Relaxed);
        Ok(())
    }

    /// It is gone.
    pub(crate) fn remove(&self, number: u32) {
        let all = &mut *self.all.write();
        all.by_number.remove(&number);
        all.by_workflow.retain(|_, of| *of != number);
    }

    pub(crate) fn of(&self, number: u32) -> Option<Arc<dyn Awaits>> {
        self.all.read().by_number.get(&number).cloned()
    }

    /// The one that begins workflows of that name.
    pub(crate) fn of_workflow(&self, name: &str) -> Option<Arc<dyn Awaits>> {
        let all = self.all.read();
        all.by_number.get(all.by_workflow.get(name)?).cloned()
    }

    pub(crate) fn all(&self) -> Vec<Arc<dyn Awaits>> {
        self.all.read().by_number.values().cloned().collect()
    }

    /// Whose step sent that command, if one did.
    #[inline]
    fn whose(&self, command: EventId) -> Option<(Arc<dyn Awaits>, WorkflowId, u32)> {
        if !self.any.load(Relaxed) {
            return None;
        }
        let (mediator, of, step) = WorkflowId::sent(command)?;
        Some((self.of(mediator)?, of, step))
    }
}

impl Requests {
    /// Whether a workflow waits for the answer to that command.
    pub(crate) fn workflow_awaits(&self, command: EventId) -> bool {
        self.mediators.whose(command).is_some_and(|(mediator, of, step)| mediator.awaits(of, step))
    }

    /// How a workflow's step is told what became of its command; none if no workflow sent it.
    pub(crate) fn step_answer(
        &self,
        command: EventId,
        mut put: impl FnMut(&mut Vec<u8>) -> Outcome,
    ) -> Option<Outcome<Box<dyn Answer>>> {
        let (mediator, of, step) = self.mediators.whose(command)?;
        Some(mediator.answer_with(of, step, &mut put))
    }

    /// As [`Requests::step_answer`], of one that failed for good.
    pub(crate) fn step_failure(
        &self,
        command: EventId,
        failure: Failure,
    ) -> Option<Box<dyn Answer>> {
        let (mediator, of, step) = self.mediators.whose(command)?;
        Some(mediator.answer(of, step, Err(failure)))
    }
}
