//! What people ask of a running tree, by names and numbers. Pure.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Body, BranchPlan, Effect, Node, NodeBody, Plan, Tree};
use crate::supervise::options::{AutoShutdown, Reason};
use crate::supervise::policy::{Done, NodeId, Not, Now, Policy, Ticket};

/// Why something that was asked is not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// There is no such supervisor; there are these.
    NoSupervisor(Vec<String>),
    /// There is no such child; there are these.
    NoChild(Vec<String>),
    /// It is there, and not as it must be.
    Child(Not),
    /// A pool's children are alike: they have no names, and nobody restarts one by hand.
    Pool,
    /// Only a pool starts children from arguments.
    NoPool,
    /// It never shuts down by itself, and its children cannot be significant.
    Significant,
}

/// Which child of a supervisor is meant.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Which<'a> {
    Named(&'a str),
    /// One of a pool's.
    Numbered(NodeId),
}

impl Tree {
    /// The supervisor with that path.
    pub(crate) fn supervisor(&self, path: &str) -> Result<NodeId, Refusal> {
        let mut at = Self::ROOT;
        for name in path.split('/') {
            let child = self.branch(at).and_then(|branch| branch.names.get(name));
            match child.copied().filter(|child| self.branch(*child).is_some()) {
                Some(child) => at = child,
                None => return Err(Refusal::NoSupervisor(self.supervisors())),
            }
        }
        Ok(at)
    }

    /// The paths of all supervisors.
    fn supervisors(&self) -> Vec<String> {
        let is_branch = |node: &Node| matches!(node.body, NodeBody::Branch(_));
        let of = self.nodes.iter().filter(|(id, node)| **id != Self::ROOT && is_branch(node));
        let mut all: Vec<String> = of.map(|(id, _)| self.path(*id)).collect();
        all.sort();
        all
    }

    fn find(&self, supervisor: NodeId, which: Which<'_>) -> Result<NodeId, Refusal> {
        let branch = self.branch(supervisor).ok_or(Refusal::NoSupervisor(Vec::new()))?;
        let names = || {
            let known = branch.policy.children().filter_map(|(id, _)| self.nodes.get(&id));
            Refusal::NoChild(known.take(20).map(|node| node.name.to_string()).collect())
        };
        match which {
            Which::Named(_) if branch.plan.flags.pool => Err(Refusal::Pool),
            Which::Named(name) => branch.names.get(name).copied().ok_or_else(names),
            Which::Numbered(id) => {
                let here = branch.policy.child(id).is_some();
                here.then_some(id).ok_or(Refusal::NoChild(Vec::new()))
            }
        }
    }

    /// Whether a child of that name could be added now.
    pub(crate) fn may_add(
        &self,
        supervisor: NodeId,
        name: &str,
        significant: bool,
    ) -> Result<(), Refusal> {
        let branch = self.branch(supervisor).ok_or(Refusal::NoSupervisor(Vec::new()))?;
        if let Some(known) = branch.names.get(name) {
            return Err(Refusal::Child(branch.policy.why_not_added(*known)));
        }
        if !branch.policy.is_on() {
            return Err(Refusal::Child(Not::Supervised));
        }
        let never = branch.plan.flags.auto_shutdown == AutoShutdown::Never;
        match branch.plan.flags.pool {
            true => Err(Refusal::Pool),
            false if significant && never => Err(Refusal::Significant),
            false => Ok(()),
        }
    }

    /// What the children of a pool are, by the number of a leaf if they are that.
    pub(crate) fn template(&self, pool: NodeId) -> Result<Option<usize>, Refusal> {
        let branch = self.branch(pool).ok_or(Refusal::NoSupervisor(Vec::new()))?;
        branch.plan.template.as_ref().map(|plan| plan.leaf()).ok_or(Refusal::NoPool)
    }

    /// A pool gets one more child. Its number is known before it starts.
    pub(crate) fn grow(
        &mut self,
        pool: NodeId,
        ticket: Ticket,
        now: Now,
        known: impl FnOnce(NodeId),
    ) -> Result<NodeId, Refusal> {
        let branch = self.branch(pool).ok_or(Refusal::NoSupervisor(Vec::new()))?;
        let mut plan = Plan::clone(branch.plan.template.as_deref().ok_or(Refusal::NoPool)?);
        plan.name = Arc::from(format!("{}#{}", plan.name, self.next));
        known(NodeId(self.next));
        self.add(pool, plan, Some(ticket), now)
    }

    /// Adds a child and starts it. Its number is there before it is known whether it can start.
    pub(crate) fn add(
        &mut self,
        supervisor: NodeId,
        plan: Plan,
        ticket: Option<Ticket>,
        now: Now,
    ) -> Result<NodeId, Refusal> {
        match self.may_add(supervisor, &plan.name, plan.rule.significant) {
            Err(Refusal::Pool) | Ok(()) => {}
            Err(refusal) => return Err(refusal),
        }
        let rule = plan.rule;
        let id = self.put(Some(supervisor), false, plan);
        self.with(supervisor, now, |policy| {
            policy.add(id, rule, ticket, now).ok();
        });
        Ok(id)
    }

