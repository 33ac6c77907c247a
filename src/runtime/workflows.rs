//! What an application asks of workflows.

use std::sync::Arc;
use std::task::Waker;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::oneshot;

use super::asked::Asked;
use super::core::{Core, Running};
use super::handle::Runtime;
use crate::clock::Timestamp;
use crate::error::{Error, ErrorKind, Failure};
use crate::mediator::absent::Absent;
use crate::mediator::domain::Domain;
use crate::mediator::record::Ended;
use crate::mediator::report::{Census, Task, WorkflowReport};
use crate::mediator::table::{Order, Starts};
use crate::message::codec;
use crate::message::id::IdSource;
use crate::metrics::MediatorGauges;
use crate::request::awaits::{Awaits, Start};
use crate::signal::{ProcessorName, WorkflowState};
use crate::workflow::history::Entry;
use crate::workflow::{History, Workflow, WorkflowId};

/// One workflow, to look at and to tell something; from [`Runtime::workflow`] and [`Runtime::start`].
#[derive(Clone)]
pub struct WorkflowHandle {
    id: WorkflowId,
    domain: Arc<Domain>,
    core: Arc<Core>,
}

fn domain(mediator: Arc<dyn Awaits>) -> Option<Arc<Domain>> {
    mediator.into_any().downcast().ok()
}

fn gone(id: WorkflowId) -> Error {
    Error::not_found(format!("there is no workflow {id}: it has ended, or never was"))
}

impl Core {
    fn domains(&self) -> Vec<Arc<Domain>> {
        self.requests.mediators.all().into_iter().filter_map(domain).collect()
    }

    /// The log has workflows of these mediators, which may be there later, or not at all.
    pub(super) fn expects_mediators(&self, numbers: impl Iterator<Item = u32>) {
        for number in numbers {
            self.requests.mediators.add(number, Arc::new(Absent::new(number)), &[], drop).ok();
        }
    }

    /// Nothing comes of what anybody asked of workflows.
    pub(super) fn close_mediators(&self) {
        self.domains().iter().for_each(|domain| domain.close());
    }

    /// Somebody has asked something just now.
    fn close_if_ended(&self, domain: &Domain) {
        if self.has_ended().is_some() || domain.is_closed() {
            domain.close();
        }
    }

    /// The metrics of a mediator are there from the start, if it is one.
    pub(super) fn add_mediator_metrics(&self, name: &ProcessorName) {
        let domains = self.domains();
        if let Some(domain) = domains.iter().find(|domain| *domain.name == *name.name) {
            let workflows: Vec<&str> = domain.codes.iter().map(|code| code.name()).collect();
            self.recorder.add_mediator(name.index, &name.name, &workflows);
        }
    }

    fn domain_of(&self, running: &Running) -> Option<Arc<Domain>> {
        let is_it = |domain: &Arc<Domain>| {
            domain.here().is_some_and(|here| Arc::ptr_eq(&here.subscription, &running.subscription))
        };
        running.declaration.is_mediator.then(|| self.domains().into_iter().find(is_it)).flatten()
    }

    /// A mediator is not removed as long as it has workflows.
    pub(super) fn may_be_removed(&self, running: &Running) -> Result<(), Error> {
        let Some(domain) = self.domain_of(running) else { return Ok(()) };
        match domain.those(|_| true).len() {
            0 => Ok(()),
            open => Err(Error::new(
                ErrorKind::Conflict,
                format!(
                    "`{}` has {open} workflows that have not ended: let them end, or cancel them",
                    domain.name
                ),
            )),
        }
    }

    /// A processor is gone; if it was a mediator, nobody finds it any more, and others may own such workflows.
    pub(super) fn forget_mediator(&self, running: &Running) {
        let Some(domain) = self.domain_of(running) else { return };
        let open = domain.those(|_| true).len();
        if open > 0 {
            tracing::error!(mediator = %domain.name, open, "it was deleted with workflows that had not ended: they are gone");
        }
        self.requests.mediators.remove(domain.number());
        domain.close();
    }

    /// What is shown of mediators.
    pub(super) fn show_mediators(&self) {
        for domain in self.domains() {
            let Some(here) = domain.here() else { continue };
            let Census { states, oldest, oldest_step } = domain.census();
            let ProcessorName { index, name } = here.subscription.name.clone();
            let gauges = MediatorGauges { index, name, states, oldest, oldest_step };
            self.recorder.set_mediator_gauges(&gauges);
        }
    }
}

