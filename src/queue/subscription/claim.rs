//! How a thread gets work: what is due, what is next, and whether it may start.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::task::Waker;

use super::drivers::home_of;
use super::durable::News;
use super::late::Late;
use super::trial::Stance;
use super::{Driver, Hand, InHand, Inner, Subscription, Wakers, key_of};
use crate::clock::Moment;
use crate::message::{Key, Seq};
use crate::queue::batch::{Batch, Events};
use crate::queue::fence::Fence;
use crate::queue::kept::Kept;
use crate::queue::state::Offer;
use crate::queue::waiting::{Cursor, Wanted};
use crate::signal::Signal;

/// How many held events are handed out before fresh ones have their turn, a range of them or one:
/// few enough that one which is retried without any wait keeps nobody waiting, and many enough that
/// they do not pile up.
const HELD_BEFORE_A_RANGE: u32 = 64;
const HELD_BEFORE_ONE: u32 = 4;

/// What a thread gets to do.
pub(crate) enum Claim {
    /// The front batch between two places; the thread tells by commits how far it came.
    Range { batch: Arc<Batch>, from: Cursor, end: Cursor, clear: bool },
    /// One event, which is in hand until it is settled.
    /// `home` says which instance its key prefers.
    One { batch: Arc<Batch>, at: Cursor, which: u16, home: Option<u64> },
    /// A held event, and how often it failed.
    Kept { seq: Seq, failures: u32, kept: Kept },
    /// An event that has failed in another way than by its handler's outcome.
    Late { seq: Seq, failures: u32, kept: Kept, why: Late },
    /// As `Late`, the first of the front batch.
    LateFirst { batch: Arc<Batch>, at: Cursor, which: u16 },
    /// Publications whose time has come.
    Publish(u64, Events),
    /// Nothing now; something held is due then.
    Nothing { due: Option<Moment> },
    /// Nothing now and nothing to come.
    Closed,
}

impl Subscription {
    /// Hands out work to a driver of that host; with nothing to do, remembers whom to wake.
    pub(crate) fn claim(&self, driver: Driver, of: &Fence, waker: &Waker) -> Claim {
        let mut stopped = None;
        let claim = self.claim_quietly(driver, of, waker, &mut stopped);
        self.say_held(stopped);
        claim
    }

