//! Events that are acknowledged at another moment than their success: before they are handled, or by
//! hand, within a lease.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering::SeqCst;

use super::{Inner, Subscription, Wakers};
use crate::clock::Moment;
use crate::error::Failure;
use crate::message::Seq;
use crate::queue::fence::Fence;
use crate::queue::kept::Kept;
use crate::queue::report::Report;
use crate::queue::state::{Status, Verdict};

/// An event that somebody took along, to acknowledge it later.
#[derive(Debug)]
pub(super) struct Lease {
    /// Who may acknowledge it: each delivery has another one.
    token: u64,
    until: Moment,
    /// What was said of it before its handler had returned.
    early: Option<Result<(), Failure>>,
}

/// All leases of a subscription.
pub(super) type Leases = BTreeMap<Seq, Lease>;

/// What became of what somebody said of a leased event.
pub(crate) enum Said {
    /// It is so.
    Settled,
    /// It is so when its handler has returned.
    Noted,
    /// Its lease is over, and it was delivered again, or is done with.
    TooLate,
}

/// A leased event that failed, for whoever decides what becomes of it.
pub(crate) struct FailedLease {
    pub(crate) failures: u32,
    pub(crate) kept: Kept,
}

impl Subscription {
    /// The event in hand counts as handled from now on, whatever its handler does. False if others
    /// decide about what the host had.
    pub(crate) fn acknowledge(&self, by: &Fence, seq: Seq) -> bool {
        let mut inner = self.inner.lock();
        if inner.sealed || by.is_fenced() {
            return false;
        }
        inner.acknowledged.insert(seq);
        let was_held = inner.state.status(seq).is_some();
        if let Some(news) = &mut inner.news {
            news.done(seq, was_held);
            self.news.store(true, SeqCst);
        }
        true
    }

    pub(crate) fn is_acknowledged(&self, seq: Seq) -> bool {
        self.inner.lock().acknowledged.contains(&seq)
    }

    /// The event in hand is taken along until then. False if others decide about it.
    pub(crate) fn take_along(&self, by: &Fence, seq: Seq, token: u64, until: Moment) -> bool {
        let mut inner = self.inner.lock();
        if inner.sealed || by.is_fenced() {
            return false;
        }
        inner.leases.insert(seq, Lease { token, until, early: None });
        true
    }

    /// Until when the event in hand has been taken along.
    pub(crate) fn lease_of(&self, seq: Seq) -> Option<Moment> {
        self.inner.lock().leases.get(&seq).map(|lease| lease.until)
    }

    /// The handler failed. Whether somebody had acknowledged the event before.
    pub(crate) fn give_up_lease(&self, seq: Seq) -> bool {
        let lease = self.inner.lock().leases.remove(&seq);
        matches!(lease, Some(Lease { early: Some(Ok(())), .. }))
    }

    /// The handler has returned, and the lease begun. What was said of the event before counts now: how
    /// long it lasts here, and that it failed; that it is done with was seen to by the commit.
    pub(crate) fn begin_lease(&self, seq: Seq) -> Option<(u64, Failure)> {
        let mut inner = self.inner.lock();
        inner.acquits(seq);
        let Lease { token, until, early } = inner.leases.get_mut(&seq)?;
        let (token, until, early) = (*token, *until, early.take());
        if early.is_none() && inner.state.status(seq) != Some(Status::Retrying(until)) {
            let wakers = self.extend(&mut inner, seq, until);
            drop(inner);
            wakers.wake();
        }
        Some((token, early?.err()?))
    }

    /// A leased event was handled after all.
    pub(crate) fn finish_lease(&self, seq: Seq, token: u64) -> Said {
        let mut inner = self.inner.lock();
        match inner.leased(seq, token) {
            Some(true) => {}
            Some(false) => return inner.note_early(seq, Ok(())),
            None => return Said::TooLate,
        }
        inner.leases.remove(&seq);
        if let Some(news) = &mut inner.news {
            news.done(seq, true);
            self.news.store(true, SeqCst);
        }
        inner.state.finished(seq, None);
        let kept = inner.kept.remove(seq);
        let wakers = if inner.closed { inner.wake_all() } else { inner.wake_one() };
        drop(inner);
        wakers.wake();
        drop(kept);
        Said::Settled
    }

