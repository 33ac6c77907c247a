//! What is counted of workflows, by mediator and by name.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use metrics::{Counter, Gauge, Histogram};
use parking_lot::RwLock;

use super::catalog;
use super::recorder::{Recorder, place};
use crate::signal::{Missed, Signal, WorkflowOutcome, WorkflowState};

/// The metrics of all mediators, by their numbers.
#[derive(Default)]
pub(super) struct Workflows(RwLock<HashMap<usize, Arc<MediatorHandles>>>);

struct MediatorHandles {
    name: Arc<str>,
    workflows: RwLock<HashMap<String, Arc<WorkflowHandles>>>,
    missed: Vec<Counter>,
    states: Vec<Gauge>,
    oldest: Gauge,
    oldest_step: Gauge,
    step: Histogram,
}

struct WorkflowHandles {
    started: Counter,
    ended: Vec<Counter>,
    took: Histogram,
    states: Vec<Counter>,
}

/// What is read of a mediator when metrics are scraped.
pub(crate) struct MediatorGauges {
    pub(crate) index: usize,
    pub(crate) name: Arc<str>,
    /// How many are in each state.
    pub(crate) states: [u64; WorkflowState::ALL.len()],
    pub(crate) oldest: Duration,
    pub(crate) oldest_step: Duration,
}

impl MediatorHandles {
    fn new(recorder: &Recorder, name: &Arc<str>) -> Self {
        let missed =
            |of: &Missed| recorder.counter(&catalog::WORKFLOW_MISSED, &[name, of.as_str()]);
        let state = |of: &WorkflowState| recorder.gauge(&catalog::WORKFLOWS, &[name, of.as_str()]);
        Self {
            name: name.clone(),
            workflows: RwLock::default(),
            missed: Missed::ALL.iter().map(missed).collect(),
            states: WorkflowState::ALL.iter().map(state).collect(),
            oldest: recorder.gauge(&catalog::WORKFLOW_OLDEST, &[name]),
            oldest_step: recorder.gauge(&catalog::WORKFLOW_STEP_OLDEST, &[name]),
            step: recorder.histogram(&catalog::WORKFLOW_STEP, &[name]),
        }
    }

    fn workflow(&self, workflow: &str, recorder: &Recorder) -> Arc<WorkflowHandles> {
        if let Some(known) = self.workflows.read().get(workflow) {
            return known.clone();
        }
        let labels = [&*self.name, workflow];
        let ended = |of: &WorkflowOutcome| {
            recorder.counter(&catalog::WORKFLOWS_ENDED, &[labels[0], labels[1], of.as_str()])
        };
        let state = |of: &WorkflowState| {
            recorder.counter(&catalog::WORKFLOW_STATES, &[labels[0], labels[1], of.as_str()])
        };
        let handles = WorkflowHandles {
            started: recorder.counter(&catalog::WORKFLOWS_STARTED, &labels),
            ended: WorkflowOutcome::ALL.iter().map(ended).collect(),
            took: recorder.histogram(&catalog::WORKFLOW_TIME, &labels),
            states: WorkflowState::ALL.iter().map(state).collect(),
        };
        self.workflows
            .write()
            .entry(workflow.to_owned())
            .or_insert_with(|| Arc::new(handles))
            .clone()
    }
}

impl Workflows {
    fn of(&self, index: usize, name: &Arc<str>, recorder: &Recorder) -> Arc<MediatorHandles> {
        if let Some(known) = self.0.read().get(&index) {
            return known.clone();
        }
        let made = Arc::new(MediatorHandles::new(recorder, name));
        self.0.write().entry(index).or_insert(made).clone()
    }

    pub(super) fn observe(&self, signal: &Signal<'_>, recorder: &Recorder) {
        match signal {
            Signal::WorkflowBegan { mediator, workflow } => {
                let of = self.of(mediator.index, &mediator.name, recorder);
                of.workflow(workflow, recorder).started.increment(1);
            }
            Signal::WorkflowEnded { mediator, workflow, outcome, took, .. } => {
                let of = self.of(mediator.index, &mediator.name, recorder);
                let handles = of.workflow(workflow, recorder);
                handles.ended[place(&WorkflowOutcome::ALL, outcome)].increment(1);
                handles.took.record(took.as_secs_f64());
            }
            Signal::WorkflowIs { mediator, workflow, state, .. } => {
                let of = self.of(mediator.index, &mediator.name, recorder);
                let handles = of.workflow(workflow, recorder);
                handles.states[place(&WorkflowState::ALL, state)].increment(1);
            }
            Signal::WorkflowStep { mediator, took } => {
                self.of(mediator.index, &mediator.name, recorder).step.record(took.as_secs_f64());
            }
            Signal::WorkflowMissed { mediator, what, count } => {
                let of = self.of(mediator.index, &mediator.name, recorder);
                of.missed[place(&Missed::ALL, what)].increment(*count);
            }
            _ => {}
        }
    }
}

impl Recorder {
    /// The metrics of a mediator are there from the start.
    pub(crate) fn add_mediator(&self, index: usize, name: &Arc<str>, workflows: &[&str]) {
        let of = self.workflows.of(index, name, self);
        workflows.iter().for_each(|workflow| drop(of.workflow(workflow, self)));
    }

    pub(crate) fn set_mediator_gauges(&self, gauges: &MediatorGauges) {
        let of = self.workflows.of(gauges.index, &gauges.name, self);
        for (gauge, count) in of.states.iter().zip(gauges.states) {
            gauge.set(count as f64);
        }
        of.oldest.set(gauges.oldest.as_secs_f64());
        of.oldest_step.set(gauges.oldest_step.as_secs_f64());
    }
}
