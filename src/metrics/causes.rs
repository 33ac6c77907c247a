//! Why things failed, were dropped or rebuilt, whoever it happened to: by processor as well there would be ten
//! times as many series.

use metrics::Counter;

use super::catalog::{self, Metric};
use super::recorder::{Recorder, place};
use crate::signal::{Cause, DropReason, During, Hook, RestartCause};

const HOOKS: [Hook; 2] = [Hook::Every, Hook::Stopping];
const REFUSALS: [&str; 2] = ["returned", "dropped"];

/// What is counted by cause.
#[derive(Default)]
pub(super) struct Causes {
    failures: Vec<Counter>,
    restarts: Vec<Counter>,
    drops: Vec<Counter>,
    panics: Vec<Counter>,
    hooks: Vec<Counter>,
    refusals: Vec<Counter>,
}

impl Causes {
    pub(super) fn new(recorder: &Recorder) -> Self {
        let count = |metric: &Metric, of: &str| recorder.counter(metric, &[of]);
        let failure = |of: &Cause| count(&catalog::FAILURE_CAUSES, of.as_str());
        let restart = |of: &RestartCause| count(&catalog::RESTART_CAUSES, of.as_str());
        let drop = |of: &DropReason| count(&catalog::DROP_REASONS, of.as_str());
        let hook = |of: &Hook| count(&catalog::HOOK_FAILURES, of.as_str());
        let panic = |of: &During| count(&catalog::PANICS, of.as_str());
        Self {
            failures: Cause::ALL.iter().map(failure).collect(),
            restarts: RestartCause::ALL.iter().map(restart).collect(),
            drops: DropReason::ALL.iter().map(drop).collect(),
            panics: During::ALL.iter().map(panic).collect(),
            hooks: HOOKS.iter().map(hook).collect(),
            refusals: REFUSALS.iter().map(|how| count(&catalog::REFUSALS, how)).collect(),
        }
    }

    pub(super) fn failed(&self, cause: Cause, events: u64) {
        self.failures[place(&Cause::ALL, &cause)].increment(events);
    }

    pub(super) fn restarted(&self, cause: RestartCause) {
        self.restarts[place(&RestartCause::ALL, &cause)].increment(1);
    }

    pub(super) fn dropped(&self, reason: DropReason, events: u64) {
        self.drops[place(&DropReason::ALL, &reason)].increment(events);
    }

    pub(super) fn hook_failed(&self, hook: Hook) {
        self.hooks[place(&HOOKS, &hook)].increment(1);
    }

    pub(super) fn refused(&self, dropped: bool) {
        self.refusals[usize::from(dropped)].increment(1);
    }

    pub(super) fn panicked(&self, during: During) {
        self.panics[place(&During::ALL, &during)].increment(1);
    }
}
