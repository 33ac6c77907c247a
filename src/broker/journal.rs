//! Between the broker and the log: what is published is put in order by the thread that writes, is
//! written and synced, and then handed out as it would be without a log. Whoever published waits for
//! that.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed, Ordering::SeqCst};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, RwLock};

use super::reading::{ChannelNames, Requests};
use crate::error::{Error, ErrorKind};
use crate::inflight::InFlight;
use crate::queue::Subscription;
use crate::store::file::spares::Spares;
use crate::store::file::writer::Bell;

/// What publishers know of the log.
pub(crate) struct Journal {
    pub(crate) bell: Bell,
    /// So many groups are on disk, and so many are written.
    kept: AtomicU64,
    written: AtomicU64,
    state: Mutex<State>,
    /// It cannot be written just now.
    failing: AtomicBool,
    /// Which event each thread is at.
    pub(crate) in_flight: InFlight,
    /// The channels of the log by their numbers.
    pub(crate) names: ChannelNames,
    /// Where subscriptions are read for that are behind; none when the log is closed.
    readers: Mutex<Option<Requests>>,
    spares: Spares,
    /// Subscriptions that are to be forgotten.
    pub(super) forgotten: Mutex<Vec<u32>>,
    /// Other facts that are to be written.
    pub(super) facts: Mutex<Vec<u8>>,
    /// Since when what was taken is being written, in milliseconds after the journal began, and one more;
    /// 0 if nothing is.
    writes_since: AtomicU64,
    begun: Instant,
}

/// What somebody waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Due {
    /// The number of a group.
    pub(crate) group: u64,
    /// It is enough that it is written.
    pub(crate) written: bool,
}

#[derive(Default)]
struct State {
    waiting: Vec<(Due, Waker)>,
    failed: Option<String>,
    /// It is never written again.
    given_up: bool,
}

impl Journal {
    pub(crate) fn new(
        bell: Bell,
        in_flight: InFlight,
        names: Vec<String>,
        readers: Requests,
        spares: Spares,
    ) -> Self {
        Self {
            bell,
            in_flight,
            kept: AtomicU64::new(0),
            written: AtomicU64::new(0),
            state: Mutex::default(),
            failing: AtomicBool::new(false),
            names: Arc::new(RwLock::new(names)),
            readers: Mutex::new(Some(readers)),
            spares,
            forgotten: Mutex::default(),
            facts: Mutex::default(),
            writes_since: AtomicU64::new(0),
            begun: Instant::now(),
        }
    }

    /// A subscription is behind, and has nothing to do until somebody has read for it.
    pub(crate) fn read_for(&self, subscription: &Arc<Subscription>) {
        if let Some(readers) = &*self.readers.lock() {
            readers.send(subscription.clone()).ok();
        }
    }

    /// There is no room for anything new.
    pub(crate) fn is_short(&self) -> bool {
        self.spares.is_short()
    }

    /// Why nothing new is taken in, if so.
    #[inline]
    pub(crate) fn unable(&self) -> Option<Error> {
        if self.failing.load(Relaxed) {
            return self.failure().map(|why| cannot_be_written(&why));
        }
        self.is_short().then(Error::no_space)
    }

    /// Forgets the subscription of that number.
    pub(crate) fn forget(&self, subscription: u32) {
        self.forgotten.lock().push(subscription);
        self.bell.ring();
    }

    /// These facts are to be written.
    pub(crate) fn put(&self, records: &[u8]) {
        self.facts.lock().extend_from_slice(records);
        self.bell.ring();
    }

    /// How long it has been writing what it took last.
    pub(crate) fn writing(&self) -> Duration {
        let now = self.begun.elapsed().as_millis() as u64;
        let since = self.writes_since.load(Relaxed).checked_sub(1);
        since.map_or(Duration::ZERO, |since| Duration::from_millis(now.saturating_sub(since)))
    }

    pub(super) fn writes(&self, writes: bool) {
        let since = if writes { self.begun.elapsed().as_millis() as u64 + 1 } else { 0 };
        self.writes_since.store(since, Relaxed);
    }

    pub(super) fn take_forgotten(&self) -> Vec<u32> {
        std::mem::take(&mut *self.forgotten.lock())
    }

    /// Nothing is read any more, and nobody waits for room.
    pub(crate) fn close(&self) {
        self.spares.close();
        self.readers.lock().take();
    }

    /// Why nothing is written now, if so.
    fn failure(&self) -> Option<String> {
        self.state.lock().failed.clone()
    }

    fn is_done(&self, due: Due) -> bool {
        let groups = if due.written { &self.written } else { &self.kept };
        groups.load(SeqCst) > due.group
    }

    /// Ready when the group is on disk, or written, or when it is not known whether it ever will be.
    pub(crate) fn poll_kept(&self, due: Due, waker: &Waker) -> Poll<Result<(), Error>> {
        self.poll(due, waker, |_| true)
    }

    /// As [`Journal::poll_kept`], of who waits as long as there is hope.
    pub(crate) fn poll_kept_at_last(&self, due: Due, waker: &Waker) -> Poll<Result<(), Error>> {
        self.poll(due, waker, |state| state.given_up)
    }

    fn poll(
        &self,
        due: Due,
        waker: &Waker,
        is_told: impl Fn(&State) -> bool,
    ) -> Poll<Result<(), Error>> {
        if self.is_done(due) {
            return Poll::Ready(Ok(()));
        }
        let mut state = self.state.lock();
        if self.is_done(due) {
            return Poll::Ready(Ok(()));
        }
        if let Some(why) = &state.failed
            && is_told(&state)
        {
            let why = cannot_be_written(why);
            let text = format!("it is not known whether the event will be kept: {why}");
            return Poll::Ready(Err(Error::new(ErrorKind::Storage, text)));
        }
        match state.waiting.iter_mut().find(|(of, known)| *of == due && known.will_wake(waker)) {
            Some(_) => {}
            None => state.waiting.push((due, waker.clone())),
        }
        Poll::Pending
    }

    /// How many were told.
    pub(super) fn advance(&self, groups: u64, synced: bool) -> usize {
        self.written.store(groups, SeqCst);
        if synced {
            self.kept.store(groups, SeqCst);
        }
        let mut state = self.state.lock();
        let woken: Vec<_> = state.waiting.extract_if(.., |(due, _)| self.is_done(*due)).collect();
        drop(state);
        let told = woken.len();
        woken.into_iter().for_each(|(_, waker)| waker.wake());
        told
    }

    /// Whoever waits is told that it cannot be written now, and perhaps never again.
    pub(super) fn fail(&self, why: Option<String>) {
        let mut state = self.state.lock();
        match why {
            Some(why) => state.failed = Some(why),
            None => state.given_up = true,
        }
        self.failing.store(true, SeqCst);
        let woken = std::mem::take(&mut state.waiting);
        drop(state);
        woken.into_iter().for_each(|(_, waker)| waker.wake());
    }

    /// It can be written again.
    pub(super) fn recovers(&self) {
        if self.failing.load(Relaxed) {
            self.state.lock().failed = None;
            self.failing.store(false, SeqCst);
        }
    }
}

fn cannot_be_written(why: &str) -> Error {
    Error::new(
        ErrorKind::Storage,
        format!(
            "the log cannot be written: {why}; it is tried again all the time, and nothing is \
             acknowledged until then: look after the disk"
        ),
    )
}