impl Runtime {
    /// Begins a workflow, and resolves when that is kept. With a key ([`Workflow::key`]) there is one for
    /// each: starting it once more gives the one that is there, or was.
    ///
    /// # Errors
    ///
    /// `NotFound` if no mediator owns such workflows; `Closed` if the runtime stops.
    pub fn start<W: Workflow>(&self, input: W::Input) -> Asked<WorkflowHandle> {
        let mediator = self.core.requests.mediators.of_workflow(W::NAME).and_then(domain);
        let Some(domain) = mediator else {
            let text = format!(
                "no mediator owns workflows `{}`: give it to one with `.workflow(..)`",
                W::NAME
            );
            return Asked::refused(Error::not_found(text));
        };
        if self.core.broker.is_closed() {
            return Asked::refused(Error::closed());
        }
        let input = match codec::encode(&input) {
            Ok(input) => input,
            Err(failure) => return Asked::refused(Error::config(failure.chain().join(": "))),
        };
        let mut ids = IdSource::new(self.core.broker.ids.clone());
        ids.advance(Timestamp::now());
        let from = ids.draw();
        let start =
            Start { workflow: W::NAME, input, key: None, from, correlation: from, parent: None };
        let (kept, told) = oneshot::channel();
        let waker = domain.put(0, |came| came.starts.push_back(Starts { start, kept }));
        waker.into_iter().for_each(Waker::wake);
        let core = self.core.clone();
        core.close_if_ended(&domain);
        Asked::new(async move {
            let id = told.await.map_err(|_| Error::closed())?;
            let id = id.map_err(|failure| Error::config(failure.chain().join(": ")))?;
            Ok(WorkflowHandle { id, domain, core })
        })
    }

    /// A workflow, by its id: also one that has ended or never was, of whose mediator there is no telling; its
    /// [report](WorkflowHandle::report) says whether it is there. None if this runtime has no such mediator.
    pub fn workflow(&self, id: WorkflowId) -> Option<WorkflowHandle> {
        let domain = self.core.requests.mediators.of(id.mediator()).and_then(domain)?;
        let core = self.core.clone();
        Some(WorkflowHandle { id, domain, core })
    }

    /// The workflow that was started under that key ([`Workflow::key`]).
    pub fn workflow_of<W: Workflow>(&self, key: impl Into<crate::Key>) -> Option<WorkflowHandle> {
        let domain = self.core.requests.mediators.of_workflow(W::NAME).and_then(domain)?;
        let id = WorkflowId::of_key(domain.number(), W::NAME, &key.into());
        Some(WorkflowHandle { id, domain, core: self.core.clone() })
    }

    /// The workflows that have not ended and are in one of these states, of all mediators, the oldest of each
    /// first. There may be many.
    pub fn workflows(&self, states: impl Fn(WorkflowState) -> bool) -> Vec<WorkflowId> {
        let all = self.core.domains().into_iter().flat_map(|domain| domain.those(&states));
        all.map(|(_, id)| id).collect()
    }

    /// The questions that wait for a person ([`Steps::ask_person`](crate::Steps::ask_person)), the oldest
    /// first.
    pub fn tasks(&self) -> Vec<Task> {
        let now = self.core.broker.clock.now();
        let mut tasks: Vec<Task> =
            self.core.domains().iter().flat_map(|domain| domain.tasks(now)).collect();
        tasks.sort_by_key(|task| task.since);
        tasks
    }

    /// Answers a question, and resolves when that is kept. Whoever is first answers it.
    ///
    /// # Errors
    ///
    /// `NotFound` if nobody waits for that any more.
    pub fn answer<T: Serialize>(&self, task: &Task, answer: &T) -> Asked<()> {
        let Some(handle) = self.workflow(task.workflow) else {
            return Asked::refused(gone(task.workflow));
        };
        if !handle.domain.awaits(task.workflow, task.step) {
            let text = format!("nobody waits for an answer to `{}` any more", task.question);
            return Asked::refused(Error::not_found(text));
        }
        match codec::encode(answer) {
            Ok(result) => handle.tells(&Entry::Done { step: task.step, result: &result }),
            Err(failure) => Asked::refused(Error::config(failure.chain().join(": "))),
        }
    }
}

