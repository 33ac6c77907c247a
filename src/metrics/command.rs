//! What is counted of requests, by command.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use metrics::{Counter, Histogram};
use parking_lot::RwLock;

use super::catalog;
use super::recorder::{Recorder, place};
use crate::signal::RequestOutcome;

/// The metrics of all commands.
#[derive(Default)]
pub(super) struct Commands(
    RwLock<HashMap<&'static str, Arc<CommandHandles>, foldhash::fast::RandomState>>,
);

/// Those of one.
pub(super) struct CommandHandles {
    outcomes: Vec<Counter>,
    took: Histogram,
    pub(super) dropped: Counter,
    pub(super) failed: Counter,
}

impl Commands {
    pub(super) fn of(&self, command: &'static str, recorder: &Recorder) -> Arc<CommandHandles> {
        if let Some(known) = self.0.read().get(command) {
            return known.clone();
        }
        let outcome = |outcome: &RequestOutcome| {
            recorder.counter(&catalog::REQUESTS, &[command, outcome.as_str()])
        };
        let handles = CommandHandles {
            outcomes: RequestOutcome::ALL.iter().map(outcome).collect(),
            took: recorder.histogram(&catalog::REQUEST_TIME, &[command]),
            dropped: recorder.counter(&catalog::REPLIES_DROPPED, &[command]),
            failed: recorder.counter(&catalog::COMMANDS_FAILED, &[command]),
        };
        self.0.write().entry(command).or_insert_with(|| Arc::new(handles)).clone()
    }
}

impl CommandHandles {
    pub(super) fn ended(&self, outcome: RequestOutcome, requests: u64, took: &[Duration]) {
        self.outcomes[place(&RequestOutcome::ALL, &outcome)].increment(requests);
        took.iter().for_each(|took| self.took.record(took.as_secs_f64()));
    }
}
