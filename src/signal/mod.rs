//! Every fact the runtime states. Each error, drop, retry, restart and parking passes this one
//! seam, where it is logged (`tracing`, ids only, never payloads); metrics, a console and tests
//! observe it.

mod logged;
mod reasons;
mod seam;
mod workflows;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::message::EventId;

pub use seam::Observer;
pub(crate) use seam::Signals;
pub use workflows::{Missed, WorkflowOutcome, WorkflowState};

pub use reasons::{Cause, DropReason, During, Hook, RequestOutcome, RestartCause};

/// A processor's number and name, as signals carry it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessorName {
    pub(crate) index: usize,
    pub(crate) name: Arc<str>,
}

impl ProcessorName {
    /// The name the application gave.
    pub fn as_str(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for ProcessorName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// One fact. Counts come once a batch; rare things one by one.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Signal<'a> {
    /// Events got their place in the order.
    Published {
        /// The topic's number within this runtime.
        index: usize,
        /// The topic.
        topic: &'static str,
        /// How many.
        events: u64,
        /// Whether no subscription wanted them.
        unrouted: bool,
    },
    /// An event of `tell` or `try_publish` found no room.
    Refused {
        /// The topic's number within this runtime.
        index: usize,
        /// The topic.
        topic: &'static str,
        /// Whether it is gone (`tell`) or was given back (`try_publish`).
        dropped: bool,
    },
    /// What came under a key of its publisher had come before, and was not published again.
    Duplicate {
        /// The topic's number within this runtime.
        index: usize,
        /// The topic.
        topic: &'static str,
    },
    /// Requests are over.
    Requested {
        /// The command's name.
        command: &'static str,
        /// How it ended.
        outcome: RequestOutcome,
        /// How many of them.
        requests: u64,
        /// How long some of them took.
        took: &'a [Duration],
    },
    /// A command was answered, and nobody waits for that any more.
    ReplyDropped {
        /// The command's name.
        command: &'static str,
        /// Which one.
        event: EventId,
    },
    /// A command failed for good, and whoever asked is told: it leaves the queue.
    CommandFailed {
        /// The command's name.
        command: &'static str,
        /// By whom.
        processor: &'a ProcessorName,
        /// Which one.
        event: EventId,
        /// How often it was delivered.
        attempts: u32,
        /// Why.
        cause: Cause,
    },
    /// Handlers succeeded.
    Handled {
        /// By whom.
        processor: &'a ProcessorName,
        /// How many events.
        events: u64,
        /// How many of them a filter left out.
        filtered: u64,
        /// How long those took that were measured.
        samples: &'a [Sample],
    },
    /// A failed event will be delivered again.
    Retried {
        /// By whom.
        processor: &'a ProcessorName,
        /// Which event.
        event: EventId,
        /// The attempt that failed.
        attempt: u32,
        /// Why.
        cause: Cause,
        /// After how long it is due.
        wait: Duration,
    },
    /// An event failed that counted as handled already: it is gone, and counted as dropped.
    Forgone {
        /// By whom.
        processor: &'a ProcessorName,
        /// Which event.
        event: EventId,
        /// Why.
        cause: Cause,
        /// What its handler said.
        error: &'a str,
    },
    /// An event was parked: it waits for a person or a repairer.
    Parked {
        /// By whom.
        processor: &'a ProcessorName,
        /// Which event.
        event: EventId,
        /// How often it was delivered.
        attempts: u32,
        /// Why.
        cause: Cause,
    },
    /// A processor is gone; what it had not handled is parked.
    Orphaned {
        /// Whose.
        processor: &'a ProcessorName,
        /// How many.
        events: u64,
    },
    /// Parked events were handed back to their processor.
    Resubmitted {
        /// To whom.
        processor: &'a ProcessorName,
        /// Which event.
        event: EventId,
    },
    /// Events were dropped by a rule or by a person.
    Dropped {
        /// By whom.
        processor: &'a ProcessorName,
        /// How many.
        events: u64,
        /// By which rule.
        reason: DropReason,
    },
    /// An instance was rebuilt.
    Restarted {
        /// Whose.
        processor: &'a ProcessorName,
        /// Why.
        cause: RestartCause,
        /// The event in hand, if it was that.
        event: Option<EventId>,
        /// From the failure to the new instance.
        took: Duration,
    },
    /// An instance could not be built.
    StartFailed {
        /// Whose.
        processor: &'a ProcessorName,
        /// What failed.
        cause: RestartCause,
        /// After how long it is tried again; none if it is not.
        wait: Option<Duration>,
        /// What it said.
        error: &'a str,
    },
    /// A hook failed that no event depends on; what it published is dropped.
    HookFailed {
        /// Whose.
        processor: &'a ProcessorName,
        /// Which one.
        hook: Hook,
        /// What it said.
        error: &'a str,
    },
    /// Code of the application panicked where no event depends on it.
    PanicContained {
        /// Which code.
        during: During,
        /// The event, if it was one.
        event: Option<EventId>,
    },
    /// A supervisor gave up: there were too many restarts, or its decider said so.
    GaveUp {
        /// Its names from the top-level supervisor down.
        supervisor: &'a str,
        /// Those of the child that failed.
        child: &'a str,
        /// What that said.
        cause: &'a str,
    },
    /// A child that failed runs again.
    Recovered {
        /// Its supervisor.
        supervisor: &'a str,
        /// The child.
        child: &'a str,
        /// From its failure.
        took: Duration,
    },
    /// A supervisor restarts a child, and whom its strategy says.
    Restarts {
        /// The supervisor.
        supervisor: &'a str,
        /// The child that failed.
        child: &'a str,
        /// After how long.
        wait: Duration,
    },
    /// A thread was stuck in code of the application, and was given up: its processors go on
    /// elsewhere.
    ThreadLost {
        /// Whose code it was, if a processor's.
        processor: Option<&'a ProcessorName>,
        /// For how long.
        stuck: Duration,
    },
    /// What waited was written to the log.
    Written {
        /// How many commits.
        commits: u64,
        /// How many bytes, but for the heads of frames.
        bytes: u64,
        /// How long it took until it was on disk; none if that is to come.
        synced: Option<Duration>,
    },
    /// What waited could not be written to the log, or not be synced: it is done anew in another segment.
    LogFailed {
        /// What the file system said.
        error: &'a str,
        /// How often by now. From the second time on publishers are refused until it succeeds.
        times: u32,
    },
    /// The log was looked after: a checkpoint was written, and what is not needed any more dropped.
    Checkpointed {
        /// How long it took, with its pauses.
        took: Duration,
        /// How many bytes were written anew.
        compacted: u64,
    },
    /// A part of the log is damaged, and what was in it lost.
    Damaged {
        /// How many frames.
        frames: u64,
    },
    /// There is no room on disk for anything new, or there is again.
    Space {
        /// There is none now.
        short: bool,
        /// How many bytes the log takes.
        used: u64,
    },
    /// A subscription stopped taking events because too many are held, or takes again.
    Held {
        /// Whose.
        processor: &'a ProcessorName,
        /// Whether it is stopped now.
        stopped: bool,
    },
    /// A workflow began, or its mediator's threads took some up that an earlier process left.
    WorkflowBegan {
        /// The mediator.
        mediator: &'a ProcessorName,
        /// Its name.
        workflow: &'a str,
    },
    /// A workflow has ended.
    WorkflowEnded {
        /// The mediator.
        mediator: &'a ProcessorName,
        /// Its name.
        workflow: &'a str,
        /// Its id, as that of an event.
        id: EventId,
        /// How.
        outcome: WorkflowOutcome,
        /// How long it took, also while no process ran.
        took: Duration,
    },
    /// A workflow is in another state.
    WorkflowIs {
        /// The mediator.
        mediator: &'a ProcessorName,
        /// Its name.
        workflow: &'a str,
        /// Its id, as that of an event.
        id: EventId,
        /// In which.
        state: WorkflowState,
        /// Why.
        why: &'a str,
    },
    /// The result of a command has reached its workflow: one of those that came together.
    WorkflowStep {
        /// The mediator.
        mediator: &'a ProcessorName,
        /// How long that took, from when the command was sent.
        took: Duration,
    },
    /// Results or events that nobody takes: a step was abandoned before its result came, or an event came
    /// that no workflow expects, or that one has not taken when it ended.
    WorkflowMissed {
        /// The mediator.
        mediator: &'a ProcessorName,
        /// What they were.
        what: Missed,
        /// How many.
        count: u64,
    },
}

/// How long one event took: the first of every few that are handled together, and every one that
/// took long.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Sample {
    /// From its place in the order to the start of its handler; none for one that was delivered
    /// again.
    pub waited: Option<Duration>,
    /// From the start of its handler to its outcome.
    pub handled: Duration,
    /// From the publication of the initiating event to the outcome of this handler, in whole
    /// milliseconds.
    pub end_to_end: Duration,
}
