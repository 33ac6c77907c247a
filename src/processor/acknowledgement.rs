//! Acknowledging by hand: a handler takes the acknowledgement of its event along, and whoever has it
//! settles the event later.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::context::Context;
use super::link::Link;
use super::outcome::{Decision, decide};
use crate::broker::handle::Broker;
use crate::clock::Timestamp;
use crate::error::{Error, ErrorKind, Failure, Outcome};
use crate::message::{EventId, Seq};
use crate::queue::backoff::Retry;
use crate::queue::report::Report;
use crate::queue::state::Verdict;
use crate::queue::{Acknowledge, FailedLease, Said, Subscription};
use crate::signal::{Cause, Signal};

/// The acknowledgement of one event, taken along by its handler ([`Context::acknowledgement`]).
///
/// The event is neither handled nor failed until somebody says so here, and other events of its key wait.
/// If nobody does while its lease lasts, or this is dropped, it counts as a failed attempt: the event is
/// delivered again, or parked. Then this one is void: its `token` is not the newest any more, and what is
/// said with it is refused ("How to do distributed locking", Kleppmann 2016, calls that fencing).
#[derive(Debug)]
pub struct Acknowledgement {
    at: Leased,
    event: EventId,
    settled: bool,
}

/// Where a leased event is.
#[derive(Clone)]
pub(crate) struct Leased {
    broker: Arc<Broker>,
    subscription: Arc<Subscription>,
    retry: Retry,
    seq: Seq,
    token: u64,
}

impl std::fmt::Debug for Leased {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (by, seq, token) = (self.subscription.name.as_str(), self.seq.get(), self.token);
        write!(f, "the event at {seq}, taken by `{by}` with the token {token}")
    }
}

/// Grows with every delivery: the time, so that it does over restarts as well, and a count.
fn next_token() -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(0);
    let now = Timestamp::now().as_millis() << 16;
    let next = |last: u64| last.saturating_add(1).max(now);
    LAST.fetch_update(Relaxed, Relaxed, |last| Some(next(last))).map_or(now, next)
}

impl Context {
    /// Takes the acknowledgement of the event in hand along. When the handler has returned `Ok`, the
    /// instance is free for other events, and this one waits for what is said with the acknowledgement.
    ///
    /// A handler that takes it may neither publish nor keep anything by its context: that would happen
    /// again with the next delivery. Whoever acknowledges publishes by the runtime.
    ///
    /// ```
    /// # use cueline::prelude::*;
    /// # use cueline::{Acknowledge, Acknowledgement};
    /// # use std::sync::mpsc::Sender;
    /// # #[derive(serde::Serialize, serde::Deserialize)]
    /// # struct Scan { page: u32 }
    /// # cueline::event!(Scan, "scan");
    /// struct Scanner(Sender<(u32, Acknowledgement)>);
    /// impl Processor for Scanner {}
    /// impl Handle<Scan> for Scanner {
    ///     async fn handle(&mut self, scan: &Scan, cx: &mut Context) -> Outcome {
    ///         self.0.send((scan.page, cx.acknowledgement()?)).permanent()?;
    ///         Ok(()) // whoever receives it says `done` when the page is there
    ///     }
    /// }
    /// # fn declare(device: Sender<(u32, Acknowledgement)>) -> impl IntoChild {
    /// processor("scanner", move || Scanner(device.clone()))
    ///     .on::<Scan>()
    ///     .acknowledge(Acknowledge::ByHand { lease: secs(60) })
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// The processor does not acknowledge [by hand](Acknowledge::ByHand), or no event is in hand.
    pub fn acknowledgement(&mut self) -> Outcome<Acknowledgement> {
        let Acknowledge::ByHand { lease } = self.link.subscription.settings.acknowledge else {
            return Err(Failure::permanent(format!(
                "`{}` does not acknowledge by hand: declare it with \
                 `.acknowledge(Acknowledge::ByHand {{ lease }})`",
                self.processor()
            )));
        };
        let (Some(seq), Some(event)) = (self.seq(), self.head().map(|(head, at)| head.id(at)))
        else {
            return Err(Failure::permanent("there is no event to acknowledge in a hook"));
        };
        let (broker, subscription) = (self.link.broker.clone(), self.link.subscription.clone());
        let (token, until) = (next_token(), broker.clock.now().after(lease));
        if !subscription.take_along(&self.link.fence, seq, token, until) {
            return Err(Failure::transient("others decide about the event by now"));
        }
        self.takes_along();
        let at = Leased { broker, subscription, retry: self.link.retry, seq, token };
        Ok(Acknowledgement { at, event, settled: false })
    }
}

