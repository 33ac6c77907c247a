//! What a tree shows of itself. Pure.

use std::fmt;
use std::time::Duration;

use super::{NodeBody, Tree};
use crate::clock::Moment;
use crate::supervise::options::{Restart, StopRule, Strategy};
use crate::supervise::policy::{Child, NodeId, Phase};

/// What a child is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChildKind {
    /// The runtime itself.
    Runtime,
    /// A supervisor of others.
    Supervisor,
    /// A supervisor of many children of one kind.
    Pool,
    /// An event processor.
    Processor,
    /// A plain actix actor.
    Actor,
}

impl ChildKind {
    /// The word used in the printed tree.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Runtime => "runtime",
            Self::Supervisor => "supervisor",
            Self::Pool => "pool",
            Self::Processor => "processor",
            Self::Actor => "actor",
        }
    }
}

/// Where a child stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChildState {
    /// It does not run, and nobody is about to start it.
    Down,
    /// It is being started.
    Starting,
    /// It runs.
    Running,
    /// It failed and starts again, at once or after a back-off.
    Restarting,
    /// It was asked to stop.
    Stopping,
}

impl ChildState {
    /// The word used in the printed tree.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Down => "down",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Restarting => "restarting",
            Self::Stopping => "stopping",
        }
    }
}

/// How many children a supervisor has, as OTP's `count_children` counts them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ChildCounts {
    /// Specifications: one for each child, and one for a whole pool.
    pub specs: usize,
    /// Children that run.
    pub running: usize,
    /// Children that are supervisors.
    pub supervisors: usize,
    /// Children that are not.
    pub workers: usize,
}

/// A child and all below it; from [`Runtime::tree`](crate::Runtime::tree), whose root is the runtime
/// itself. Printed, it is the whole tree.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ChildReport {
    /// Its name; of one in a pool, the pool's with a number.
    pub name: String,
    /// What it is.
    pub kind: ChildKind,
    /// For a supervisor: whom it restarts.
    pub strategy: Option<Strategy>,
    /// Whether it starts again after it ended.
    pub restart: Restart,
    /// How long it may take to stop: none if as long as it takes, zero if it is killed.
    pub stops_within: Option<Duration>,
    /// Its end may end its supervisor.
    pub significant: bool,
    /// Where it stands.
    pub state: ChildState,
    /// How often its supervisor was charged with its failure, and restarted it.
    pub restarts: u64,
    /// What it said when it failed last.
    pub last_failure: Option<String>,
    /// When it starts again.
    pub next_restart: Option<Duration>,
    /// Those below it, in the order in which they start.
    pub children: Vec<ChildReport>,
}

impl ChildReport {
    /// A runtime, with its top-level supervisors.
    pub(crate) fn runtime(name: &str, runs: bool, children: Vec<Self>) -> Self {
        Self {
            name: name.to_owned(),
            kind: ChildKind::Runtime,
            strategy: None,
            restart: Restart::Permanent,
            stops_within: None,
            significant: false,
            state: if runs { ChildState::Running } else { ChildState::Down },
            restarts: 0,
            last_failure: None,
            next_restart: None,
            children,
        }
    }

    fn line(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}  {}", self.name, self.kind.as_str())?;
        match self.strategy {
            Some(Strategy::OneForOne) | None => {}
            Some(Strategy::OneForAll) => f.write_str(", one for all")?,
            Some(Strategy::RestForOne) => f.write_str(", rest for one")?,
        }
        match self.restart {
            Restart::Permanent => {}
            Restart::Transient => f.write_str(", transient")?,
            Restart::Temporary => f.write_str(", temporary")?,
        }
        write!(f, ", {}", self.state.as_str())?;
        if let Some(wait) = self.next_restart {
            write!(f, " in {:.1} s", wait.as_secs_f64())?;
        }
        if self.restarts > 0 {
            write!(f, ", restarts: {}", self.restarts)?;
        }
        if let Some(failure) = &self.last_failure {
            write!(f, ", last: {failure}")?;
        }
        writeln!(f)
    }

    fn below(&self, f: &mut fmt::Formatter<'_>, indent: &str) -> fmt::Result {
        for (number, child) in self.children.iter().enumerate() {
            let last = number + 1 == self.children.len();
            let (branch, more) = if last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
            write!(f, "{indent}{branch}")?;
            child.line(f)?;
            child.below(f, &format!("{indent}{more}"))?;
        }
        Ok(())
    }
}

impl fmt::Display for ChildReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.line(f)?;
        self.below(f, "")
    }
}

impl Tree {
    /// The children of a supervisor, and all below them.
    pub(crate) fn children(&self, supervisor: NodeId, now: Moment) -> Vec<ChildReport> {
        let Some(branch) = self.branch(supervisor) else { return Vec::new() };
        let children = branch.policy.children();
        children.filter_map(|(id, child)| self.report_of(id, child, now)).collect()
    }

    fn report_of(&self, id: NodeId, child: &Child, now: Moment) -> Option<ChildReport> {
        let node = self.nodes.get(&id)?;
        let state = match child.phase {
            Phase::Down => ChildState::Down,
            Phase::Stopping(_) => ChildState::Stopping,
            Phase::Up if child.runs() => ChildState::Running,
            Phase::Starting if !child.is_failing() => ChildState::Starting,
            _ => ChildState::Restarting,
        };
        let waits = state == ChildState::Restarting;
        let together = || match child.phase {
            Phase::InRound => self.branch(node.parent?)?.policy.round_due(),
            _ => None,
        };
        let due = child.due.or_else(together);
        let strategy = match &node.body {
            NodeBody::Branch(branch) => Some(branch.plan.flags.strategy),
            NodeBody::Leaf(_) => None,
        };
        Some(ChildReport {
            name: node.name.to_string(),
            kind: node.kind,
            strategy,
            restart: child.rule.restart,
            stops_within: match child.rule.stop {
                StopRule::Within(limit) => Some(limit),
                StopRule::Patient => None,
                StopRule::Kill => Some(Duration::ZERO),
            },
            significant: child.rule.significant,
            state,
            restarts: child.restarts,
            last_failure: child.last_failure.clone(),
            next_restart: due.filter(|_| waits).map(|due| due.since(now)),
            children: self.children(id, now),
        })
    }

    /// The children of a supervisor, counted.
    pub(crate) fn count(&self, supervisor: NodeId) -> ChildCounts {
        let mut counts = ChildCounts::default();
        let Some(branch) = self.branch(supervisor) else { return counts };
        for (id, child) in branch.policy.children() {
            counts.specs += 1;
            counts.running += usize::from(child.runs());
            let supervises = self.branch(id).is_some();
            let of_kind = if supervises { &mut counts.supervisors } else { &mut counts.workers };
            *of_kind += 1;
        }
        if branch.plan.flags.pool {
            counts.specs = 1;
        }
        counts
    }
}
