//! Every metric: name, type, unit, labels, help. Labels come from configuration only: never ids,
//! keys or error texts.

use metrics::Unit;

/// What kind of metric it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down; read when it is scraped.
    Gauge,
    /// Counts in classic buckets.
    Histogram,
}

/// One metric of the catalogue.
///
/// ```
/// for metric in cueline::CATALOG {
///     println!("{} ({:?}, by {:?}): {}", metric.name, metric.kind, metric.labels, metric.help);
/// }
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    /// The full name, as it is scraped.
    pub name: &'static str,
    /// Counter, gauge or histogram.
    pub kind: Kind,
    /// Its unit.
    pub unit: Unit,
    /// The names of its labels.
    pub labels: &'static [&'static str],
    /// What it says.
    pub help: &'static str,
}

macro_rules! catalog {
    ($($constant:ident = $name:literal, $kind:ident, $unit:ident, $labels:expr, $help:literal;)*) => {
        $(pub(crate) const $constant: Metric = Metric {
            name: $name,
            kind: Kind::$kind,
            unit: Unit::$unit,
            labels: &$labels,
            help: $help,
        };)*

        /// Every metric of a runtime.
        pub const CATALOG: &[Metric] = &[$($constant),*];
    };
}

catalog! {
    PUBLISHED = "cueline_events_published_total", Counter, Count, ["topic"],
        "Events that got their place in the order.";
    UNROUTED = "cueline_events_unrouted_total", Counter, Count, ["topic"],
        "Events that no subscription wanted.";
    REFUSED = "cueline_events_refused_total", Counter, Count, ["topic"],
        "Events that found no room at the door.";
    REFUSALS = "cueline_refusals_total", Counter, Count, ["how"],
        "Events that found no room at the door: dropped by tell, or returned by try_publish.";
    DUPLICATES = "cueline_events_duplicate_total", Counter, Count, [],
        "Events that had been published under their key before, and were not again.";
    HANDLED = "cueline_events_handled_total", Counter, Count, ["processor"],
        "Deliveries that succeeded.";
    FILTERED = "cueline_events_filtered_total", Counter, Count, [],
        "Deliveries that a filter left out.";
    RETRIED = "cueline_events_retried_total", Counter, Count, ["processor"],
        "Deliveries that failed and are tried again.";
    PARKED = "cueline_events_parked_total", Counter, Count, ["processor"],
        "Events that were parked.";
    FAILURE_CAUSES = "cueline_failure_causes_total", Counter, Count, ["cause"],
        "Deliveries that failed, by why: retried, parked, given up, or answered with the failure.";
    REQUESTS = "cueline_requests_total", Counter, Count, ["command", "outcome"],
        "Requests that are over, by how they ended.";
    REQUEST_TIME = "cueline_request_seconds", Histogram, Seconds, ["command"],
        "From a request to its end; sampled: one in sixteen, and the first in each millisecond.";
    REPLIES_DROPPED = "cueline_replies_dropped_total", Counter, Count, ["command"],
        "Replies for which nobody waited any more.";
    COMMANDS_FAILED = "cueline_commands_failed_total", Counter, Count, ["command"],
        "Commands that failed for good, and whose requesters were told.";
    WORKFLOWS_STARTED = "cueline_workflows_started_total", Counter, Count, ["mediator", "workflow"],
        "Workflows that began.";
    WORKFLOWS_ENDED = "cueline_workflows_ended_total", Counter, Count,
        ["mediator", "workflow", "outcome"],
        "Workflows that ended, by how; those that failed or were cancelled have made up for what they did.";
    WORKFLOW_TIME = "cueline_workflow_seconds", Histogram, Seconds, ["mediator", "workflow"],
        "From a workflow's begin to its end, the time while no process ran included; to the millisecond.";
    WORKFLOW_STATES = "cueline_workflow_state_changes_total", Counter, Count,
        ["mediator", "workflow", "state"],
        "Workflows that came into a state: compensating, stuck, diverged and others.";
    WORKFLOW_STEP = "cueline_workflow_step_seconds", Histogram, Seconds, ["mediator"],
        "From sending a command to its result reaching the workflow; sampled: one of those that come together.";
    WORKFLOW_MISSED = "cueline_workflow_missed_total", Counter, Count, ["mediator", "what"],
        "Results of abandoned steps, events that no workflow expects, events that one had not taken.";
    WORKFLOWS = "cueline_workflows", Gauge, Count, ["mediator", "state"],
        "Workflows that have not ended, by state.";
    WORKFLOW_OLDEST = "cueline_workflow_oldest_seconds", Gauge, Seconds, ["mediator"],
        "How long ago the oldest of these began.";
    WORKFLOW_STEP_OLDEST = "cueline_workflow_step_oldest_seconds", Gauge, Seconds, ["mediator"],
        "How long the oldest command that a workflow waits for has been under way.";
    RESUBMITTED = "cueline_events_resubmitted_total", Counter, Count, [],
        "Parked events that were handed back.";
    DROPPED = "cueline_events_dropped_total", Counter, Count, ["processor"],
        "Events that nobody has any more: dropped by a rule, missed, lost, or discarded by a person.";
    DROP_REASONS = "cueline_drop_reasons_total", Counter, Count, ["reason"],
        "Events that nobody has any more, by why.";
    RESTARTS = "cueline_processor_restarts_total", Counter, Count, ["processor"],
        "Instances that were rebuilt.";
    RESTART_CAUSES = "cueline_restart_causes_total", Counter, Count, ["cause"],
        "Instances that were rebuilt, by why.";
    START_FAILURES = "cueline_processor_start_failures_total", Counter, Count, ["processor"],
        "Instances that could not be built.";
    HOOK_FAILURES = "cueline_hook_failures_total", Counter, Count, ["hook"],
        "Failures of what runs by the clock, or when a processor stops.";
    SUPERVISOR_RESTARTS = "cueline_supervisor_restarts_total", Counter, Count, ["supervisor"],
        "Failures of children that a supervisor was charged with, and restarted.";
    GAVE_UP = "cueline_supervisor_gave_up_total", Counter, Count, ["supervisor"],
        "How often a supervisor gave up, and left the matter to the one above it.";
    RECOVERY = "cueline_recovery_seconds", Histogram, Seconds, [],
        "From the failure of a child to its running again, back-off included.";
    THREADS_LOST = "cueline_threads_lost_total", Counter, Count, [],
        "Threads that were stuck in user code, and were given up.";
    PANICS = "cueline_panics_contained_total", Counter, Count, ["during"],
        "Panics of user code outside of a handler.";
    WAITING = "cueline_waiting_seconds", Histogram, Seconds, ["processor"],
        "From an event's place in the order to the start of its handler; sampled.";
    HANDLING = "cueline_handling_seconds", Histogram, Seconds, ["processor"],
        "From the start of a handler to its outcome; sampled.";
    END_TO_END = "cueline_end_to_end_seconds", Histogram, Seconds, [],
        "From the initiating event's publication to an outcome, at any processor, to the millisecond; sampled.";
    RESTARTING = "cueline_restart_seconds", Histogram, Seconds, [],
        "From a failure of a processor to its new instance.";
    QUEUE_EVENTS = "cueline_queue_events", Gauge, Count, ["processor"],
        "Events that wait for their first delivery, or are in hand for it.";
    QUEUE_BYTES = "cueline_queue_bytes", Gauge, Bytes, ["processor"],
        "What these events weigh.";
    QUEUE_OLDEST = "cueline_queue_oldest_seconds", Gauge, Seconds, ["processor"],
        "How long the oldest of these events has been waiting.";
    HELD = "cueline_held_events", Gauge, Count, ["processor", "state"],
        "Events that are retrying, parked, or waiting behind a parked one.";
    STOPPED = "cueline_subscription_stopped", Gauge, Count, ["processor"],
        "1 if the subscription takes nothing new because too many events are held.";
    DOWN = "cueline_processor_down", Gauge, Count, ["processor"],
        "1 if no instance is there: it failed and is not back yet, has ended, was stopped, or was given up.";
    IN_HAND = "cueline_in_hand_events", Gauge, Count, ["processor"],
        "Events that are being handled: so many instances are at one now.";
    LOG_BYTES = "cueline_log_bytes_total", Counter, Bytes, [],
        "Bytes written to the log, without checkpoints and what is compacted.";
    LOG_COMMITS = "cueline_log_commits_total", Counter, Count, [],
        "Commits written to the log.";
    LOG_WRITES = "cueline_log_writes_total", Counter, Count, [],
        "Times that the log was written to, with all commits that waited.";
    LOG_SYNC = "cueline_log_sync_seconds", Histogram, Seconds, [],
        "How long it took to write what waited and to have it on disk.";
    LOG_WRITING = "cueline_log_writing_seconds", Gauge, Seconds, [],
        "How long what is being written now has taken so far: a disk that is slow, or stands still.";
    LOG_CHECKPOINT = "cueline_log_checkpoint_seconds", Histogram, Seconds, [],
        "How long it took to write a checkpoint, pauses included.";
    LOG_COMPACTED = "cueline_log_compacted_bytes_total", Counter, Bytes, [],
        "Bytes that were written anew to drop what nobody needs.";
    LOG_DAMAGED = "cueline_log_damaged_frames_total", Counter, Count, [],
        "Frames of the log that were found damaged while it was read: what they held is not delivered.";
    LOG_FAILURES = "cueline_log_failures_total", Counter, Count, [],
        "Times that the log could not be written or synced, and was written anew in another segment.";
    LOG_DISK = "cueline_log_disk_bytes", Gauge, Bytes, [],
        "What the log takes on disk.";
    LOG_SEGMENTS = "cueline_log_segments", Gauge, Count, [],
        "Segments of the log.";
    LOG_SHORT = "cueline_log_short_of_space", Gauge, Count, [],
        "1 if nothing new is taken in because the disk is full, or the log at its limit.";
    LOG_RECOVERY = "cueline_log_recovery_seconds", Gauge, Seconds, [],
        "How long it took to open the log.";
    LOG_LAG = "cueline_log_lag_events", Gauge, Count, ["subscription"],
        "Events of all channels behind the first one that the subscription still needs.";
    LOG_HELD_FOR = "cueline_log_held_bytes", Gauge, Bytes, ["subscription"],
        "Bytes of the log that are kept for the subscription, and perhaps for others.";
}

