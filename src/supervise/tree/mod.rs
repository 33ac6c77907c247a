//! The hierarchy: supervisors within supervisors, each a [`Policy`], and at the ends what really
//! runs. What a policy wants done to a supervisor is done here; what it wants done to a leaf becomes
//! an [`Effect`] for whoever carries the tree. Pure.
//!
//! The root is the runtime: it restarts nobody, and ends with the first of its supervisors that
//! gives up, or when all of them have ended.

mod asked;
#[cfg(test)]
mod cases;
#[cfg(test)]
mod histories;
mod nodes;
#[cfg(test)]
mod otp;
mod plan;
mod report;
#[cfg(test)]
mod world;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::options::{AutoShutdown, Intensity, OnExit, Reason, Restart, StopRule};
use super::policy::{Action, ById, Done, Fault, Flags, NodeId, Now, Policy, Rule, Ticket, Verdict};
use crate::clock::Moment;

pub(crate) use asked::{Refusal, Which};
pub(crate) use plan::{Body, BranchPlan, Plan};
pub use report::{ChildCounts, ChildKind, ChildReport, ChildState};

/// What is to be done to leaves, and what is to be told.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Effect {
    Start(NodeId),
    Stop(NodeId),
    Kill(NodeId),
    /// It is down until somebody asks for it.
    Rest(NodeId),
    /// It is gone, a leaf declared by that number. `undone` if it was never there, because its first
    /// start failed; `for_good` if the declaration is not needed any more either.
    Forget {
        leaf: NodeId,
        number: usize,
        undone: bool,
        for_good: bool,
    },
    /// A pool is gone for good, whose children were that leaf.
    ForgetTemplate {
        number: usize,
        undone: bool,
        for_good: bool,
    },
    /// What to do about a failure is asked of the application's code.
    Decide {
        decider: usize,
        child: NodeId,
        reason: Reason,
    },
    Told(Ticket, Reason),
    Answer(Ticket, Result<Done, String>),
    Restart {
        child: NodeId,
        wait: Duration,
    },
    Recovered {
        child: NodeId,
        took: Duration,
    },
    /// That supervisor gave up because of a child, whose path this is, and what it said.
    GaveUp {
        supervisor: NodeId,
        child: String,
        cause: String,
    },
    /// The root has ended.
    End(Option<GaveUp>),
}

/// Why the whole tree gave up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GaveUp {
    pub(crate) child: String,
    pub(crate) cause: String,
}

struct Node {
    name: Arc<str>,
    parent: Option<NodeId>,
    /// It comes back with its supervisor.
    declared: bool,
    kind: ChildKind,
    body: NodeBody,
    watchers: Vec<Ticket>,
    /// It ended, and the application's code is asked what to do.
    undecided: Option<(Reason, Option<Fault>)>,
}

enum NodeBody {
    Leaf(usize),
    Branch(Box<Branch>),
}

struct Branch {
    plan: BranchPlan,
    /// The nodes of the plan's children, as far as they are there.
    statics: Vec<Option<NodeId>>,
    /// Its children by their names.
    names: HashMap<Arc<str>, NodeId>,
    policy: Policy,
    due: Option<Moment>,
}

/// The hierarchy of a runtime.
pub(crate) struct Tree {
    nodes: ById<Node>,
    next: u64,
    due: BTreeSet<(Moment, NodeId)>,
    work: VecDeque<NodeId>,
    effects: Vec<Effect>,
}

impl Tree {
    pub(crate) const ROOT: NodeId = NodeId(0);

    /// A tree of top-level supervisors.
    pub(crate) fn new(mut supervisors: Vec<Plan>) -> Self {
        for supervisor in &mut supervisors {
            let (restart, stop) = (Restart::Transient, StopRule::Patient);
            supervisor.rule = Rule { restart, stop, significant: true };
        }
        let intensity = Intensity::within(0, Duration::from_secs(1));
        let auto_shutdown = AutoShutdown::AllSignificant;
        let flags = Flags { intensity, auto_shutdown, ..Flags::default() };
        let plan = BranchPlan { flags, children: supervisors, ..BranchPlan::default() };
        let mut tree = Self {
            nodes: ById::default(),
            next: 0,
            due: BTreeSet::new(),
            work: VecDeque::new(),
            effects: Vec::new(),
        };
        let rule =
            Rule { restart: Restart::Permanent, stop: StopRule::Patient, significant: false };
        let (name, kind) = (Arc::from(""), ChildKind::Supervisor);
        tree.put(None, true, Plan { name, rule, kind, body: Body::Branch(plan) });
        tree
    }