    /// Stops a child, which stays down.
    pub(crate) fn stop_child(
        &mut self,
        supervisor: NodeId,
        which: Which<'_>,
        ticket: Ticket,
        now: Now,
    ) -> Result<(), Refusal> {
        let id = match (self.find(supervisor, which), which) {
            (Err(Refusal::NoChild(_)), Which::Numbered(_)) => {
                // It was there once, and has ended.
                self.effects.push(Effect::Answer(ticket, Ok(Done::Gone)));
                return Ok(());
            }
            (found, _) => found?,
        };
        self.ask(supervisor, now, |policy| policy.stop_by_hand(id, ticket, now))
    }

    pub(crate) fn restart_child(
        &mut self,
        supervisor: NodeId,
        name: &str,
        ticket: Ticket,
        now: Now,
    ) -> Result<(), Refusal> {
        let id = self.find(supervisor, Which::Named(name))?;
        self.ask(supervisor, now, |policy| policy.restart_by_hand(id, ticket, now))
    }

    pub(crate) fn delete_child(
        &mut self,
        supervisor: NodeId,
        name: &str,
        ticket: Ticket,
        now: Now,
    ) -> Result<(), Refusal> {
        let id = self.find(supervisor, Which::Named(name))?;
        self.ask(supervisor, now, |policy| policy.delete(id, ticket))
    }

    /// Whoever holds the ticket is told once, when that child ends.
    pub(crate) fn watch(
        &mut self,
        supervisor: NodeId,
        which: Which<'_>,
        ticket: Ticket,
    ) -> Result<(), Refusal> {
        let id = self.find(supervisor, which)?;
        let runs = self.branch(supervisor).and_then(|branch| branch.policy.child(id));
        if runs.is_none_or(|child| !child.lives()) {
            return Err(Refusal::Child(Not::Down));
        }
        if let Some(node) = self.nodes.get_mut(&id) {
            node.watchers.push(ticket);
        }
        Ok(())
    }

    /// A leaf is taken out of its supervisor's care, and goes on by itself. The number of its
    /// declaration, if that is not needed any more.
    pub(crate) fn let_go(&mut self, id: NodeId, now: Now) -> Option<usize> {
        let node = self.nodes.get(&id)?;
        let (parent, number) = (node.parent?, self.leaf(id)?);
        let for_good = !self.is_of_a_pool(node);
        if let Some(branch) = self.branch_mut(parent)
            && let Some(place) = branch.statics.iter().position(|of| *of == Some(id))
        {
            branch.statics.remove(place);
            branch.plan.children.remove(place);
        }
        self.with(parent, now, |policy| policy.let_go(id, now));
        let Node { name, watchers, .. } = self.nodes.remove(&id)?;
        let told = |ticket| Effect::Told(ticket, Reason::Shutdown);
        self.effects.extend(watchers.into_iter().map(told));
        if let Some(branch) = self.branch_mut(parent) {
            branch.names.remove(&name);
        }
        for_good.then_some(number)
    }

    /// The names of a running supervisor's children.
    pub(crate) fn names_in(&self, supervisor: NodeId) -> Result<Vec<Arc<str>>, Refusal> {
        let branch = self.branch(supervisor).ok_or(Refusal::NoSupervisor(Vec::new()))?;
        if branch.plan.flags.pool {
            return Err(Refusal::Pool);
        }
        if !branch.policy.is_on() {
            return Err(Refusal::Child(Not::Supervised));
        }
        Ok(branch.names.keys().cloned().collect())
    }

    /// A supervisor goes on by other flags, and its children by other rules: new ones are there and
    /// not started, those that are no longer declared run on, and do not come back with it.
    pub(crate) fn reconfigure(
        &mut self,
        supervisor: NodeId,
        plan: BranchPlan,
        now: Now,
    ) -> Result<(), Refusal> {
        self.names_in(supervisor)?;
        let Some(branch) = self.branch(supervisor) else { return Ok(()) };
        let names = branch.names.clone();
        let (mut statics, mut children) = (Vec::new(), Vec::new());
        for child in plan.children {
            let rule = child.rule;
            let known = names.get(&child.name).copied();
            let id = known.unwrap_or_else(|| self.put(Some(supervisor), true, child.clone()));
            // One that is known stays what it is; only its rule is another.
            let stays = known.and_then(|id| self.nodes.get(&id)).map(|node| {
                let body = match &node.body {
                    NodeBody::Leaf(number) => Body::Leaf(*number),
                    NodeBody::Branch(branch) => Body::Branch(branch.plan.clone()),
                };
                Plan { name: node.name.clone(), rule, kind: node.kind, body }
            });
            children.push(stays.unwrap_or(child));
            statics.push((id, rule));
        }
        let declared: BTreeSet<NodeId> = statics.iter().map(|(id, _)| *id).collect();
        for id in names.values().chain(&declared) {
            if let Some(node) = self.nodes.get_mut(id) {
                node.declared = declared.contains(id);
            }
        }
        if let Some(branch) = self.branch_mut(supervisor) {
            branch.statics = statics.iter().map(|(id, _)| Some(*id)).collect();
            (branch.plan.flags, branch.plan.decider) = (plan.flags, plan.decider);
            branch.plan.children = children;
            branch.policy.reconfigure(plan.flags, &statics);
        }
        self.with(supervisor, now, |_| {});
        Ok(())
    }

    fn ask(
        &mut self,
        supervisor: NodeId,
        now: Now,
        ask: impl FnOnce(&mut Policy) -> Result<(), Not>,
    ) -> Result<(), Refusal> {
        let mut answer = Ok(());
        self.with(supervisor, now, |policy| answer = ask(policy));
        answer.map_err(Refusal::Child)
    }
}
