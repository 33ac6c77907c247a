//! What is said of workflows: that one ended, that one is in another state.

use std::time::Duration;

use super::changes::Change;
use super::pump::Pump;
use super::record::{Ended, Head};
use super::table::Status;
use crate::signal::{Missed, Signal, WorkflowOutcome, WorkflowState};
use crate::workflow::WorkflowId;
use crate::workflow::effect::Fault;

impl Status {
    /// As it is shown.
    pub(crate) fn state(&self) -> WorkflowState {
        match self {
            Self::Running => WorkflowState::Running,
            Self::Compensating => WorkflowState::Compensating,
            Self::Stuck(_) => WorkflowState::Stuck,
            Self::NoCode => WorkflowState::NoCode,
            Self::Faulted(fault) => match fault {
                Fault::Diverged(_) => WorkflowState::Diverged,
                Fault::ForeignWait(_) => WorkflowState::ForeignWait,
                Fault::Panicked(_) => WorkflowState::Panicked,
                Fault::TooLong(_) => WorkflowState::TooLong,
                Fault::BadInput(_) => WorkflowState::Damaged,
            },
        }
    }

    /// Why, and what to do.
    pub(crate) fn why(&self, head: &Head) -> String {
        match self {
            Self::Running => String::new(),
            Self::Compensating => "it makes up for what it did".to_owned(),
            Self::Stuck(times) => format!(
                "it has failed {times} times to make up for a step, and goes on trying: look why that command \
                 fails"
            ),
            Self::NoCode => format!(
                "there is no code of `{}` version {}: give it to its mediator with `.workflow(..)`, and resume \
                 it",
                head.workflow, head.version
            ),
            Self::Faulted(fault) => {
                format!("{}; mend it and resume it, or compensate", fault.text())
            }
        }
    }
}

impl Pump {
    fn name(&self) -> &crate::signal::ProcessorName {
        &self.seat.subscription.name
    }

    pub(super) fn says_step(&self, took: Duration) {
        self.seat.broker.signals.state(&Signal::WorkflowStep { mediator: self.name(), took });
    }

    pub(super) fn says_status(&self, id: WorkflowId, head: &Head, status: &Status) {
        let (mediator, workflow, id, state) =
            (self.name(), head.workflow, id.event(), status.state());
        let why = status.why(head);
        let signal = Signal::WorkflowIs { mediator, workflow, id, state, why: &why };
        self.seat.broker.signals.state(&signal);
    }

    /// It does not go on.
    pub(super) fn stops(&mut self, id: WorkflowId, head: &Head, fault: Fault) {
        let status = Status::Faulted(fault);
        self.says_status(id, head, &status);
        self.changes.push(Change::Status { id, status });
    }

    pub(super) fn is_too_long(&mut self, id: WorkflowId, head: &Head, bytes: usize, entries: u32) {
        let limits = self.domain.limits;
        let text = format!(
            "its history has {bytes} bytes and {entries} entries, and may have {} and {}: let it \
             `continue_with` a new one, or raise `history_limit`",
            limits.history_bytes, limits.history_entries
        );
        self.stops(id, head, Fault::TooLong(text));
    }

    pub(super) fn says_end(&self, id: WorkflowId, head: &Head, ended: &Ended, untaken: usize) {
        let outcome = match &ended.how {
            Ok(_) => WorkflowOutcome::Completed,
            Err(_) if ended.cancelled => WorkflowOutcome::Cancelled,
            Err(_) => WorkflowOutcome::Failed,
        };
        let took = Duration::from_millis(ended.at.saturating_sub(head.started));
        let (mediator, workflow, id) = (self.name(), head.workflow, id.event());
        let signal = Signal::WorkflowEnded { mediator, workflow, id, outcome, took };
        self.seat.broker.signals.state(&signal);
        self.says_missed(Missed::Untaken, untaken as u64);
    }

    pub(super) fn says_missed(&self, what: Missed, count: u64) {
        if count > 0 {
            let signal = Signal::WorkflowMissed { mediator: self.name(), what, count };
            self.seat.broker.signals.state(&signal);
        }
    }
}