    /// What is to be done by now.
    pub(crate) fn effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    /// When it wants to be told the time.
    pub(crate) fn next_due(&self) -> Option<Moment> {
        self.due.first().map(|(due, _)| *due)
    }

    pub(crate) fn start(&mut self, now: Now) {
        self.with(Self::ROOT, now, |policy| policy.start(now));
    }

    /// Stops everything in order.
    pub(crate) fn stop(&mut self, now: Now) {
        self.with(Self::ROOT, now, |policy| policy.stop(now));
    }

    /// Ends everything without any regard.
    pub(crate) fn kill(&mut self, now: Now) {
        self.with(Self::ROOT, now, |policy| policy.kill(now));
    }

    /// Time has passed.
    pub(crate) fn tick(&mut self, now: Now) {
        while let Some(&(due, branch)) = self.due.first()
            && due <= now.at
        {
            self.set_due(branch, None);
            self.with(branch, now, |policy| policy.tick(now));
        }
    }

    pub(crate) fn started(&mut self, child: NodeId, now: Now) {
        self.at_parent(child, now, |policy| policy.started(child, now));
    }

    pub(crate) fn ignored(&mut self, child: NodeId, now: Now) {
        self.at_parent(child, now, |policy| policy.ignored(child, now));
    }

    /// A leaf failed and could rebuild itself; `whole` if nothing of it runs any more.
    pub(crate) fn broke(
        &mut self,
        child: NodeId,
        cause: String,
        whole: bool,
        advice: OnExit,
        now: Now,
    ) -> Verdict {
        let mut verdict = Verdict::End;
        self.at_parent(child, now, |policy| {
            verdict = policy.broke(child, cause, whole, advice, now);
        });
        verdict
    }

    /// A leaf has ended; nothing of it runs any more.
    pub(crate) fn ended(&mut self, child: NodeId, reason: Reason, now: Now) {
        self.has_ended(child, reason, None, now);
        self.work_off(now);
    }

    /// The application's code has decided.
    pub(crate) fn decided(&mut self, child: NodeId, advice: OnExit, now: Now) {
        let node = self.nodes.get_mut(&child);
        if let Some((reason, because)) = node.and_then(|node| node.undecided.take()) {
            self.at_parent(child, now, |policy| {
                policy.ended(child, reason, because, advice, now);
            });
        }
    }

    fn has_ended(&mut self, child: NodeId, reason: Reason, because: Option<Fault>, now: Now) {
        let Some(supervisor) = self.nodes.get(&child).and_then(|node| node.parent) else { return };
        let Some(branch) = self.branch(supervisor) else { return };
        let runs = branch.policy.child(child).is_some_and(super::policy::Child::expected_to_run);
        let failed = because.is_some() || !reason.is_normal();
        if let Some(decider) = branch.plan.decider.filter(|_| runs && failed) {
            let said = because.as_ref().map(|fault| Reason::Failed(fault.cause.clone()));
            let told = said.unwrap_or_else(|| reason.clone());
            self.effects.push(Effect::Decide { decider, child, reason: told });
            if let Some(node) = self.nodes.get_mut(&child) {
                node.undecided = Some((reason, because));
            }
            return;
        }
        let advice = OnExit::Restart;
        if let Some(branch) = self.branch_mut(supervisor) {
            if supervisor == Self::ROOT
                && let Some(fault) = because.clone()
            {
                branch.policy.escalate(fault, now);
            }
            branch.policy.ended(child, reason, because, advice, now);
            self.work.push_back(supervisor);
        }
    }

    /// Tells the policy of a supervisor something, and does what it then wants.
    fn with(&mut self, branch: NodeId, now: Now, tell: impl FnOnce(&mut Policy)) {
        if let Some(of) = self.branch_mut(branch) {
            tell(&mut of.policy);
            self.work.push_back(branch);
        }
        self.work_off(now);
    }

    fn at_parent(&mut self, child: NodeId, now: Now, tell: impl FnOnce(&mut Policy)) {
        if let Some(parent) = self.nodes.get(&child).and_then(|node| node.parent) {
            self.with(parent, now, tell);
        }
    }

    fn work_off(&mut self, now: Now) {
        while let Some(branch) = self.work.pop_front() {
            let Some(of) = self.branch_mut(branch) else { continue };
            let (actions, due) = (of.policy.act(), of.policy.next_due());
            self.set_due(branch, due);
            for action in actions {
                self.carry_out(branch, action, now);
            }
        }
    }

