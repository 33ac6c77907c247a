//! What a failure, or an end, of a child leads to. Pure.

use std::time::Duration;

use super::child::{Child, Phase, Rebuilding, Then};
use super::{Action, Fault, NodeId, Now, Policy, Verdict};
use crate::clock::Moment;
use crate::supervise::options::{AutoShutdown, OnExit, Reason, Restart, StopRule, Strategy};

impl Policy {
    /// A child failed and could rebuild itself; `whole` if nothing of it runs any more.
    pub(crate) fn broke(
        &mut self,
        id: NodeId,
        cause: String,
        whole: bool,
        advice: OnExit,
        now: Now,
    ) -> Verdict {
        let Some(child) = self.children.get_mut(&id) else { return Verdict::End };
        if !child.expected_to_run() {
            return Verdict::End;
        }
        child.said = true;
        self.actions.push(Action::Ended(id, Reason::Failed(cause.clone())));
        // It is going to be stopped anyway, or starts again with those that failed before it.
        if let Some(then) = self.goes_with_the_others(id) {
            self.stop_child(id, then, StopRule::Kill, now.at);
            self.step(now.at);
            return Verdict::End;
        }
        let verdict = match self.failed(id, Fault { child: id, path: None, cause }, advice, now) {
            Some(wait) if self.flags.strategy == Strategy::OneForOne => {
                if let Some(child) = self.children.get_mut(&id) {
                    child.said = false;
                    child.due = Some(now.at.after(wait));
                    child.rebuilding =
                        Some(if whole { Rebuilding::Whole } else { Rebuilding::InPart });
                }
                Verdict::Rebuild(wait)
            }
            Some(wait) => {
                self.stop_child(id, Then::InRound, StopRule::Kill, now.at);
                self.begin_round(id, now.at.after(wait));
                Verdict::End
            }
            None => {
                let then = self.then_of_failed(id, advice);
                self.stop_child(id, then, StopRule::Kill, now.at);
                Verdict::End
            }
        };
        self.step(now.at);
        verdict
    }

    /// A child has ended, asked or of its own accord; nothing of it runs any more. A supervisor that
    /// gave up says because of what.
    pub(crate) fn ended(
        &mut self,
        id: NodeId,
        reason: Reason,
        because: Option<Fault>,
        advice: OnExit,
        now: Now,
    ) {
        let Some(child) = self.children.get_mut(&id) else { return };
        child.rebuilding = None;
        let (phase, said) = (child.phase, std::mem::take(&mut child.said));
        if !child.lives() {
            return;
        }
        if !said {
            self.actions.push(Action::Ended(id, reason.clone()));
        }
        match phase {
            Phase::Stopping(Then::InRound) | Phase::Starting | Phase::Up if !self.is_on() => {
                self.becomes(id, Then::Down);
            }
            Phase::Stopping(then) => self.becomes(id, then),
            _ => match self.goes_with_the_others(id) {
                Some(then) => self.becomes(id, then),
                None => self.ended_by_itself(id, reason, because, advice, now),
            },
        }
        self.step(now.at);
    }

    fn ended_by_itself(
        &mut self,
        id: NodeId,
        reason: Reason,
        because: Option<Fault>,
        advice: OnExit,
        now: Now,
    ) {
        let Some(child) = self.children.get_mut(&id) else { return };
        let stays = match child.rule.restart {
            Restart::Permanent => false,
            Restart::Transient => reason.is_normal(),
            Restart::Temporary => true,
        };
        let escalates = advice == OnExit::Escalate;
        if stays && child.starter.is_none() && !escalates {
            let forget = child.rule.restart == Restart::Temporary || self.flags.pool;
            let significant = child.rule.significant;
            self.becomes(id, if forget { Then::Forgotten } else { Then::Down });
            self.may_shut_down(id, significant, now.at);
            return;
        }
        // It is not to be stopped if everything ends.
        child.phase = Phase::Down;
        let fault =
            because.unwrap_or_else(|| Fault { child: id, path: None, cause: reason.to_string() });
        match self.failed(id, fault, advice, now) {
            Some(wait) if self.flags.strategy == Strategy::OneForOne => {
                self.waits(id, now.at.after(wait));
                self.tick(now);
            }
            Some(wait) => {
                self.becomes(id, Then::InRound);
                self.begin_round(id, now.at.after(wait));
            }
            None => {
                let then = self.then_of_failed(id, advice);
                self.becomes(id, then);
            }
        }
    }

    /// A child failed. After how long it, and whom the strategy says, starts again; none if it does
    /// not, or everything ends.
    fn failed(&mut self, id: NodeId, fault: Fault, advice: OnExit, now: Now) -> Option<Duration> {
        let child = self.children.get_mut(&id)?;
        child.last_failure = Some(fault.cause.clone());
        if child.starter.is_some() {
            child.start_failed = Some(fault.cause); // said when nothing of it is left
            return None;
        }
        child.failed_at.get_or_insert(now.at);
        let temporary = child.rule.restart == Restart::Temporary;
        if advice == OnExit::Escalate
            || (advice == OnExit::Restart
                && !temporary
                && self.window.exceeds(self.flags.intensity, now.at))
        {
            self.end(Reason::Shutdown, Some(fault), now.at);
            return None;
        }
        if temporary || advice == OnExit::Stop {
            let significant = child.rule.significant;
            self.may_shut_down(id, significant, now.at);
            return None;
        }
        let wait = child.failures.one_more(self.flags.backoff, now.at, now.jitter);
        child.restarts += 1;
        self.actions.push(Action::Restart(id, wait));
        Some(wait)
    }

    fn then_of_failed(&self, id: NodeId, advice: OnExit) -> Then {
        let child = self.children.get(&id);
        match child {
            _ if !self.is_on() => Then::Down, // whoever asks because of whom it ended finds it
            Some(child) if child.fresh => Then::Undone,
            Some(child) if child.rule.restart == Restart::Temporary => Then::Forgotten,
            Some(_) if self.flags.pool && advice == OnExit::Stop => Then::Forgotten,
            _ => Then::Down,
        }
    }

    /// What becomes of a child that fails while a supervisor that ends, or a round, is about to stop it
    /// anyway: that is no failure more.
    fn goes_with_the_others(&self, id: NodeId) -> Option<Then> {
        if !self.is_on() {
            return Some(Then::Down);
        }
        let child = self.children.get(&id)?;
        let stops = self.round.is_some_and(|round| round.stops(child.position));
        let temporary = child.rule.restart == Restart::Temporary;
        stops.then_some(if temporary { Then::Forgotten } else { Then::InRound })
    }

    /// A child has ended of its own accord.
    fn may_shut_down(&mut self, id: NodeId, ended: bool, now: Moment) {
        let significant = |child: &Child| child.rule.significant;
        let others = self
            .children
            .iter()
            .any(|(other, child)| *other != id && significant(child) && child.phase != Phase::Down);
        let shuts_down = match self.flags.auto_shutdown {
            AutoShutdown::Never => false,
            AutoShutdown::AnySignificant => ended,
            AutoShutdown::AllSignificant => ended && !others,
        };
        if shuts_down && self.is_on() {
            self.end(Reason::Shutdown, None, now);
        }
    }
}
