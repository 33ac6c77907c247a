//! One commit of a driver: what was staged since the last one, all of it or nothing.

use super::{BUDGET, Leases, Link};
use crate::clock::Moment;
use crate::queue::batch::{Events, Load};
use crate::queue::settlement::{Applies, Commit, Settle};
use crate::signal::Signal;

impl Link {
    /// Commits all that was staged: publications leave, state is kept, events are settled.
    pub(crate) fn commit(&self, settle: Option<Settle>) {
        self.commit_and_tell(settle, None, None);
    }

    /// As [`Link::commit`]; `applies` is carried out when it is sure that all else will be, and before anybody
    /// sees any of it.
    pub(crate) fn commit_with(&self, applies: Applies) {
        self.chunk.borrow_mut().applies = Some(applies);
        self.commit(None);
    }

    /// As [`Link::commit`]; hands out nothing fresh before `pressed_until`, and says `also` as well
    /// before the runtime may rest.
    pub(crate) fn commit_and_tell(
        &self,
        settle: Option<Settle>,
        pressed_until: Option<Moment>,
        also: Option<&Signal<'_>>,
    ) {
        let (outbox, leases, states, delayed, (facts, answers, applies)) = {
            let chunk = &mut *self.chunk.borrow_mut();
            let outbox = match self.mark.take() {
                0 => Events::new(self.broker.signals.clone()),
                mark if mark == chunk.outbox.len() => {
                    let fresh = chunk.outbox.another();
                    std::mem::replace(&mut chunk.outbox, fresh)
                }
                mark => {
                    let rest = chunk.outbox.split_off(mark);
                    std::mem::replace(&mut chunk.outbox, rest)
                }
            };
            self.published.set(chunk.outbox.len());
            self.heavy.set(false);
            self.commits.set(self.commits.get() + 1);
            chunk.now = None;
            chunk.delayed_load = Load::default();
            let (emitted, in_hand) = (&mut chunk.emitted, &chunk.outbox);
            let leases: Leases =
                emitted.iter_mut().filter_map(|of| of.take_used(in_hand)).collect();
            let staged = chunk.staged.drain();
            let states: Vec<_> =
                staged.map(|(name, (value, stored))| (name, value, stored)).collect();
            let delayed = std::mem::take(&mut chunk.delayed);
            let told = (
                std::mem::take(&mut chunk.facts),
                std::mem::take(&mut chunk.answers),
                chunk.applies.take(),
            );
            (outbox, leases, states, delayed, told)
        };
        let to = self.progress.take();
        let failed = settle.as_ref().is_some_and(Settle::is_failure) && to.is_some();
        let by = Some(self.driver);
        // With a log, what was published goes there together with all else.
        let (kept, outbox) = match self.broker.journal {
            Some(_) => (Some(outbox).filter(|outbox| !outbox.is_empty()), None),
            None => (None, Some(outbox)),
        };
        // Somebody waits for what they say.
        let tells = answers.iter().any(|answer| !answer.runs_ahead());
        let publishes = kept.is_some();
        let commit = Commit {
            by,
            to,
            settle,
            states,
            outbox: kept,
            delayed,
            facts,
            answers,
            applies,
            pressed_until,
        };
        // The runtime does not rest before it is finished, and whoever sees the publications sees the
        // state of the same commit. Too late, and nothing of it happens.
        let Some(committed) = self.subscription.commit(&self.fence, commit) else { return };
        let outbox = outbox.unwrap_or_else(|| Events::new(self.broker.signals.clone()));
        if !(leases.is_empty() && outbox.is_empty()) {
            // Its own topics are another matter: it would wait for itself.
            let wanted = &self.subscription.wanted;
            let of_others = |topic| wanted.which(topic).is_none();
            self.pressure.by_readers(self.broker.flush(
                self.holder,
                outbox,
                &leases,
                of_others,
                u64::from(BUDGET),
            ));
        }
        let events = self.handled.take() + committed.passed - u64::from(failed);
        let filtered = self.filtered.take();
        self.measured.with_samples(|samples| {
            if events > 0 || !samples.is_empty() {
                let processor = &self.subscription.name;
                let signal = Signal::Handled { processor, events, filtered, samples };
                self.broker.signals.state(&signal);
            }
        });
        if let Some(signal) = also {
            self.broker.signals.state(signal);
        }
        // Before nothing is untold: whoever waits for rest must not look in between.
        let ahead = publishes && self.subscription.settings.runs_ahead;
        let ahead = ahead && self.broker.sequencer.run_ahead(&self.subscription);
        self.broker.has_news(&self.subscription, tells || (publishes && !ahead));
        committed.finish(&self.subscription, &self.fence);
        self.broker.progressed(&self.subscription);
    }

    /// Commits what a hook staged, if it staged anything.
    pub(crate) fn commit_if_staged(&self) {
        let staged = {
            let chunk = self.chunk.borrow();
            self.mark.get() > 0
                || !(chunk.staged.is_empty()
                    && chunk.delayed.is_empty()
                    && chunk.answers.is_empty()
                    && chunk.facts.is_empty())
        };
        if staged {
            self.commit(None);
        }
    }
}
