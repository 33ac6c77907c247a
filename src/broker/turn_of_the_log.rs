//! The turn where there is a log: what lies in the intake gets its place, is written, and only then
//! handed out.

use std::time::Duration;

use super::intake::Entry;
use super::sequencer::{Order, Placed, Sequencer};
use crate::clock::Moment;
use crate::queue::Subscription;
use crate::queue::batch::Load;

/// For so long what was handed out already waits for something else to be written with.
const WITH_OTHERS: Duration = Duration::from_millis(1);

impl Sequencer {
    /// Gives what lies in the intake its place, for whoever writes it before it is handed out; with
    /// `more` that is to be written in any case. Whether there is anything: a group, that is, and each
    /// has its number.
    pub(crate) fn take(&self, into: &mut Vec<Placed>, more: bool) -> bool {
        let order = &mut *self.order.lock();
        let (entries, news, any) = {
            let mut inner = self.intake.lock();
            let (entries, news) = (inner.take(), inner.take_news());
            let nothing_else = entries.is_empty() && news.is_empty() && !more && !inner.closed;
            if nothing_else && self.clock.now().since(order.ahead_since) < WITH_OTHERS {
                return false; // it is written with what follows from it
            }
            let ahead = std::mem::take(&mut inner.ahead) > 0;
            inner.writing = more || ahead || !(entries.is_empty() && news.is_empty());
            inner.taken += u64::from(inner.writing);
            (entries, news, inner.writing)
        };
        into.append(&mut order.ahead);
        let mut begun = Vec::new();
        for entry in entries {
            let placed = self.place(order, entry);
            if let Placed::Subscribe(subscription, _) = &placed {
                subscription.begin(order.next);
                begun.push(subscription.clone());
            }
            into.push(placed);
        }
        // Behind whoever subscribes before it: one that goes on with what an earlier process left may
        // have published something already.
        for subscription in begun.into_iter().chain(news) {
            into.extend(self.news(order, &subscription));
        }
        let is_unhanded = |placed: &Placed| {
            matches!(placed, Placed::Batch(_) | Placed::News(_, Some(_)) | Placed::Subscribe(..))
        };
        order.unhanded = into.iter().any(is_unhanded);
        any
    }

    /// What that subscription publishes may be handed out before it is written, and is, if everything that
    /// has its place before it has been handed out. False if it has to wait.
    pub(crate) fn run_ahead(&self, subscription: &Subscription) -> bool {
        let order = &mut *self.order.lock();
        // Whoever is about to subscribe has been told that it is there.
        let subscribes = |entry: &Entry| matches!(entry, Entry::Subscribe(..));
        if order.unhanded || self.intake.lock().sealed.iter().any(subscribes) {
            return false;
        }
        let Some(mut told) = subscription.take_news() else { return true };
        if order.ahead.is_empty() {
            order.ahead_since = self.clock.now();
        }
        if !told.answers.is_empty() {
            order.ahead_since = Moment::default(); // somebody waits for them
        }
        self.intake.lock().ahead += 1;
        let Some(outbox) = told.outbox.take() else {
            order.ahead.push(Placed::News(told, None));
            return true;
        };
        let batch = self.give_place(order, outbox);
        order.ahead.push(Placed::Ahead(told, batch.clone()));
        self.broadcast(order, batch);
        let passed = std::mem::take(&mut order.passed);
        self.lanes[0].take_over(passed);
        self.say_progress();
        true
    }

    /// What a subscription has to tell to the log.
    fn news(&self, order: &mut Order, subscription: &Subscription) -> Option<Placed> {
        let mut told = subscription.take_news()?;
        let batch = told.outbox.take().map(|outbox| {
            let load = Load::new(u64::from(outbox.len()), outbox.stored().len() as u64);
            self.intake.lock().door.unwritten.add(load);
            self.give_place(order, outbox)
        });
        Some(Placed::News(told, batch))
    }

    /// Hands out what has been written.
    pub(crate) fn hand_out(&self, placed: &mut Vec<Placed>) {
        let order = &mut *self.order.lock();
        let written = Self::load_of(placed);
        placed.drain(..).for_each(|placed| self.hand_on(order, placed));
        order.unhanded = false;
        // The thread that writes drops nothing: `Drop` is user code.
        self.lanes[0].take_over(std::mem::take(&mut order.passed));
        self.are_through(written);
    }

    /// What was taken could not be written. What processors do from now on would not be kept either.
    pub(crate) fn give_up(&self, placed: &mut Vec<Placed>) {
        let written = Self::load_of(placed);
        self.intake.lock().door.halt_all();
        for placed in placed.drain(..) {
            if let Placed::Batch(batch) | Placed::News(_, Some(batch)) = placed {
                self.lanes[0].push_unwanted(batch);
            }
        }
        self.are_through(written);
    }

    fn load_of(placed: &[Placed]) -> Load {
        let mut load = Load::default();
        for placed in placed {
            if let Placed::Batch(batch) | Placed::News(_, Some(batch)) = placed {
                let (events, bytes) = (batch.events.len(), batch.events.stored().len());
                load.add(Load::new(u64::from(events), bytes as u64));
            }
        }
        load
    }

    fn are_through(&self, written: Load) {
        {
            let mut inner = self.intake.lock();
            inner.door.unwritten.take_away(written);
            inner.writing = false;
        }
        self.say_progress();
    }
}
