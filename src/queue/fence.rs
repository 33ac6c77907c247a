//! A host as others know it: whether it may go on, and what it has not told yet. A host is what
//! runs some instances of a processor on one thread.
//!
//! The fence is what makes a late result harmless (M. Kleppmann, "How to do distributed locking"):
//! a host that was killed, or whose thread is stuck, is *fenced*, and from then on nothing it does
//! has any effect, although its thread may still be at it.

use std::sync::Arc;
use std::sync::atomic::{
    AtomicBool, AtomicU32, AtomicUsize,
    Ordering::{Relaxed, SeqCst},
};
use std::task::Waker;

use parking_lot::Mutex;
use tokio::sync::Notify;

/// Set in the count of its instances when none counts any more.
const SHUT: usize = 1 << (usize::BITS - 1);
/// Set in the count of what is untold when it is nobody's any more.
const NOBODYS: u32 = 1 << 31;

/// A host as others know it.
#[derive(Debug, Default)]
pub(crate) struct Fence {
    stopping: AtomicBool,
    fenced: AtomicBool,
    changed: Notify,
    /// Who polls all that the host does.
    waker: Mutex<Option<Waker>>,
    untold: AtomicU32,
    /// Some event succeeded since an instance was last rebuilt.
    succeeded: AtomicBool,
    /// Instances that live: its own, and those of all hosts of its processor.
    own: AtomicUsize,
    all: Arc<AtomicUsize>,
    /// Its drivers, by their numbers at the subscription; read and changed under its lock only.
    pub(super) drivers: Mutex<Vec<usize>>,
}

impl Fence {
    /// One of several hosts that count what lives of them in `all`.
    pub(crate) fn new(all: Arc<AtomicUsize>) -> Self {
        Self { all, ..Self::default() }
    }

    pub(crate) fn instance_made(&self) {
        let one_more = |own: usize| (own & SHUT == 0).then_some(own + 1);
        if self.own.fetch_update(SeqCst, SeqCst, one_more).is_ok() {
            self.all.fetch_add(1, SeqCst);
        }
    }

    pub(crate) fn instance_broke(&self) {
        let one_less = |own: usize| (own & SHUT == 0).then(|| own.checked_sub(1)).flatten();
        if self.own.fetch_update(SeqCst, SeqCst, one_less).is_ok() {
            self.all.fetch_sub(1, SeqCst);
        }
    }

    /// Whether any instance lives, at any host.
    pub(crate) fn has_instances(&self) -> bool {
        self.all.load(SeqCst) > 0
    }

    /// It is to take nothing more, and end in order.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, SeqCst);
        self.changed.notify_waiters();
    }

    /// Nothing it does has any effect from now on; its future is to be dropped. Called under the
    /// subscription's lock, so that no commit is under way.
    pub(super) fn shut(&self) {
        self.fenced.store(true, SeqCst);
        self.all.fetch_sub(self.own.swap(SHUT, SeqCst) & !SHUT, SeqCst);
        self.stop();
    }

    /// Wakes who polls it, to drop it.
    pub(crate) fn wake(&self) {
        let waker = self.waker.lock().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Who polls it is to be woken by that.
    pub(crate) fn is_polled_by(&self, waker: &Waker) {
        *self.waker.lock() = Some(waker.clone());
    }

    #[inline]
    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Relaxed)
    }

    #[inline]
    pub(crate) fn is_fenced(&self) -> bool {
        self.fenced.load(Relaxed)
    }

    /// Resolves when it is to stop.
    pub(crate) async fn stops(&self) {
        let changed = self.changed.notified();
        if !self.stopping.load(SeqCst) {
            changed.await;
        }
    }

    /// An event was handled.
    #[inline]
    pub(crate) fn succeeds(&self) {
        if !self.succeeded.load(Relaxed) {
            self.succeeded.store(true, Relaxed);
        }
    }

    /// Whether any event was handled since this was last asked.
    pub(crate) fn take_success(&self) -> bool {
        self.succeeded.swap(false, Relaxed)
    }

    /// False if nobody waits for what it tells.
    pub(super) fn about_to_tell(&self) -> bool {
        self.untold.fetch_add(1, SeqCst) & NOBODYS == 0
    }

    /// False if what it told was written off meanwhile.
    pub(super) fn told(&self) -> bool {
        self.untold.fetch_sub(1, SeqCst) & NOBODYS == 0
    }

    /// Nobody waits any more for what it has not told: so much it is.
    pub(super) fn write_off(&self) -> u32 {
        let untold = self.untold.fetch_or(NOBODYS, SeqCst);
        if untold & NOBODYS == 0 { untold } else { 0 }
    }
}
