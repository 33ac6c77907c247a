//! What one supervisor does, as a state machine without clock, I/O or actors: told what became of
//! its children and what people ask of it, it says whom to start, stop and kill, and when it ends
//! itself. OTP's semantics (`supervisor(3)`), and back-off beyond it.
//!
//! Children start in order, each when the one before it is up, and stop in reverse. Those that are
//! restarted together form a [`round`]: they are stopped, a back-off passes, they are started.
//! What a failure leads to is in [`failure`], what people ask for in [`asked`]. Every input says what time it is; what is to be done is
//! taken with [`Policy::act`].

mod asked;
mod child;
mod failure;
pub(super) mod round;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use super::ledger::Window;
use super::options::{AutoShutdown, Intensity, OnExit, Reason, Restart, Strategy};
use crate::clock::Moment;
use crate::queue::backoff::Backoff;

pub(crate) use asked::Not;
use child::Then;
pub(crate) use child::{Child, Phase, Rule};
use round::{Round, Stage};

/// A node of the tree: a supervisor or a child of one. Never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct NodeId(pub(crate) u64);

/// Things by their nodes.
pub(crate) type ById<T> = HashMap<NodeId, T, foldhash::fast::RandomState>;

/// Somebody who asked, and waits for an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Ticket(pub(crate) u64);

/// How a supervisor deals with its children.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Flags {
    pub(crate) strategy: Strategy,
    pub(crate) intensity: Intensity,
    pub(crate) backoff: Backoff,
    pub(crate) auto_shutdown: AutoShutdown,
    /// Its children are many of one kind, come and go, and stop together.
    pub(crate) pool: bool,
}

/// The failure that is behind something: whose it was first, and what it said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) child: NodeId,
    /// Its names from the top-level supervisor down, once they have been looked up.
    pub(crate) path: Option<String>,
    pub(crate) cause: String,
}

/// Now, and how an even chance fell: a number from 0 to 1 for the jitter of a back-off.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Now {
    pub(crate) at: Moment,
    pub(crate) jitter: f64,
}

/// What a failed child that could rebuild itself is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// To do so, after that time.
    Rebuild(Duration),
    /// To end.
    End,
}

/// How the start of a child that somebody asked for went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Done {
    Runs,
    /// It has nothing to do, and does not run.
    Ignored,
    /// It was stopped, or deleted.
    Gone,
}

