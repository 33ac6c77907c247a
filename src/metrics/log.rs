//! What is counted of a log on disk.

use std::time::Duration;

use metrics::{Counter, Gauge, Histogram};

use super::catalog;
use super::recorder::Recorder;

/// The metrics of a log.
pub(super) struct LogHandles {
    pub(super) bytes: Counter,
    pub(super) commits: Counter,
    pub(super) writes: Counter,
    pub(super) syncing: Histogram,
    pub(super) checkpointing: Histogram,
    pub(super) compacted: Counter,
    pub(super) damaged: Counter,
    pub(super) failures: Counter,
    disk: Gauge,
    segments: Gauge,
    short: Gauge,
    recovery: Gauge,
    writing: Gauge,
}

/// What is read of a log when metrics are scraped.
pub(crate) struct LogGauges {
    pub(crate) disk: u64,
    pub(crate) segments: usize,
    pub(crate) short: bool,
    pub(crate) recovery: Duration,
    pub(crate) writing: Duration,
    /// By subscription: how many events it is behind the end, and how many bytes are kept for it.
    pub(crate) subscriptions: Vec<(String, u64, u64)>,
}

impl LogHandles {
    pub(super) fn new(recorder: &Recorder) -> Self {
        Self {
            bytes: recorder.counter(&catalog::LOG_BYTES, &[]),
            commits: recorder.counter(&catalog::LOG_COMMITS, &[]),
            writes: recorder.counter(&catalog::LOG_WRITES, &[]),
            syncing: recorder.histogram(&catalog::LOG_SYNC, &[]),
            checkpointing: recorder.histogram(&catalog::LOG_CHECKPOINT, &[]),
            compacted: recorder.counter(&catalog::LOG_COMPACTED, &[]),
            damaged: recorder.counter(&catalog::LOG_DAMAGED, &[]),
            failures: recorder.counter(&catalog::LOG_FAILURES, &[]),
            disk: recorder.gauge(&catalog::LOG_DISK, &[]),
            segments: recorder.gauge(&catalog::LOG_SEGMENTS, &[]),
            short: recorder.gauge(&catalog::LOG_SHORT, &[]),
            recovery: recorder.gauge(&catalog::LOG_RECOVERY, &[]),
            writing: recorder.gauge(&catalog::LOG_WRITING, &[]),
        }
    }

    pub(super) fn set(&self, now: &LogGauges, recorder: &Recorder) {
        self.disk.set(now.disk as f64);
        self.segments.set(now.segments as f64);
        self.short.set(f64::from(u8::from(now.short)));
        self.recovery.set(now.recovery.as_secs_f64());
        self.writing.set(now.writing.as_secs_f64());
        for (name, behind, bytes) in &now.subscriptions {
            recorder.gauge(&catalog::LOG_LAG, &[name]).set(*behind as f64);
            recorder.gauge(&catalog::LOG_HELD_FOR, &[name]).set(*bytes as f64);
        }
    }
}
