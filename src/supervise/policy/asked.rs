//! What people ask of a running supervisor: to add, stop, restart or delete a child, to go on by
//! other rules. Pure.

use std::fmt;

use super::child::{Phase, Rule, Then};
use super::{Action, Done, Flags, NodeId, Now, Policy, Ticket};
use crate::supervise::options::Restart;

/// Why something that was asked is not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Not {
    Known,
    Running,
    Restarting,
    Stopping,
    /// It is there, and down.
    Down,
    /// The supervisor itself does not run.
    Supervised,
}

impl fmt::Display for Not {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Known => "is not there",
            Self::Running => "is running: stop it first",
            Self::Restarting => "is being restarted: stop it first, or wait",
            Self::Stopping => "is being stopped: wait until that is done",
            Self::Down => "is there already, and down: restart it, or delete it first",
            Self::Supervised => "has no running supervisor: restart that first",
        })
    }
}

impl Policy {
    /// A new child, started now. If its first start fails it was never there.
    pub(crate) fn add(
        &mut self,
        id: NodeId,
        rule: Rule,
        ticket: Option<Ticket>,
        now: Now,
    ) -> Result<(), Not> {
        if !self.is_on() {
            return Err(Not::Supervised);
        }
        self.insert(id, rule);
        if let Some(child) = self.children.get_mut(&id) {
            child.starter = ticket;
            child.fresh = true;
        }
        self.start_by_hand(id, now.at);
        Ok(())
    }

    /// A child is to stop, and stay down.
    pub(crate) fn stop_by_hand(&mut self, id: NodeId, ticket: Ticket, now: Now) -> Result<(), Not> {
        let child = self.children.get_mut(&id).ok_or(Not::Known)?;
        child.stoppers.push(ticket);
        let forget = child.rule.restart == Restart::Temporary || self.flags.pool;
        let then = if forget { Then::Forgotten } else { Then::Down };
        match child.phase {
            Phase::Stopping(Then::InRound) => child.phase = Phase::Stopping(then),
            Phase::Stopping(_) => {}
            Phase::Down => self.becomes(id, Then::Down),
            _ => {
                let rule = child.rule.stop;
                self.stop_child(id, then, rule, now.at);
            }
        }
        self.step(now.at);
        Ok(())
    }

    /// A child that is down is to run again.
    pub(crate) fn restart_by_hand(
        &mut self,
        id: NodeId,
        ticket: Ticket,
        now: Now,
    ) -> Result<(), Not> {
        if !self.is_on() {
            return Err(Not::Supervised);
        }
        self.must_be_down(id)?;
        if let Some(child) = self.children.get_mut(&id) {
            child.starter = Some(ticket);
        }
        self.start_by_hand(id, now.at);
        Ok(())
    }

    /// A child that is down is to be forgotten.
    pub(crate) fn delete(&mut self, id: NodeId, ticket: Ticket) -> Result<(), Not> {
        self.must_be_down(id)?;
        self.becomes(id, Then::Forgotten);
        self.actions.push(Action::Answer(ticket, Ok(Done::Gone)));
        Ok(())
    }

    /// A child is taken out of the supervisor's care, whatever it does.
    pub(crate) fn let_go(&mut self, id: NodeId, now: Now) {
        self.set_timer(id, None);
        if let Some(child) = self.children.remove(&id) {
            self.order.remove(&child.position);
            let gone = |ticket| Action::Answer(ticket, Ok(Done::Gone));
            self.actions.extend(child.stoppers.into_iter().chain(child.starter).map(gone));
            self.step(now.at);
        }
    }

    fn must_be_down(&self, id: NodeId) -> Result<(), Not> {
        let child = self.children.get(&id).ok_or(Not::Known)?;
        match self.why_not_added(id) {
            _ if child.phase == Phase::Down => Ok(()),
            why => Err(why),
        }
    }

    /// Why a child cannot be added that is there already.
    pub(crate) fn why_not_added(&self, id: NodeId) -> Not {
        match self.children.get(&id) {
            None => Not::Known,
            Some(child) if matches!(child.phase, Phase::Stopping(_)) => Not::Stopping,
            Some(child) if child.phase == Phase::Down => Not::Down,
            Some(child) if child.restarts() => Not::Restarting,
            Some(_) => Not::Running,
        }
    }

    /// Goes on by other rules: these children in this order, and those that it has beside them.
    /// Children that are new are not started; none is stopped.
    pub(crate) fn reconfigure(&mut self, flags: Flags, children: &[(NodeId, Rule)]) {
        self.flags = flags;
        let others: Vec<NodeId> = self
            .order
            .values()
            .filter(|id| !children.iter().any(|(of, _)| of == *id))
            .copied()
            .collect();
        let all: Vec<NodeId> = children.iter().map(|(id, _)| *id).chain(others).collect();
        for (id, rule) in children {
            match self.children.get_mut(id) {
                Some(child) => child.rule = *rule,
                None => self.insert(*id, *rule),
            }
        }
        // From the next place on, so that a round under way knows nobody by two of them.
        self.order.clear();
        for id in all {
            if let Some(child) = self.children.get_mut(&id) {
                child.position = self.next_position;
                self.order.insert(self.next_position, id);
                self.next_position += 1;
            }
        }
        if let Some(round) = &mut self.round {
            round.forget_places();
        }
    }
}