/// What is to be done, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    Start(NodeId),
    Stop(NodeId),
    Kill(NodeId),
    /// It is down, and nobody will start it unless asked.
    Rest(NodeId),
    /// Nobody knows it any more.
    Forget(NodeId),
    /// It was never there: its first start failed.
    Undo(NodeId),
    /// It ended, or failed: whoever watches it is told.
    Ended(NodeId, Reason),
    /// It failed and starts again after that time.
    Restart(NodeId, Duration),
    /// It runs again, so long after it failed.
    Recovered(NodeId, Duration),
    Answer(Ticket, Result<Done, String>),
    /// Its children have been started for the first time.
    Up,
    /// The supervisor itself has ended: how, and because of what if it gave up.
    End(Reason, Option<Fault>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Mode {
    Off,
    /// The first round is not over.
    Beginning,
    On,
    Ending(Reason, Option<Fault>),
}

/// One supervisor.
#[derive(Debug)]
pub(crate) struct Policy {
    flags: Flags,
    children: ById<Child>,
    order: BTreeMap<u64, NodeId>,
    next_position: u64,
    window: Window,
    mode: Mode,
    round: Option<Round>,
    /// While it ends: nobody from here on runs any more.
    ended_from: u64,
    due: BTreeSet<(Moment, NodeId)>,
    actions: Vec<Action>,
}

impl Policy {
    pub(crate) fn new(flags: Flags) -> Self {
        Self {
            flags,
            children: ById::default(),
            order: BTreeMap::new(),
            next_position: 0,
            window: Window::default(),
            mode: Mode::Off,
            round: None,
            ended_from: u64::MAX,
            due: BTreeSet::new(),
            actions: Vec::new(),
        }
    }

    /// What is to be done by now.
    pub(crate) fn act(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.actions)
    }

    /// When it wants to be told the time.
    pub(crate) fn next_due(&self) -> Option<Moment> {
        let child = self.due.first().map(|(due, _)| *due);
        let round = self.round.filter(|round| round.stage == Stage::Waiting);
        child.into_iter().chain(round.map(|round| round.until)).min()
    }

    /// When those that are restarted together start.
    pub(crate) fn round_due(&self) -> Option<Moment> {
        self.round.filter(|round| round.stage != Stage::Starting).map(|round| round.until)
    }

    /// It runs, and is not about to end.
    pub(crate) fn is_on(&self) -> bool {
        matches!(self.mode, Mode::Beginning | Mode::On)
    }

    pub(crate) fn child(&self, id: NodeId) -> Option<&Child> {
        self.children.get(&id)
    }

    /// All children, in order.
    pub(crate) fn children(&self) -> impl DoubleEndedIterator<Item = (NodeId, &Child)> {
        self.order.values().filter_map(|id| Some((*id, self.children.get(id)?)))
    }

    /// A child that is down; the others start before it, and stop after it.
    pub(crate) fn insert(&mut self, id: NodeId, rule: Rule) {
        let position = self.next_position;
        self.next_position += 1;
        self.order.insert(position, id);
        self.children.insert(id, Child::new(rule, position));
    }

    /// Starts its children, in order.
    pub(crate) fn start(&mut self, now: Now) {
        if self.mode == Mode::Off {
            self.mode = Mode::Beginning;
            self.children.values_mut().for_each(|child| child.phase = Phase::InRound);
            self.round = Some(Round::first());
            self.step(now.at);
        }
    }

    /// Stops its children, in reverse order, and ends.
    pub(crate) fn stop(&mut self, now: Now) {
        if self.is_on() {
            self.end(Reason::Shutdown, None, now.at);
        }
    }

    /// Ends without any regard.
    pub(crate) fn kill(&mut self, now: Now) {
        let because = match &mut self.mode {
            Mode::Off => return,
            Mode::Beginning | Mode::On => None,
            Mode::Ending(_, because) => because.take(),
        };
        self.end(Reason::Killed, because, now.at);
    }

    /// Something at the child's supervisor, beyond its children, demands that it ends.
    pub(crate) fn escalate(&mut self, fault: Fault, now: Now) {
        if self.is_on() {
            self.end(Reason::Shutdown, Some(fault), now.at);
        }
    }

    /// Time has passed.
    pub(crate) fn tick(&mut self, now: Now) {
        while let Some(&(due, id)) = self.due.first()
            && due <= now.at
        {
            self.set_timer(id, None);
            match self.children.get(&id).map(|child| child.phase) {
                Some(Phase::Waiting) => self.start_child(id),
                Some(Phase::Stopping(_)) => self.actions.push(Action::Kill(id)),
                _ => {}
            }
        }
        self.step(now.at);
    }

    /// A child runs, for the first time or again.
    pub(crate) fn started(&mut self, id: NodeId, now: Now) {
        let Some(child) = self.children.get_mut(&id) else { return };
        if !child.expected_to_run() {
            return;
        }
        child.phase = Phase::Up;
        child.rebuilding = None;
        child.fresh = false;
        let (starter, failed_at) = (child.starter.take(), child.failed_at.take());
        self.actions.extend(starter.map(|ticket| Action::Answer(ticket, Ok(Done::Runs))));
        self.actions.extend(failed_at.map(|at| Action::Recovered(id, now.at.since(at))));
        self.step(now.at);
    }

    /// A child has nothing to do.
    pub(crate) fn ignored(&mut self, id: NodeId, now: Now) {
        let Some(child) = self.children.get_mut(&id) else { return };
        if matches!(child.phase, Phase::Stopping(_)) {
            self.ended(id, Reason::Normal, None, OnExit::Restart, now);
            return;
        }
        if !child.expected_to_run() {
            return;
        }
        (child.failed_at, child.rebuilding, child.fresh) = (None, None, false);
        let starter = child.starter.take();
        self.actions.push(Action::Ended(id, Reason::Normal));
        let keeps = child.rule.restart != Restart::Temporary && !self.flags.pool;
        self.becomes(id, if keeps { Then::Down } else { Then::Forgotten });
        self.actions.extend(starter.map(|ticket| Action::Answer(ticket, Ok(Done::Ignored))));
        self.step(now.at);
    }
}
