//! How a subscription is paused, ends, and is given up.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::task::Waker;

use super::{Driver, Hand, Inner, Subscription};
use crate::clock::Moment;
use crate::message::Seq;
use crate::queue::fence::Fence;
use crate::queue::kept::Kept;
use crate::queue::waiting::load_between;

impl Subscription {
    /// No batch arrives any more; what waits is still handled.
    pub(crate) fn close(&self) {
        let mut inner = self.inner.lock();
        inner.closed = true;
        // Nobody can resume it any more, or make room in what it holds.
        inner.paused = false;
        inner.state.lift_bound();
        inner.most_held_weight = u64::MAX;
        let wakers = inner.wake_all();
        drop(inner);
        wakers.wake();
        self.leaving.notify_waiters();
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.inner.lock().closed
    }

    /// A driver of that host begins; `number` is the host's.
    pub(crate) fn join(&self, number: usize, host: Arc<Fence>) -> Driver {
        self.inner.lock().drivers.join(number, host)
    }

    /// A driver asks for nothing more.
    pub(crate) fn ends(&self, driver: Driver, of: &Fence) {
        let mut inner = self.inner.lock();
        if of.is_fenced() {
            return;
        }
        inner.drivers.leave(driver);
        let wakers = inner.wake_for_more(&self.wanted); // it may have been woken for something
        drop(inner);
        wakers.wake();
    }