/// The upper bounds of a histogram's buckets, in seconds.
const FINE: &[f64] = &[
    5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 5e-2, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0, 30.0, 60.0,
];

/// Those of what is known to the millisecond only, and may last long.
const MILLIS: &[f64] = &[
    1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 5e-2, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 45.0,
    60.0, 120.0, 300.0,
];

/// Those of a histogram of which there are as many as processors or commands, so that fifty processors stay
/// below 2,000 series; and of one that is of microseconds. They say which share was quick, and which took a
/// second or more; the mean does not depend on them.
const COARSE: &[f64] = &[1e-2, 0.1, 1.0];

impl Metric {
    /// The upper bounds of its buckets, in seconds; none if it is no histogram. The dashboards count on them.
    ///
    /// ```
    /// let handling = cueline::CATALOG.iter().find(|of| of.name == "cueline_handling_seconds");
    /// assert_eq!(handling.map(|of| of.buckets()), Some(&[0.01, 0.1, 1.0][..]));
    /// ```
    pub fn buckets(&self) -> &'static [f64] {
        let many = |label: &&str| ["processor", "command"].contains(label);
        let is = |metrics: [Metric; 2]| metrics.iter().any(|of| of.name == self.name);
        match self.kind {
            Kind::Counter | Kind::Gauge => &[],
            Kind::Histogram if self.labels.iter().any(many) => COARSE,
            Kind::Histogram if self.name == RESTARTING.name => COARSE,
            Kind::Histogram if is([END_TO_END, WORKFLOW_TIME]) => MILLIS,
            Kind::Histogram => FINE,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_conventions() {
        let mut names = std::collections::HashSet::new();
        for metric in CATALOG {
            assert!(names.insert(metric.name), "{} is there twice", metric.name);
            assert!(metric.name.starts_with("cueline_"), "{}", metric.name);
            assert_eq!(metric.name.ends_with("_total"), metric.kind == Kind::Counter);
            let measured = metric.name.trim_end_matches("_total");
            match metric.unit {
                Unit::Seconds => assert!(measured.ends_with("_seconds"), "{}", metric.name),
                Unit::Bytes => assert!(measured.ends_with("_bytes"), "{}", metric.name),
                _ => {}
            }
            assert!(metric.help.ends_with('.'), "{}", metric.help);
        }
    }
}
