//! Why, where and when something happened: closed sets, safe as labels of metrics.

use std::fmt;

/// Why an event did not leave its queue by success. A closed set: safe as a metrics label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Cause {
    /// The handler returned a transient failure.
    Failed,
    /// The handler returned a permanent failure.
    Permanent,
    /// The handler, the filter or `key()` panicked.
    Panicked,
    /// The handler did not finish in time.
    TimedOut,
    /// What the handler published found no room, not even in the reserve.
    Overflow,
    /// The handler published beyond the hop limit: a routing loop.
    HopLimit,
    /// The kept bytes could not be turned back into the event.
    Undecodable,
    /// The processor was deleted, or ended and was forgotten, before it had handled the event.
    Orphaned,
    /// The process died while the handler was at it.
    Crashed,
    /// Whoever had taken the event along did not acknowledge it within its lease.
    LeaseOver,
    /// What the handler published found no room on disk. Not charged to the event.
    NoSpace,
}

impl Cause {
    /// All causes, for counters that start at zero.
    pub const ALL: [Self; 11] = [
        Self::Failed,
        Self::Permanent,
        Self::Panicked,
        Self::TimedOut,
        Self::Overflow,
        Self::HopLimit,
        Self::Undecodable,
        Self::Orphaned,
        Self::Crashed,
        Self::LeaseOver,
        Self::NoSpace,
    ];

    /// Whether the instance may be broken, and is rebuilt.
    pub(crate) fn breaks_instance(self) -> bool {
        matches!(self, Self::Panicked | Self::TimedOut | Self::Crashed)
    }

    /// The word used in metrics and reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Permanent => "permanent",
            Self::Panicked => "panicked",
            Self::TimedOut => "timed_out",
            Self::Overflow => "overflow",
            Self::HopLimit => "hop_limit",
            Self::Undecodable => "undecodable",
            Self::Orphaned => "orphaned",
            Self::Crashed => "crashed",
            Self::LeaseOver => "lease_over",
            Self::NoSpace => "no_space",
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How a request ended. A closed set: safe as a metrics label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RequestOutcome {
    /// With its reply.
    Answered,
    /// Its handler failed for good, or the runtime stopped.
    Failed,
    /// Nobody answered in time.
    TimedOut,
    /// It was not sent.
    Refused,
    /// Whoever asked went away.
    Abandoned,
}

impl RequestOutcome {
    /// All of them, for counters that start at zero.
    pub const ALL: [Self; 5] =
        [Self::Answered, Self::Failed, Self::TimedOut, Self::Refused, Self::Abandoned];

    /// The word used in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Failed => "failed",
            Self::TimedOut => "timed_out",
            Self::Refused => "refused",
            Self::Abandoned => "abandoned",
        }
    }
}

/// Why an instance was rebuilt, or could not be built. A closed set: safe as a metrics label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RestartCause {
    /// A handler panicked.
    Panic,
    /// A handler did not finish in time.
    Timeout,
    /// The factory panicked or failed.
    Factory,
    /// The `started` hook panicked or failed.
    Started,
    /// A handler blocked its thread for longer than its `timeout`; the thread was given up.
    Blocked,
    /// Its thread was given up, because somebody else blocked it.
    Displaced,
}

impl RestartCause {
    /// All causes, for counters that start at zero.
    pub const ALL: [Self; 6] =
        [Self::Panic, Self::Timeout, Self::Factory, Self::Started, Self::Blocked, Self::Displaced];

    /// The word used in metrics and reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Panic => "panic",
            Self::Timeout => "timeout",
            Self::Factory => "factory",
            Self::Started => "started",
            Self::Blocked => "blocked",
            Self::Displaced => "displaced",
        }
    }
}

/// Where events were dropped by the rule the application chose. A closed set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DropReason {
    /// The subscription was full and drops what comes.
    Newest,
    /// The subscription was full and drops what waits longest.
    Oldest,
    /// A person discarded a parked event.
    Discarded,
    /// A delayed publication is more than a subscription may hold at all.
    NeverFits,
    /// The processor was down, stopped or ended, and its subscription full; or the event's channel is
    /// [not kept](crate::Durability::NotKept), and the subscription is behind.
    Missed,
    /// It counted as handled before it was ([`Acknowledge::BeforeHandling`](crate::Acknowledge)), and its
    /// handler failed.
    AtMostOnce,
    /// It was held when the process ended, and the log does not have it: its channel is not kept, or the
    /// log is damaged there.
    Lost,
}

impl DropReason {
    /// All reasons, for counters that start at zero.
    pub const ALL: [Self; 7] = [
        Self::Newest,
        Self::Oldest,
        Self::Discarded,
        Self::NeverFits,
        Self::Missed,
        Self::AtMostOnce,
        Self::Lost,
    ];

    /// The word used in metrics and reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Newest => "newest",
            Self::Oldest => "oldest",
            Self::Discarded => "discarded",
            Self::NeverFits => "never_fits",
            Self::Missed => "missed",
            Self::AtMostOnce => "at_most_once",
            Self::Lost => "lost",
        }
    }
}

/// Which code of the application panicked where no event depends on it. A closed set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum During {
    /// The `Drop` of an event.
    EventDrop,
    /// The `Drop` of a processor.
    ProcessorDrop,
    /// The `Drop` of a kept state.
    StateDrop,
    /// An [`Observer`](super::Observer), a metrics recorder, or a `tracing` subscriber.
    Observer,
    /// A decider ([`on_exit`](crate::Supervisor::on_exit)).
    Decider,
}

impl During {
    /// All of them, for counters that start at zero.
    pub const ALL: [Self; 5] =
        [Self::EventDrop, Self::ProcessorDrop, Self::StateDrop, Self::Observer, Self::Decider];

    /// The word used in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::EventDrop => "event_drop",
            Self::ProcessorDrop => "processor_drop",
            Self::StateDrop => "state_drop",
            Self::Observer => "observer",
            Self::Decider => "decider",
        }
    }
}

/// Which hook of a processor failed. A closed set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Hook {
    /// One of [`every`](crate::ProcessorSpec::every).
    Every,
    /// [`stopping`](crate::Processor::stopping).
    Stopping,
}

impl Hook {
    /// The word used in logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Every => "every",
            Self::Stopping => "stopping",
        }
    }
}
