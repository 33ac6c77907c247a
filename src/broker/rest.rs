//! Whether there is anything left to do: asked by whoever waits for the runtime to rest.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::door::{Door, Gate};
use super::handle::Broker;
use super::intake::Watch;
use crate::queue::state::Counts;

impl Door {
    /// Whether no subscription has anything to do: nothing waiting, in hand or retrying.
    pub(crate) fn is_idle(&self) -> bool {
        self.gates.iter().flatten().all(|gate| self.is_idle_at(gate))
    }

    /// Whether no subscription has anything waiting or in hand, but for those that somebody would
    /// have to resume, or make room in; retries may be due later.
    pub(crate) fn is_drained(&self) -> bool {
        let now = |held: Counts| held.ready + held.in_hand;
        let mut gates = self.gates.iter().flatten();
        gates.all(|gate| self.rests_at(gate, now) || gate.subscription.is_stuck())
    }

    pub(super) fn is_idle_at(&self, gate: &Gate) -> bool {
        self.rests_at(gate, |held| held.active())
    }

    /// Whether nothing waits, nothing is done and not told, and nothing is left of what is held as
    /// `of_held` counts it. A subscription that hands out nothing any more keeps nobody waiting.
    fn rests_at(&self, gate: &Gate, of_held: impl Fn(Counts) -> usize) -> bool {
        let subscription = &gate.subscription;
        let rests = self.waiting(gate).events == 0
            && !subscription.is_behind()
            && of_held(subscription.counts()) == 0
            && !subscription.has_untold();
        rests || subscription.is_halted() || subscription.is_detached()
    }
}

impl Broker {
    /// Ready when `rest` says so; asked again whenever somebody made progress.
    pub(crate) fn rest(&self, rest: fn(&Door) -> bool) -> Rest<'_> {
        self.intake.watch(Watch::Rest);
        Rest { broker: self, rest, number: self.intake.next_rester() }
    }
}

/// Resolves when the runtime rests.
pub(crate) struct Rest<'a> {
    broker: &'a Broker,
    rest: fn(&Door) -> bool,
    number: u64,
}

impl Future for Rest<'_> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<()> {
        self.broker.intake.await_rest(self.number, task.waker());
        let inner = self.broker.intake.lock();
        if inner.is_empty() && (self.rest)(&inner.door) {
            return Poll::Ready(());
        }
        Poll::Pending
    }
}

impl Drop for Rest<'_> {
    fn drop(&mut self) {
        self.broker.intake.unwatch(Watch::Rest);
        self.broker.intake.forget_rester(self.number);
    }
}
