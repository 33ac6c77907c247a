//! Starting in order, stopping in reverse: the steps of a round, and of the end. Pure.

use super::child::{Phase, Then};
use super::{Action, Fault, Mode, NodeId, Policy, Reason};
use crate::clock::Moment;
use crate::supervise::options::{Restart, StopRule, Strategy};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    Stopping,
    Waiting,
    Starting,
}

/// Children that are restarted together: all from some place on. Also the first start of all.
#[derive(Debug, Clone, Copy)]
pub(super) struct Round {
    from: u64,
    pub(super) until: Moment,
    pub(super) stage: Stage,
    /// While stopping, nobody from here on runs any more; while starting, everybody before it does,
    /// or is not of the round.
    at: u64,
}

impl Round {
    /// The first start of all.
    pub(super) fn first() -> Self {
        Self { from: 0, until: Moment::default(), stage: Stage::Starting, at: 0 }
    }

    /// Whether it is about to stop the child at that place.
    pub(super) fn stops(&self, position: u64) -> bool {
        self.stage == Stage::Stopping && position >= self.from
    }

    /// The children have other places now: it takes all.
    pub(super) fn forget_places(&mut self) {
        self.from = 0;
        self.at = if self.stage == Stage::Stopping { u64::MAX } else { 0 };
    }
}

/// A child was looked at, to find the next one: tests of scale count it.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn looked_at(_: &(&u64, &NodeId)) {
    #[cfg(test)]
    LOOKED.set(LOOKED.get() + 1);
}

