//! How a subscription is paused, ends, and is given up.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::task::Waker;

use super::{Driver, Hand, InHand, Inner, Subscription};
use crate::clock::Moment;
use crate::message::Seq;
use crate::queue::fence::Fence;
use crate::queue::kept::Kept;
use crate::queue::state::Verdict;
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
        if !of.is_fenced() {
            inner.drivers.leave(driver);
        }
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
        let now = self.clock.now();
        let mut inner = self.inner.lock();
        if host.is_fenced() {
            return;
        }
        let hands = inner.drivers.leave_all(host);
        host.shut();
        self.untold.fetch_sub(host.write_off(), SeqCst);
        for hand in hands {
            match (hand, blocked) {
                (Hand::Range, Some(late)) => {
                    inner.late_in_line.insert(late);
                }
                (Hand::One(seq) | Hand::Kept(seq), Some(late)) if seq == late => {
                    inner.late.push(hand);
                }
                (Hand::Kept(seq), _) => inner.state.give_back(seq),
                (Hand::One(seq), _) => self.give_back(&mut inner, seq, now),
                (Hand::Nothing | Hand::Range | Hand::Delayed | Hand::Settled, _) => {}
            }
        }
        let wakers = inner.wake_all();
        drop(inner);
        wakers.wake();
        host.wake();
    }

    /// Whether that event has broken an instance before.
    pub(crate) fn has_broken(&self, seq: Seq) -> bool {
        let inner = self.inner.lock();
        let report = inner.kept.get(seq).and_then(|kept| kept.report.as_ref());
        report.is_some_and(|report| report.broke > 0)
    }

    /// An event that was in hand for its first delivery is held, and delivered as if for the first
    /// time.
    fn give_back(&self, inner: &mut Inner, seq: Seq, now: Moment) {
        let Some(InHand { batch, at, key }) = inner.in_hand.remove(&seq) else { return };
        let topic = batch.events.runs()[at.run as usize].head.topic;
        let Some(which) = self.wanted.which(topic) else { return };
        let load = load_between(&batch, &self.wanted, at, at.next());
        inner.in_hand_load = inner.in_hand_load.less(load);
        self.left.add(load);
        let mut kept = Kept::pinned(&batch, at.run, at.index, which);
        kept.key.clone_from(&key);
        inner.kept.insert(seq, kept);
        inner.state.failed(seq, key, 0, Verdict::Retry(now));
    }

    /// Nobody is there to handle anything, nor about to be: what comes is kept within its bound, and
    /// no publisher waits for room in it. Or somebody is again.
    pub(crate) fn detach(&self, detached: bool) {
        self.detached.store(detached, SeqCst);
    }

    /// Nobody is there now, and whoever stops the runtime does not wait for it; or somebody is again.
    pub(crate) fn stall(&self, stalled: bool) {
        // Of those who share it others may be there.
        self.stalled.store(stalled && !self.settings.shared, SeqCst);
    }

    /// It was closed, and nothing is left in it.
    pub(crate) fn has_nothing_left(&self) -> bool {
        let inner = self.inner.lock();
        inner.closed && inner.kept.is_empty() && inner.line.batches.is_empty()
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
    pub(crate) fn press(&self, until: Moment) {
        self.inner.lock().pressed_until = until;
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