    fn claim_quietly(
        &self,
        driver: Driver,
        of: &Fence,
        waker: &Waker,
        stopped: &mut Option<bool>,
    ) -> Claim {
        let mut known: Option<(Seq, Result<Option<Key>, String>, Option<Kept>)> = None;
        loop {
            let now = self.clock.now();
            let mut inner = self.inner.lock();
            if of.is_fenced() {
                return Claim::Closed;
            }
            inner.drivers.gets_up(driver);
            if inner.halted || of.is_stopping() {
                return Claim::Closed;
            }
            let stance = self.stance();
            let through = inner.on_trial.is_empty() || inner.drivers.is_busy();
            let waits = (stance == Stance::Alone && through)
                || inner.news.as_ref().is_some_and(News::is_much);
            if waits || stance == Stance::Barred {
                inner.drivers.rests(driver, waker);
                return Claim::Nothing { due: None };
            }
            *stopped = inner.held_changed().or(*stopped);
            let free = !inner.paused && !inner.is_full() && now >= inner.pressed_until;
            let most = if self.one_by_one { HELD_BEFORE_ONE } else { HELD_BEFORE_A_RANGE };
            if let Some((claim, hand)) = inner.claim_late(&self.wanted) {
                inner.drivers.takes(driver, hand);
                return claim;
            }
            let fresh_next =
                inner.held_in_a_row >= most && free && inner.line.first(&self.wanted).is_some();
            if !fresh_next && let Some(claim) = inner.claim_held(now) {
                inner.held_in_a_row = inner.held_in_a_row.saturating_add(1);
                let hand = match &claim {
                    Claim::Kept { seq, .. } | Claim::Late { seq, .. } => Hand::Kept(*seq),
                    _ => {
                        self.about_to_tell(of);
                        Hand::Delayed
                    }
                };
                inner.drivers.takes(driver, hand);
                self.note_hunger(&mut inner);
                let more = inner.wake_for_more(&self.wanted);
                drop(inner);
                more.wake();
                return claim;
            }
            if let Some((batch, at, which)) =
                inner.line.first(&self.wanted).filter(|_| free).map(|(b, a, w)| (b.clone(), a, w))
            {
                let run = &batch.events.runs()[at.run as usize];
                let seq = batch.seq(run, at.index);
                let alone = stance == Stance::Alone || inner.suspects.contains_key(&seq);
                if !(self.one_by_one || alone) {
                    inner.held_in_a_row = 0;
                    inner.drivers.takes(driver, Hand::Range);
                    let end = inner.line.batches.front().map_or(at, |front| front.end);
                    let end = inner.before_the_late(&batch, end);
                    let clear = inner.is_clear();
                    self.note_hunger(&mut inner);
                    return Claim::Range { batch, from: at, end, clear };
                }
                let Some((_, key, kept)) = known.take().filter(|(of, _, _)| *of == seq) else {
                    drop(inner);
                    let key = key_of(&batch, at);
                    let panicked = key.is_err();
                    let kept = panicked.then(|| Kept::encoded(&batch, at.run, at.index, which));
                    known = Some((seq, key, kept));
                    continue;
                };
                let (key, kept) = match (key, kept) {
                    (Ok(key), kept) => (key, kept),
                    (Err(panic), kept) => {
                        let park = |kept| self.park_keyless(of, inner, at, seq, kept, panic);
                        match kept.and_then(park) {
                            Some(parked) => parked.finish(self, of),
                            None => return Claim::Closed,
                        }
                        continue;
                    }
                };
                let waits = key.as_ref().is_some_and(|key| inner.state.waits_long(key));
                let logged = run.stored && inner.is_readable(seq);
                if waits && !logged && kept.is_none() {
                    drop(inner);
                    let kept = Kept::encoded(&batch, at.run, at.index, which);
                    known = Some((seq, Ok(key), Some(kept)));
                    continue;
                }
                let home = key.as_ref().map(home_of);
                if let Some(other) = self.idle_at_home(&mut inner, driver, home) {
                    if std::mem::take(&mut inner.held_in_a_row) > 0 && inner.state.has_ready() {
                        drop(inner);
                        other.wake();
                        continue;
                    }
                    inner.drivers.rests(driver, waker);
                    let due = inner.next_due(now);
                    drop(inner);
                    other.wake();
                    return Claim::Nothing { due };
                }
                match inner.state.offer(seq, key.as_ref()) {
                    Offer::Start => {
                        let (load, gone) = inner.line.advance(at.next(), &self.wanted);
                        inner.held_in_a_row = 0;
                        inner.drivers.takes(driver, Hand::One(seq));
                        inner.in_hand_load.add(load);
                        let hand = InHand { batch: batch.clone(), at, key };
                        let died = inner.suspects.remove(&seq);
                        let died = died.map(|times| (Late::Died(times), hand.kept(&self.wanted)));
                        inner.in_hand.insert(seq, hand);
                        self.note_hunger(&mut inner);
                        let more = inner.wake_for_more(&self.wanted);
                        drop(inner);
                        drop(gone);
                        more.wake();
                        if let Some((why, kept)) = died {
                            return Claim::Late { seq, failures: 0, kept, why };
                        }
                        return Claim::One { batch, at, which, home };
                    }
                    Offer::Behind => {
                        let mut kept =
                            kept.unwrap_or_else(|| Kept::pinned(&batch, at.run, at.index, which));
                        kept.key = key;
                        let kept = inner.keep_behind(seq, kept);
                        self.tell_behind(&mut inner, seq);
                        let (load, gone) = inner.line.advance(at.next(), &self.wanted);
                        if inner.counts(&batch) {
                            self.left.add(load);
                        }
                        drop(inner);
                        drop((gone, kept));
                        continue;
                    }
                    Offer::Full => {}
                }
            }
            if std::mem::take(&mut inner.held_in_a_row) > 0 && inner.state.has_ready() {
                continue; // Nothing fresh could start after all.
            }
            if inner.is_finished() {
                return Claim::Closed;
            }
            self.note_hunger(&mut inner);
            inner.drivers.rests(driver, waker);
            return Claim::Nothing { due: inner.next_due(now) };
        }
    }

    /// If the key's home is another thread that has nothing to do, it shall have the event.
    fn idle_at_home(&self, inner: &mut Inner, me: Driver, home: Option<u64>) -> Option<Waker> {
        if self.settings.hosts < 2 {
            return None;
        }
        let host = (home? % self.settings.hosts as u64) as usize;
        if host == inner.drivers.host(me) {
            return None;
        }
        inner.drivers.wake_at_host(host)
    }