#[cfg(test)]
thread_local! {
    pub(crate) static LOOKED: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

impl Policy {
    /// All whom the strategy says start anew, not before that moment.
    pub(super) fn begin_round(&mut self, failed: NodeId, until: Moment) {
        if !self.is_on() {
            return;
        }
        let position = self.children.get(&failed).map_or(0, |child| child.position);
        let mut from = if self.flags.strategy == Strategy::OneForAll { 0 } else { position };
        let mut until = until;
        if let Some(round) = self.round {
            // Those that have been started already are through with it, unless all are bound.
            let through = round.stage == Stage::Starting;
            from = from.min(if through { round.at } else { round.from });
            until = until.max(round.until);
        }
        let members: Vec<NodeId> = self.order.range(from..).map(|(_, id)| *id).collect();
        for id in members {
            let Some(child) = self.children.get_mut(&id) else { continue };
            match child.phase {
                Phase::Down => child.phase = Phase::InRound,
                Phase::Waiting => self.becomes(id, Then::InRound),
                _ => {}
            }
        }
        self.round = Some(Round { from, until, stage: Stage::Stopping, at: u64::MAX });
    }

    /// Goes as far as it can.
    pub(super) fn step(&mut self, now: Moment) {
        if matches!(self.mode, Mode::Ending(..)) {
            self.step_to_the_end(now);
            return;
        }
        while let Some(mut round) = self.round {
            match round.stage {
                Stage::Stopping => {
                    let range = self.order.range(round.from..round.at).rev().inspect(looked_at);
                    let lives = |id: &NodeId| self.children.get(id).filter(|child| child.lives());
                    let next = range
                        .map(|(at, id)| (*at, *id))
                        .find_map(|(at, id)| Some((at, id, lives(&id)?)));
                    let Some((at, id, child)) = next else {
                        round.stage = Stage::Waiting;
                        self.round = Some(round);
                        continue;
                    };
                    let (phase, rule) = (child.phase, child.rule);
                    round.at = at + 1;
                    self.round = Some(round);
                    if !matches!(phase, Phase::Stopping(_)) {
                        let temporary = rule.restart == Restart::Temporary;
                        let then = if temporary { Then::Forgotten } else { Then::InRound };
                        self.stop_child(id, then, rule.stop, now);
                    }
                    return;
                }
                Stage::Waiting if now < round.until => return,
                Stage::Waiting => {
                    (round.stage, round.at) = (Stage::Starting, round.from);
                    self.round = Some(round);
                }
                Stage::Starting => {
                    let mut range = self.order.range(round.at..).inspect(looked_at);
                    let next = range.find_map(|(at, id)| {
                        let child = self.children.get(id)?;
                        let goes_on = match child.phase {
                            Phase::InRound => false,
                            // One that could not start tries again by itself, or was asked for.
                            Phase::Starting => child.rebuilding.is_some() || child.alone,
                            _ => true,
                        };
                        (!goes_on).then_some((*at, *id, child.phase))
                    });
                    let Some((at, id, phase)) = next else {
                        self.round = None;
                        if self.mode == Mode::Beginning {
                            self.mode = Mode::On;
                            self.actions.push(Action::Up);
                        }
                        return;
                    };
                    round.at = at;
                    self.round = Some(round);
                    if phase == Phase::InRound {
                        self.start_child(id);
                    }
                    return;
                }
            }
        }
    }

    /// Stops all, and ends when nobody runs any more.
    pub(super) fn end(&mut self, reason: Reason, because: Option<Fault>, now: Moment) {
        let killed = reason == Reason::Killed;
        self.mode = Mode::Ending(reason, because);
        self.round = None;
        self.ended_from = u64::MAX;
        let children: Vec<NodeId> = self.order.values().rev().copied().collect();
        for id in children {
            let Some(child) = self.children.get_mut(&id) else { continue };
            match child.phase {
                Phase::Waiting | Phase::InRound => self.becomes(id, Then::Down),
                _ if killed => self.stop_child(id, Then::Down, StopRule::Kill, now),
                Phase::Starting | Phase::Up if self.flags.pool => {
                    let rule = child.rule.stop;
                    self.stop_child(id, Then::Down, rule, now);
                }
                _ => {}
            }
        }
        self.step(now);
    }

    fn step_to_the_end(&mut self, now: Moment) {
        let range = self.order.range(..self.ended_from).rev().inspect(looked_at);
        let lives = |id: &NodeId| self.children.get(id).is_some_and(super::Child::lives);
        let next = range.map(|(at, id)| (*at, *id)).find(|(_, id)| lives(id));
        if let Some((at, id)) = next {
            self.ended_from = at + 1;
            let Some(child) = self.children.get(&id) else { return };
            if !matches!(child.phase, Phase::Stopping(_)) {
                self.stop_child(id, Then::Down, child.rule.stop, now);
            }
            return;
        }
        if let Mode::Ending(reason, because) = std::mem::replace(&mut self.mode, Mode::Off) {
            self.actions.push(Action::End(reason, because));
        }
    }

    /// Starts a child that somebody asked for: with the others, if they are being restarted together.
    pub(super) fn start_by_hand(&mut self, id: NodeId, now: Moment) {
        let binds = self.flags.strategy != Strategy::OneForOne;
        match (self.children.get_mut(&id), &mut self.round) {
            (Some(child), Some(round)) if binds && child.position >= round.from => {
                child.phase = Phase::InRound;
                if round.stage == Stage::Starting {
                    round.at = round.at.min(child.position);
                }
            }
            _ => {
                self.start_child(id);
                if let Some(child) = self.children.get_mut(&id) {
                    child.alone = true;
                }
            }
        }
        self.step(now);
    }

    pub(super) fn start_child(&mut self, id: NodeId) {
        if let Some(child) = self.children.get_mut(&id) {
            child.phase = Phase::Starting;
            child.due = None;
            child.alone = self.round.is_none();
            self.actions.push(Action::Start(id));
        }
    }

    /// Asks a child to stop, or takes it out if it does not run; `then` is what becomes of it.
    pub(super) fn stop_child(&mut self, id: NodeId, then: Then, rule: StopRule, now: Moment) {
        let Some(child) = self.children.get_mut(&id) else { return };
        match child.phase {
            Phase::Down | Phase::Waiting | Phase::InRound => {
                self.becomes(id, then);
                return;
            }
            Phase::Stopping(Then::Forgotten | Then::Undone) => {}
            _ if child.fresh => child.phase = Phase::Stopping(Then::Undone),
            _ => child.phase = Phase::Stopping(then),
        }
        child.rebuilding = None;
        let (action, kill_at) = match rule {
            StopRule::Kill => (Action::Kill(id), None),
            StopRule::Within(limit) => (Action::Stop(id), Some(now.after(limit))),
            StopRule::Patient => (Action::Stop(id), None),
        };
        self.set_timer(id, kill_at);
        self.actions.push(action);
    }

    /// Nothing of a child runs any more.
    pub(super) fn becomes(&mut self, id: NodeId, then: Then) {
        self.set_timer(id, None);
        let Some(child) = self.children.get_mut(&id) else { return };
        let stoppers = std::mem::take(&mut child.stoppers);
        let mut then = then;
        let starter = child.starter.take();
        if starter.is_some() && child.fresh {
            then = Then::Undone;
        }
        let why = child.start_failed.take();
        let why = why.unwrap_or_else(|| "it was stopped before it had started".to_owned());
        match then {
            Then::InRound => child.phase = Phase::InRound,
            Then::Down => {
                child.phase = Phase::Down;
                child.failed_at = None;
                // If it ends altogether, what that means for them is a matter for its own supervisor.
                if self.is_on() {
                    self.actions.push(Action::Rest(id));
                }
            }
            Then::Forgotten | Then::Undone => {
                let position = child.position;
                self.children.remove(&id);
                self.order.remove(&position);
                let undone = then == Then::Undone;
                self.actions.push(if undone { Action::Undo(id) } else { Action::Forget(id) });
            }
        }
        self.actions.extend(starter.map(|ticket| Action::Answer(ticket, Err(why))));
        let gone = |ticket| Action::Answer(ticket, Ok(super::Done::Gone));
        self.actions.extend(stoppers.into_iter().map(gone));
    }

    /// It is down, and starts again at that moment.
    pub(super) fn waits(&mut self, id: NodeId, until: Moment) {
        if let Some(child) = self.children.get_mut(&id) {
            child.phase = Phase::Waiting;
            self.set_timer(id, Some(until));
        }
    }

    pub(super) fn set_timer(&mut self, id: NodeId, due: Option<Moment>) {
        let Some(child) = self.children.get_mut(&id) else { return };
        if let Some(before) = std::mem::replace(&mut child.due, due) {
            self.due.remove(&(before, id));
        }
        self.due.extend(due.map(|due| (due, id)));
    }
}