    /// A leased event failed: what is known of it, for [`Subscription::fail_lease`].
    pub(crate) fn failed_lease(
        &self,
        seq: Seq,
        token: u64,
        failure: &Failure,
    ) -> Result<FailedLease, Said> {
        let mut inner = self.inner.lock();
        match inner.leased(seq, token) {
            Some(true) => {}
            Some(false) => return Err(inner.note_early(seq, Err(failure.clone()))),
            None => return Err(Said::TooLate),
        }
        let (kept, failures) = (inner.kept.get(seq).cloned(), inner.state.failures(seq));
        let (Some(kept), Some(failures)) = (kept, failures) else { return Err(Said::TooLate) };
        Ok(FailedLease { failures, kept })
    }

    /// What becomes of it.
    pub(crate) fn fail_lease(
        &self,
        seq: Seq,
        token: u64,
        failures: u32,
        verdict: Verdict,
        kept: Kept,
    ) -> Said {
        let mut inner = self.inner.lock();
        if inner.leased(seq, token) != Some(true) {
            return Said::TooLate;
        }
        inner.leases.remove(&seq);
        self.hold(&mut inner, seq, failures, verdict, kept.report.as_deref());
        let before = inner.keep(seq, kept, verdict);
        let wakers = inner.wake_one();
        drop(inner);
        drop(before);
        wakers.wake();
        Said::Settled
    }

    /// Its lease ends then, and not before. False if it is over already.
    pub(crate) fn extend_lease(&self, seq: Seq, token: u64, until: Moment) -> bool {
        let mut inner = self.inner.lock();
        let Some(begun) = inner.leased(seq, token) else { return false };
        if let Some(lease) = inner.leases.get_mut(&seq) {
            lease.until = until;
        }
        if begun {
            let wakers = self.extend(&mut inner, seq, until);
            drop(inner);
            wakers.wake();
        }
        true
    }

    fn extend(&self, inner: &mut Inner, seq: Seq, until: Moment) -> Wakers {
        let failures = inner.state.failures(seq).unwrap_or_default();
        let report = inner.kept.get(seq).and_then(|kept| kept.report.clone());
        self.hold(inner, seq, failures, Verdict::Retry(until), report.as_deref());
        inner.wake_one() // it may have to look sooner
    }

    fn hold(
        &self,
        inner: &mut Inner,
        seq: Seq,
        failures: u32,
        verdict: Verdict,
        report: Option<&Report>,
    ) {
        if let Some(news) = &mut inner.news {
            news.held(seq, failures, verdict, report, self.clock.now());
            self.news.store(true, SeqCst);
        }
        inner.state.failed(seq, None, failures, verdict);
        self.clock.working();
    }
}

impl Inner {
    /// Whether the lease has begun, which it does when the handler has returned; none if it is over.
    fn leased(&self, seq: Seq, token: u64) -> Option<bool> {
        self.leases.get(&seq).filter(|lease| lease.token == token && !self.sealed)?;
        Some(matches!(self.state.status(seq), Some(Status::Retrying(_) | Status::Ready)))
    }

    fn note_early(&mut self, seq: Seq, early: Result<(), Failure>) -> Said {
        match self.leases.get_mut(&seq) {
            Some(lease) if lease.early.is_none() => {
                lease.early = Some(early);
                Said::Noted
            }
            _ => Said::TooLate,
        }
    }

    /// Somebody has said that it is done with, and its handler has not returned.
    pub(super) fn is_done_early(&self, seq: Seq) -> bool {
        matches!(self.leases.get(&seq), Some(Lease { early: Some(Ok(())), .. }))
    }

    /// Its lease is over, if it had one.
    pub(super) fn ends_lease(&mut self, seq: Seq) -> bool {
        self.leases.remove(&seq).is_some()
    }
}
