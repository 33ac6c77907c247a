//! One child, as its supervisor knows it. Pure.

use super::Ticket;
use crate::clock::Moment;
use crate::supervise::ledger::Failures;
use crate::supervise::options::{Restart, StopRule};

/// How one child is dealt with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rule {
    pub(crate) restart: Restart,
    pub(crate) stop: StopRule,
    pub(crate) significant: bool,
}

/// Where a child stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// It does not run, and nobody is about to start it.
    Down,
    Starting,
    Up,
    /// It failed, and starts again when its time has come.
    Waiting,
    /// It is down, and starts with the others of its round.
    InRound,
    Stopping(Then),
}

/// What becomes of a child that does not run any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    Down,
    InRound,
    /// Nobody knows it any more.
    Forgotten,
    /// It was never there: its first start failed.
    Undone,
}

/// A child that rebuilds itself after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rebuilding {
    /// Other instances of it run on.
    InPart,
    Whole,
}

/// One child, as its supervisor knows it.
#[derive(Debug)]
pub(crate) struct Child {
    pub(crate) rule: Rule,
    pub(crate) phase: Phase,
    pub(super) position: u64,
    /// When it starts again, rebuilds itself, or is killed.
    pub(crate) due: Option<Moment>,
    pub(crate) rebuilding: Option<Rebuilding>,
    pub(crate) restarts: u64,
    pub(crate) last_failure: Option<String>,
    pub(super) failures: Failures,
    pub(super) failed_at: Option<Moment>,
    /// It has never run, and is here because somebody asked for it.
    pub(super) fresh: bool,
    /// It starts by itself: nobody waits for it to be up.
    pub(super) alone: bool,
    /// That it ends has been said already.
    pub(super) said: bool,
    /// What it said when it failed to start for whoever asked.
    pub(super) start_failed: Option<String>,
    /// Who asked for its start, and who for its stop.
    pub(super) starter: Option<Ticket>,
    pub(super) stoppers: Vec<Ticket>,
}

impl Child {
    pub(super) fn new(rule: Rule, position: u64) -> Self {
        Self {
            rule,
            phase: Phase::Down,
            position,
            due: None,
            rebuilding: None,
            restarts: 0,
            last_failure: None,
            failures: Failures::default(),
            failed_at: None,
            fresh: false,
            alone: false,
            said: false,
            start_failed: None,
            starter: None,
            stoppers: Vec::new(),
        }
    }

    /// Something of it exists, and must be stopped before it is gone.
    pub(crate) fn lives(&self) -> bool {
        matches!(self.phase, Phase::Starting | Phase::Up | Phase::Stopping(_))
    }

    /// It runs or is about to, and nobody has asked it to stop.
    pub(crate) fn expected_to_run(&self) -> bool {
        matches!(self.phase, Phase::Starting | Phase::Up)
    }

    /// It runs, as OTP counts it.
    pub(crate) fn runs(&self) -> bool {
        self.phase == Phase::Up && self.rebuilding != Some(Rebuilding::Whole)
    }

    /// It has failed, and does not run again yet.
    pub(crate) fn is_failing(&self) -> bool {
        self.failed_at.is_some() || self.rebuilding.is_some()
    }

    /// It is about to be started again.
    pub(crate) fn restarts(&self) -> bool {
        matches!(self.phase, Phase::Waiting | Phase::InRound | Phase::Starting)
            || self.rebuilding == Some(Rebuilding::Whole)
    }
}