    /// Whether the next event of a claimed range may start: with exceptions about, each is asked
    /// for. `Behind` means that its key is taken; [`Subscription::put_behind`] moves it aside.
    /// `Full` means that nothing starts now: for a host that is fenced nothing ever does.
    pub(crate) fn may_start(&self, by: &Fence, key: Option<&Key>) -> Offer {
        let mut inner = self.inner.lock();
        let stopped = inner.held_changed();
        // One instance: nothing else starts meanwhile, so that it is busy need not be recorded.
        let offer = match key {
            _ if by.is_fenced() || inner.is_full() => Offer::Full,
            Some(key) if inner.state.is_taken(key) => Offer::Behind,
            _ => Offer::Start,
        };
        drop(inner);
        self.say_held(stopped);
        offer
    }

    /// Moves the event at `at` of the front batch behind its key's head. `Start` if the key has become
    /// free meanwhile, `Full` if nothing starts now: others decide about what a fenced host had.
    pub(crate) fn put_behind(
        &self,
        by: &Fence,
        seq: Seq,
        key: Key,
        mut kept: Kept,
        at: Cursor,
    ) -> Offer {
        let mut inner = self.inner.lock();
        if by.is_fenced() {
            return Offer::Full;
        }
        let offer = inner.state.offer(seq, Some(&key));
        if offer != Offer::Behind {
            return offer;
        }
        kept.key = Some(key);
        let kept = inner.keep_behind(seq, kept);
        self.tell_behind(&mut inner, seq);
        let counts = inner.line.batches.front().is_some_and(|front| inner.counts(&front.batch));
        let (load, gone) = inner.line.advance(at.next(), &self.wanted);
        if counts {
            self.left.add(load);
        }
        drop(inner);
        drop((gone, kept));
        Offer::Behind
    }

    fn tell_behind(&self, inner: &mut Inner, seq: Seq) {
        if let Some(news) = &mut inner.news {
            news.behind(seq);
            self.news.store(true, SeqCst);
            self.note_hunger(inner);
        }
    }

    /// Whether first deliveries need not be asked for.
    pub(crate) fn is_clear(&self) -> bool {
        self.inner.lock().is_clear()
    }

    fn say_held(&self, stopped: Option<bool>) {
        if let Some(stopped) = stopped {
            self.signals.state(&Signal::Held { processor: &self.name, stopped });
        }
    }
}

impl Inner {
    fn claim_held(&mut self, now: Moment) -> Option<Claim> {
        if self.paused {
            return None;
        }
        if let Some((number, events)) = self.delayed.pop(Some(now)) {
            return Some(Claim::Publish(number, events));
        }
        let (seq, failures, kept) = loop {
            if self.fetches_enough() {
                return None;
            }
            let (seq, failures) = self.state.next(now)?;
            match self.kept.get(seq) {
                Some(kept) => break (seq, failures, kept.clone()),
                None => self.wants(seq),
            }
        };
        let died = self.suspects.remove(&seq).map(Late::Died);
        let over = self.ends_lease(seq).then_some(Late::LeaseOver);
        Some(match died.or(over) {
            None => Claim::Kept { seq, failures, kept },
            Some(why) => Claim::Late { seq, failures, kept, why },
        })
    }

    /// Whether taking stopped, or goes on, because of what is held; told once a change.
    fn held_changed(&mut self) -> Option<bool> {
        let stopped = self.is_full();
        (stopped != std::mem::replace(&mut self.stopped, stopped)).then_some(stopped)
    }

    fn next_due(&self, now: Moment) -> Option<Moment> {
        if self.paused {
            return None; // whoever resumes it wakes who waits
        }
        let delayed = self.delayed.next_due();
        let pressed = (self.pressed_until > now).then_some(self.pressed_until);
        [self.state.next_due(), delayed, pressed].into_iter().flatten().min()
    }

    pub(super) fn wake_for_more(&mut self, wanted: &Wanted) -> Wakers {
        if !self.drivers.is_idle() || (self.line.first(wanted).is_none() && !self.state.has_ready())
        {
            return Wakers::default();
        }
        self.wake_one()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::tests_support::subscription;
    use super::*;

    /// Else its driver would set its timer to a time that is over, again and again.
    #[test]
    fn paused_with_something_due_it_names_no_time() {
        let subscription = subscription();
        subscription.pause(true);
        let host = Arc::new(Fence::default());
        subscription.about_to_tell(&host);
        subscription.delay(0, Moment::default(), Events::new(subscription.signals.clone()));
        subscription.told(&host);
        let me = subscription.join(0, host.clone());
        let claim = |subscription: &Subscription| subscription.claim(me, &host, Waker::noop());
        assert!(matches!(claim(&subscription), Claim::Nothing { due: None }));
        subscription.pause(false);
        assert!(matches!(claim(&subscription), Claim::Publish(..)));
    }
}