    fn carry_out(&mut self, at: NodeId, action: Action, now: Now) {
        match action {
            Action::Start(child) => match self.branch(child) {
                None => self.effects.push(Effect::Start(child)),
                Some(_) => {
                    self.build(child);
                    self.then(child, |policy| policy.start(now));
                }
            },
            Action::Stop(child) | Action::Kill(child) if self.is_decided_by_that(child, now) => {}
            Action::Stop(child) => match self.branch(child) {
                None => self.effects.push(Effect::Stop(child)),
                Some(_) => self.then(child, |policy| policy.stop(now)),
            },
            Action::Kill(child) => match self.branch(child) {
                None => self.effects.push(Effect::Kill(child)),
                Some(_) => self.then(child, |policy| policy.kill(now)),
            },
            Action::Rest(child) => self.each_leaf(child, Effect::Rest),
            Action::Forget(child) => self.remove(child, false),
            Action::Undo(child) => self.remove(child, true),
            Action::Ended(child, reason) => {
                let node = self.nodes.get_mut(&child);
                let watchers = node.map(|node| std::mem::take(&mut node.watchers));
                let told = |ticket| Effect::Told(ticket, reason.clone());
                self.effects.extend(watchers.into_iter().flatten().map(told));
            }
            Action::Restart(child, wait) => self.effects.push(Effect::Restart { child, wait }),
            Action::Recovered(child, took) => {
                self.effects.push(Effect::Recovered { child, took });
            }
            Action::Answer(ticket, answer) => self.effects.push(Effect::Answer(ticket, answer)),
            Action::Up => self.tell_parent(at, |policy| policy.started(at, now)),
            Action::End(reason, because) => self.branch_ended(at, reason, because, now),
        }
    }

    fn branch_ended(&mut self, at: NodeId, reason: Reason, because: Option<Fault>, now: Now) {
        // Named now, while it is there.
        let because = because.map(|mut fault| {
            fault.path.get_or_insert_with(|| self.path(fault.child));
            fault
        });
        let why = because.as_ref().map(|fault| GaveUp {
            child: fault.path.clone().unwrap_or_default(),
            cause: fault.cause.clone(),
        });
        if let (Some(GaveUp { child, cause }), true) = (&why, at != Self::ROOT) {
            let (child, cause) = (child.clone(), cause.clone());
            self.effects.push(Effect::GaveUp { supervisor: at, child, cause });
        }
        if at == Self::ROOT {
            self.effects.push(Effect::End(why));
            return;
        }
        // Those it was given while it ran do not come back with it.
        let Some(branch) = self.branch(at) else { return };
        let is_dynamic = |id: &NodeId| self.nodes.get(id).is_some_and(|node| !node.declared);
        let children = branch.policy.children().map(|(id, _)| id);
        let dynamic: Vec<NodeId> = children.filter(is_dynamic).collect();
        for child in dynamic {
            self.remove(child, false);
            if let Some(branch) = self.branch_mut(at) {
                branch.policy.let_go(child, now);
            }
        }
        self.has_ended(at, reason, because, now);
    }

    /// Whether the child has ended already, and what to do about it was being asked: now that it is
    /// to stop, that is what it did.
    fn is_decided_by_that(&mut self, child: NodeId, now: Now) -> bool {
        let undecided = self.nodes.get_mut(&child).and_then(|node| node.undecided.take());
        let Some((reason, because)) = undecided else { return false };
        self.tell_parent(child, |policy| {
            policy.ended(child, reason, because, OnExit::Restart, now);
        });
        true
    }

    fn then(&mut self, branch: NodeId, tell: impl FnOnce(&mut Policy)) {
        if let Some(of) = self.branch_mut(branch) {
            tell(&mut of.policy);
            self.work.push_back(branch);
        }
    }

    fn tell_parent(&mut self, child: NodeId, tell: impl FnOnce(&mut Policy)) {
        if let Some(parent) = self.nodes.get(&child).and_then(|node| node.parent) {
            self.then(parent, tell);
        }
    }

    fn set_due(&mut self, id: NodeId, due: Option<Moment>) {
        let Some(branch) = self.branch_mut(id) else { return };
        if let Some(before) = std::mem::replace(&mut branch.due, due) {
            self.due.remove(&(before, id));
        }
        self.due.extend(due.map(|due| (due, id)));
    }
}
