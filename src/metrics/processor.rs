//! What is counted of a processor.

use std::time::Duration;

use metrics::{Counter, Gauge, Histogram};

use super::catalog;
use super::recorder::Recorder;
use crate::signal::ProcessorName;

/// The metrics of a processor; members of a pool count as one.
pub(super) struct ProcessorHandles {
    pub(super) handled: Counter,
    pub(super) retried: Counter,
    pub(super) parked: Counter,
    pub(super) dropped: Counter,
    pub(super) restarts: Counter,
    pub(super) start_failures: Counter,
    pub(super) waiting: Histogram,
    pub(super) handling: Histogram,
    queue_events: Gauge,
    queue_bytes: Gauge,
    queue_oldest: Gauge,
    retrying: Gauge,
    parked_now: Gauge,
    behind: Gauge,
    stopped: Gauge,
    down: Gauge,
    busy: Gauge,
}

/// What is read of a processor when metrics are scraped.
pub(crate) struct Gauges {
    pub(crate) name: ProcessorName,
    pub(crate) events: u64,
    pub(crate) bytes: u64,
    pub(crate) oldest: Duration,
    pub(crate) retrying: usize,
    pub(crate) parked: usize,
    pub(crate) behind: usize,
    pub(crate) stopped: bool,
    pub(crate) down: bool,
    pub(crate) busy: usize,
}

impl Gauges {
    /// Of two that are counted as one.
    pub(crate) fn add(&mut self, other: &Self) {
        self.events += other.events;
        self.bytes += other.bytes;
        self.oldest = self.oldest.max(other.oldest);
        self.retrying += other.retrying;
        self.parked += other.parked;
        self.behind += other.behind;
        self.stopped |= other.stopped;
        self.down &= other.down;
        self.busy += other.busy;
    }
}

impl ProcessorHandles {
    pub(super) fn new(recorder: &Recorder, name: &str) -> Self {
        Self {
            handled: recorder.counter(&catalog::HANDLED, &[name]),
            retried: recorder.counter(&catalog::RETRIED, &[name]),
            parked: recorder.counter(&catalog::PARKED, &[name]),
            dropped: recorder.counter(&catalog::DROPPED, &[name]),
            restarts: recorder.counter(&catalog::RESTARTS, &[name]),
            start_failures: recorder.counter(&catalog::START_FAILURES, &[name]),
            waiting: recorder.histogram(&catalog::WAITING, &[name]),
            handling: recorder.histogram(&catalog::HANDLING, &[name]),
            queue_events: recorder.gauge(&catalog::QUEUE_EVENTS, &[name]),
            queue_bytes: recorder.gauge(&catalog::QUEUE_BYTES, &[name]),
            queue_oldest: recorder.gauge(&catalog::QUEUE_OLDEST, &[name]),
            retrying: recorder.gauge(&catalog::HELD, &[name, "retrying"]),
            parked_now: recorder.gauge(&catalog::HELD, &[name, "parked"]),
            behind: recorder.gauge(&catalog::HELD, &[name, "waiting_behind"]),
            stopped: recorder.gauge(&catalog::STOPPED, &[name]),
            down: recorder.gauge(&catalog::DOWN, &[name]),
            busy: recorder.gauge(&catalog::IN_HAND, &[name]),
        }
    }

    pub(super) fn set(&self, now: &Gauges) {
        self.queue_events.set(now.events as f64);
        self.queue_bytes.set(now.bytes as f64);
        self.queue_oldest.set(now.oldest.as_secs_f64());
        self.retrying.set(now.retrying as f64);
        self.parked_now.set(now.parked as f64);
        self.behind.set(now.behind as f64);
        self.stopped.set(f64::from(u8::from(now.stopped)));
        self.down.set(f64::from(u8::from(now.down)));
        self.busy.set(now.busy as f64);
    }
}