impl WorkflowHandle {
    /// Its id.
    pub fn id(&self) -> WorkflowId {
        self.id
    }

    /// How it is: its history, what it waits for, why it is not moving. None if it has ended.
    pub fn report(&self) -> Option<WorkflowReport> {
        self.domain.report(self.id, self.core.broker.clock.now())
    }

    /// What it has done and what came to it until it began its last steps, to be kept and replayed. None if
    /// it has ended, or is about to begin.
    pub fn history(&self) -> Option<History> {
        self.domain.history(self.id)
    }

    /// What it shows ([`Steps::show`](crate::Steps::show)), if it is of that type.
    pub fn shown<T: DeserializeOwned>(&self) -> Option<T> {
        codec::decode(&self.domain.shown(self.id)?).ok()
    }

    /// Cancels it: all its steps return that, and when its code has returned it makes up for what it did.
    /// Resolves when that is kept.
    pub fn cancel(&self) -> Asked<()> {
        self.tells(&Entry::Cancelled)
    }

    /// Has it make up for what it did and end as failed, whatever its code has come to: also if it diverged or
    /// panicked.
    pub fn compensate(&self) -> Asked<()> {
        self.tells(&Entry::Compensate)
    }

    /// Goes on with one that stopped, from its history, with the code that is there now.
    pub fn resume(&self) -> Asked<()> {
        self.orders(Order::Resume)
    }

    /// Does that step and all that was begun after it anew, whatever state it is in; what it did before that
    /// is kept. Commands that it sends again are other ones, with ids of their own: whoever handled those
    /// before does so once more, and whoever still answers one is too late. Children of it are cancelled.
    /// [`WorkflowReport::history`] numbers the steps. One that was cancelled is not any more; what it published after
    /// the last step that it waited for may be published again.
    ///
    /// # Errors
    ///
    /// `NotFound` if it has begun no such step, or has ended.
    pub fn restart_from(&self, step: u32) -> Asked<()> {
        if self.domain.has_begun(self.id, step) == Some(false) {
            let text = format!(
                "workflow {} has begun no step {step}: its report's `history` numbers its steps",
                self.id
            );
            return Asked::refused(Error::not_found(text));
        }
        self.orders(Order::RestartFrom(step))
    }

    /// Resolves when it has ended: with its output, or why there is none. If it had ended before, that is known of
    /// those with a key as long as [`Mediator::remember`](crate::Mediator::remember) says, and of the last
    /// thousand others until the process ends.
    ///
    /// # Errors
    ///
    /// `Failed` with what it said; `NotFound` if it is not known any more.
    pub fn ended<T: DeserializeOwned + Send + 'static>(&self) -> Asked<T> {
        let id = self.id;
        let Some(mut shard) = self.domain.shard(id) else { return Asked::refused(gone(id)) };
        if let Some(ended) = shard.ended.of(id) {
            let ended = ended.clone();
            return Asked::new(async move { output(ended) });
        }
        if !shard.knows(id) {
            return Asked::refused(gone(id));
        }
        let (tell, told) = oneshot::channel();
        shard.waiting.entry(id).or_default().push(tell);
        drop(shard);
        self.core.close_if_ended(&self.domain);
        Asked::new(async move { output(told.await.map_err(|_| Error::closed())?) })
    }

    fn tells(&self, entry: &Entry<'_>) -> Asked<()> {
        self.orders(Order::Tell(entry.bytes()))
    }

    fn orders(&self, order: Order) -> Asked<()> {
        let (kept, told) = oneshot::channel();
        if !self.domain.orders(self.id, order, Some(kept)) {
            return Asked::refused(gone(self.id));
        }
        self.core.close_if_ended(&self.domain);
        Asked::new(async move { told.await.map_err(|_| Error::closed()) })
    }
}

fn output<T: DeserializeOwned>(ended: Ended) -> Result<T, Error> {
    let undecodable = |failure: Failure| {
        Error::config(format!(
            "what the workflow came to is no `{}`: ask for its `Output` ({})",
            std::any::type_name::<T>(),
            failure.chain().join(": ")
        ))
    };
    match ended.how {
        Ok(output) => codec::decode(&output).map_err(undecodable),
        Err(failure) => Err(Error::of_workflow(failure)),
    }
}