impl Acknowledgement {
    /// The event's id.
    pub fn event(&self) -> EventId {
        self.event
    }

    /// A number that is greater for each later delivery of an event: whoever writes to something else
    /// may have it refuse what comes with a smaller one. It takes a clock that is not set back while
    /// the process is down.
    pub fn token(&self) -> u64 {
        self.at.token
    }

    /// The event is handled. It is on disk within a few milliseconds; if its handler has not returned yet,
    /// then when it has.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Conflict`]: the lease was over, and the event has been or will be delivered again.
    pub fn done(mut self) -> Result<(), Error> {
        self.settled = true;
        self.at.done()
    }

    /// The event failed: it is delivered again, or parked, as if its handler had returned that.
    ///
    /// # Errors
    ///
    /// As [`Acknowledgement::done`].
    pub fn failed(mut self, failure: Failure) -> Result<(), Error> {
        self.settled = true;
        self.at.failed(failure)
    }

    /// The lease lasts for so long from now on.
    ///
    /// # Errors
    ///
    /// As [`Acknowledgement::done`].
    pub fn extend(&mut self, lease: Duration) -> Result<(), Error> {
        let until = self.at.broker.clock.now().after(lease);
        let extended = self.at.subscription.extend_lease(self.at.seq, self.at.token, until);
        self.at.has_news();
        if extended { Ok(()) } else { Err(self.at.too_late()) }
    }
}

impl Drop for Acknowledgement {
    fn drop(&mut self) {
        if !self.settled {
            let now = self.at.broker.clock.now();
            self.at.subscription.extend_lease(self.at.seq, self.at.token, now);
        }
    }
}

impl Leased {
    /// The handler has returned, and its lease has begun: what was said before counts now.
    pub(super) fn begins(link: &Link, seq: Seq) {
        let (broker, subscription) = (link.broker.clone(), link.subscription.clone());
        let Some((token, failure)) = subscription.begin_lease(seq) else { return };
        let leased = Self { broker, subscription, retry: link.retry, seq, token };
        // Whoever said it was told that it counts; if the lease is over already, it is delivered again.
        leased.failed(failure).ok();
    }

    fn done(&self) -> Result<(), Error> {
        let said = self.subscription.finish_lease(self.seq, self.token);
        // Also if its handler has yet to return: whatever that says, it counts.
        if let Said::Settled | Said::Noted = said {
            let processor = &self.subscription.name;
            let signal = Signal::Handled { processor, events: 1, filtered: 0, samples: &[] };
            self.broker.signals.state(&signal);
        }
        self.has(said)
    }

    fn failed(&self, failure: Failure) -> Result<(), Error> {
        let found = self.subscription.failed_lease(self.seq, self.token, &failure);
        let FailedLease { failures, mut kept } = match found {
            Ok(found) => found,
            Err(said) => return self.has(said),
        };
        let cause = if failure.is_permanent() { Cause::Permanent } else { Cause::Failed };
        let failures = failures.saturating_add(1);
        let before = kept.report.as_deref();
        let report = Report::next(before, cause, failure, Vec::new(), Timestamp::now());
        let (attempt, event) = (report.deliveries, kept.id());
        kept.report = Some(Arc::new(report));
        let (processor, attempts) = (&self.subscription.name, attempt);
        let decision = decide(&self.retry, cause, failures, 0, fastrand::f64());
        let (verdict, signal) = match decision {
            Decision::RetryAfter(wait) => (
                Verdict::Retry(self.broker.clock.now().after(wait)),
                Signal::Retried { processor, event, attempt, cause, wait },
            ),
            Decision::Park => (Verdict::Park, Signal::Parked { processor, event, attempts, cause }),
        };
        let said = self.subscription.fail_lease(self.seq, self.token, failures, verdict, kept);
        if let Said::Settled = said {
            self.broker.signals.state(&signal);
        }
        self.has(said)
    }

    fn has(&self, said: Said) -> Result<(), Error> {
        match said {
            Said::Settled => {
                self.has_news();
                Ok(())
            }
            Said::Noted => Ok(()),
            Said::TooLate => Err(self.too_late()),
        }
    }

    fn has_news(&self) {
        self.broker.has_news(&self.subscription, false);
        self.broker.progressed(&self.subscription);
    }

    fn too_late(&self) -> Error {
        let text = format!(
            "{self:?}, is not his any more: its lease was over and it is delivered again, or the \
             runtime has stopped; raise the lease, or `extend` it in time"
        );
        Error::new(ErrorKind::Conflict, text)
    }
}