    /// A host is to take nothing more, finish what it has in hand, and end.
    pub(crate) fn stop(&self, host: &Fence) {
        let mut inner = self.inner.lock();
        host.stop();
        let wakers = inner.drivers.wake_host(host);
        drop(inner);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// A host is given up, whatever its thread is at: what it had in hand is delivered again, as if
    /// it had never been, but for the event that blocked the thread, which has failed. Nothing that
    /// the host does has any effect from now on.
    pub(crate) fn fence(&self, host: &Fence, blocked: Option<Seq>) {
        let mut inner = self.inner.lock();
        if host.is_fenced() {
            return;
        }
        let hands = inner.drivers.leave_all(host);
        host.shut();
        let mut gone = Vec::new();
        for hand in hands {
            if let Hand::One(seq) | Hand::Kept(seq) = hand {
                if inner.is_done_early(seq) {
                    gone.extend(self.done_with(&mut inner, seq));
                    continue;
                }
                inner.ends_lease(seq);
            }
            match (hand, blocked) {
                (Hand::Range, Some(late)) => {
                    inner.late_in_line.insert(late);
                }
                (Hand::One(seq) | Hand::Kept(seq), Some(late)) if seq == late => {
                    inner.late.insert(seq);
                }
                // It counts as handled, and has failed.
                (Hand::One(seq) | Hand::Kept(seq), _) if inner.acknowledged.contains(&seq) => {
                    inner.late.insert(seq);
                }
                (Hand::Kept(seq), _) => inner.state.give_back(seq, None),
                (Hand::One(seq), _) => self.give_back(&mut inner, seq),
                (Hand::Nothing | Hand::Range | Hand::Delayed | Hand::Settled, _) => {}
            }
        }
        let wakers = inner.wake_one();
        drop(inner);
        drop(gone);
        wakers.wake();
        host.wake();
    }

    /// Its host is given up, but somebody has said that the event is done with.
    fn done_with(&self, inner: &mut Inner, seq: Seq) -> Option<Kept> {
        inner.ends_lease(seq);
        // As if its host had told so: what is in hand is held first, and then done.
        self.give_back(inner, seq);
        if let Some(news) = &mut inner.news {
            news.done(seq, true);
            self.news.store(true, SeqCst);
        }
        inner.state.finished(seq, None);
        inner.acquits(seq);
        inner.kept.remove(seq)
    }

    /// The thread of a host that was fenced is lost: what it had committed, and not told yet, is
    /// waited for no longer.
    pub(crate) fn write_off(&self, host: &Fence) {
        self.untold.fetch_sub(host.write_off(), SeqCst);
    }

    /// Whether that event has broken an instance before.
    pub(crate) fn has_broken(&self, seq: Seq) -> bool {
        let inner = self.inner.lock();
        // One that blocks a thread is in hand, and not somewhere else.
        let report = inner.kept.get(seq).and_then(|kept| kept.report.as_ref());
        report.is_some_and(|report| report.broke > 0)
    }

    /// An event that was in hand for its first delivery is held, and delivered as if for the first
    /// time.
    fn give_back(&self, inner: &mut Inner, seq: Seq) {
        let Some(hand) = inner.in_hand.remove(&seq) else { return };
        let load = load_between(&hand.batch, &self.wanted, hand.at, hand.at.next());
        inner.in_hand_load = inner.in_hand_load.less(load);
        if inner.counts(&hand.batch) {
            self.left.add(load);
        }
        inner.kept.insert(seq, hand.kept(&self.wanted));
        if let Some(news) = &mut inner.news {
            news.behind(seq);
            self.news.store(true, SeqCst);
        }
        inner.state.give_back(seq, hand.key);
    }

    /// Nobody is there to handle anything, nor about to be: what comes is kept within its bound, and
    /// no publisher waits for room in it. Or somebody is again.
    pub(crate) fn detach(&self, detached: bool) {
        self.detached.store(detached, SeqCst);
    }

    /// As [`Subscription::stall`], said by a host: it has no instance now, nor has any other, or it has
    /// one again.
    pub(crate) fn stalls(&self, by: &Fence, stalled: bool) {
        let _inner = self.inner.lock(); // so that of two that say it the last is right
        let knows_better = stalled && by.has_instances();
        if !by.is_fenced() && !knows_better {
            self.stall(stalled);
        }
    }

    /// Nobody is there now, and whoever stops the runtime does not wait for it; or somebody is again.
    pub(crate) fn stall(&self, stalled: bool) {
        // Of those who share it others may be there.
        self.stalled.store(stalled && !self.settings.shared, SeqCst);
    }

    /// No instance is there now, and one should be: it was not removed, and is not a pool's.
    pub(crate) fn has_nobody(&self) -> bool {
        let is_missed = !self.settings.shared && !self.is_closed();
        is_missed && (self.is_detached() || self.stalled.load(SeqCst))
    }

    /// So many instances are at an event now.
    pub(crate) fn busy(&self) -> usize {
        self.inner.lock().drivers.busy()
    }

    pub(crate) fn is_detached(&self) -> bool {
        self.detached.load(SeqCst)
    }

    /// Nobody is there, and there is no room for what comes.
    pub(crate) fn is_missing(&self) -> bool {
        let (waiting, bound) = (self.waiting(), self.settings.bound);
        self.is_detached() && (waiting.events >= bound.events || waiting.weight >= bound.weight)
    }

    /// Hands out nothing any more, whatever waits: the runtime stops, or there is nobody to handle
    /// it.
    pub(crate) fn halt(&self) {
        let mut inner = self.inner.lock();
        inner.halted = true;
        let wakers = inner.wake_all();
        drop(inner);
        wakers.wake();
        self.leaving.notify_waiters();
    }

    /// Nothing is done any more, not by whoever is still at it either.
    pub(crate) fn seal(&self) {
        self.inner.lock().sealed = true;
    }

    pub(crate) fn is_halted(&self) -> bool {
        self.inner.lock().halted
    }

    /// Resolves when it was closed or halted.
    pub(crate) async fn leaves(&self) {
        let called = self.leaving.notified();
        let leaves = {
            let inner = self.inner.lock();
            inner.halted || inner.closed
        };
        if !leaves {
            called.await;
        }
    }

    /// Hands out nothing fresh before that moment.
    pub(crate) fn press(&self, by: &Fence, until: Moment) {
        let mut inner = self.inner.lock();
        if !by.is_fenced() {
            inner.pressed_until = until;
        }
    }

    /// Paused, it hands out nothing, and its events wait.
    pub(crate) fn pause(&self, paused: bool) {
        let mut inner = self.inner.lock();
        inner.paused = paused && !inner.closed;
        let wakers = inner.wake_all();
        drop(inner);
        wakers.wake();
    }

    /// Whether what waits stays where it is until somebody resumes it or makes room.
    pub(crate) fn is_stuck(&self) -> bool {
        let inner = self.inner.lock();
        let moves = inner.drivers.is_busy() || self.has_untold();
        !moves
            && (self.stalled.load(SeqCst)
                || inner.paused
                || (inner.is_full() && inner.state.counts().active() == 0))
    }

    /// Whether it takes nothing new because too many events are held.
    pub(crate) fn is_stopped(&self) -> bool {
        self.inner.lock().is_full()
    }

    pub(crate) fn is_paused(&self) -> bool {
        self.inner.lock().paused
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::tests_support::subscription;
    use super::*;
    use crate::queue::settlement::Commit;

    /// Else what it had committed and not published yet would be lost at a shutdown's deadline.
    #[test]
    fn what_a_killed_host_has_committed_is_waited_for_unless_its_thread_is_lost() {
        for lost in [false, true] {
            let subscription = subscription();
            let host = Arc::new(Fence::default());
            let Some(committed) = subscription.commit(&host, Commit::default()) else {
                panic!("it is not fenced yet");
            };
            subscription.fence(&host, None);
            assert!(subscription.has_untold(), "it is about to publish");
            if lost {
                subscription.write_off(&host);
                assert!(!subscription.has_untold());
            }
            committed.finish(&subscription, &host);
            assert!(!subscription.has_untold());
            assert!(subscription.commit(&host, Commit::default()).is_none());
        }
    }

    #[test]
    fn only_who_is_not_fenced_says_that_nobody_is_there() {
        let subscription = subscription();
        let (gone, here) = (Arc::new(Fence::default()), Arc::new(Fence::default()));
        subscription.fence(&gone, None);
        subscription.stalls(&gone, true);
        assert!(!subscription.is_stuck());
        subscription.stalls(&here, true);
        assert!(subscription.is_stuck());
        here.instance_made();
        subscription.stalls(&here, false);
        subscription.stalls(&here, true);
        assert!(!subscription.is_stuck(), "it has an instance");
    }
}
