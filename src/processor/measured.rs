//! What is measured and traced of an event's handler: the first of each claim (where claims are small
//! one of sixteen, and one a tick), every one that went pending, and every one during which the coarse
//! tick moved twice. The others cost no clock.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use tracing::Span;
use tracing::span::EnteredSpan;

use super::context::{Context, InHand};
use crate::clock::{Moment, TICK, Timestamp};
use crate::guard::contain;
use crate::signal::Sample;

/// Of so many small claims one is timed.
const ONE_OF: u32 = 16;

/// What a driver measures between two commits.
#[derive(Debug, Default)]
pub(crate) struct Measured {
    /// When the handler in hand began, if it went pending.
    pended: Cell<Option<Moment>>,
    /// The claim began, or something in it was measured: what runs since then has been running for
    /// two ticks at most, or is what takes long.
    since: Cell<Moment>,
    /// In which tick the first of a claim was timed last, and how many claims were not since then.
    timed_in: Cell<(Option<u64>, u32)>,
    /// The driver times the event in hand anyway.
    timed: Cell<bool>,
    samples: RefCell<Vec<Sample>>,
    /// Somebody reads spans.
    traces: Cell<bool>,
    span: RefCell<Option<Span>>,
}

impl Measured {
    /// A claim begins: its first event is timed, or not.
    pub(crate) fn begin(&self, now: Moment, timed: bool) {
        self.timed.set(timed);
        self.pended.set(None);
        self.since.set(now);
        // Asks whoever subscribes to `tracing`, which is not our code.
        let traces = contain(|| tracing::enabled!(target: "cueline", tracing::Level::DEBUG));
        self.traces.set(traces.unwrap_or(false));
    }

    /// Whether to time the first of a claim that begins in that tick.
    pub(crate) fn is_due(&self, tick: u64) -> bool {
        let (last, passed) = self.timed_in.get();
        let due = last != Some(tick) || passed >= ONE_OF - 1;
        self.timed_in.set(if due { (Some(tick), 0) } else { (last, passed + 1) });
        due
    }

    pub(crate) fn went_pending(&self, now: Moment) {
        let since = self.since.get();
        let took_long = now.since(since) > TICK.saturating_mul(2);
        self.pended.set(Some(if took_long { since } else { now }));
    }

    /// The handler in hand has ended.
    pub(crate) fn close_span(&self) {
        if let Some(span) = self.span.take() {
            contain(move || drop(span)).ok();
        }
    }

    /// Hands over the samples since the last time.
    pub(crate) fn with_samples(&self, tell: impl FnOnce(&[Sample])) {
        let samples = &mut *self.samples.borrow_mut();
        tell(samples);
        samples.clear();
    }

    /// One poll of the handler in hand is inside its span, if it has one.
    pub(crate) fn enter(&self) -> Option<EnteredSpan> {
        Some(self.span.borrow().clone()?.entered())
    }
}

impl Context {
    /// The handler of the event in hand begins. Whether it has a span, because somebody reads them.
    #[inline]
    pub(super) fn begin_span(&self) -> bool {
        let traces = self.link.measured.traces.get();
        if traces {
            self.open_span();
        }
        traces
    }

    #[cold]
    fn open_span(&self) {
        let Some((head, index)) = self.head() else { return };
        let span = tracing::debug_span!(
            target: "cueline",
            "handle",
            processor = self.processor(),
            event = %head.id(index),
            correlation = %head.correlation(index),
            causation = head.causation(index).map(tracing::field::display),
            attempt = self.attempt(),
        );
        self.link.measured.span.replace(Some(span));
    }

    /// The handler of the event in hand has ended; `before` is the tick when it began. Returns the
    /// tick now.
    #[inline]
    pub(super) fn ended_at(&self, before: u64) -> u64 {
        let link = &self.link;
        let tick = link.broker.clock.tick();
        if tick > before + 1 || link.measured.pended.get().is_some() {
            self.measure_long();
        }
        tick
    }

    #[cold]
    fn measure_long(&self) {
        let measured = &self.link.measured;
        let pended = measured.pended.take();
        if !measured.timed.get() {
            let now = self.link.broker.clock.now();
            self.measure(now, now.since(pended.unwrap_or(measured.since.get())));
        }
    }

    /// The event in hand was timed.
    pub(super) fn measure(&self, now: Moment, handled: Duration) {
        let Some((head, index)) = self.head() else { return };
        let waited = match &self.hand {
            InHand::Batch { batch, .. } => {
                Some(now.since(batch.at).checked_sub(handled).unwrap_or_default())
            }
            // It waited for another delivery, and for its key.
            _ => None,
        };
        let began = head.correlation(index).timestamp();
        let whole = Timestamp::now().as_millis().saturating_sub(began.as_millis());
        let sample = Sample { waited, handled, end_to_end: Duration::from_millis(whole) };
        let measured = &self.link.measured;
        measured.timed.set(false);
        measured.since.set(now);
        measured.samples.borrow_mut().push(sample);
    }
}
