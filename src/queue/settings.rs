//! The bounds and rules of a subscription.

use std::time::Duration;

use super::batch::Load;
use super::state::OnPark;
use crate::clock::Timestamp;
use crate::message::Seq;

/// What happens when a subscription is full; set with
/// [`when_full`](crate::ProcessorSpec::when_full).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WhenFull {
    /// Publishers of its topics wait. Nothing is lost.
    #[default]
    Block,
    /// The event that waits longest is dropped, and counted; never one in hand.
    DropOldest,
    /// What comes is dropped, and counted.
    DropNewest,
}

/// Where a subscription begins that the log does not know yet; set with
/// [`start_from`](crate::ProcessorSpec::start_from). One that it knows goes on where it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StartFrom {
    /// With what is published from now on.
    #[default]
    Now,
    /// With the first event that the log still has: what a channel
    /// [retains](crate::Channel::retain), and what others have yet to consume.
    Earliest,
    /// With the event at that position, or the first one behind it that the log still has.
    Position(Seq),
    /// With what was published then, or later.
    Time(Timestamp),
}

/// When an event counts as handled; set with [`acknowledge`](crate::ProcessorSpec::acknowledge).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Acknowledge {
    /// When its handler has succeeded: every event is handled at least once, and what the handler
    /// publishes and keeps happens once.
    #[default]
    AfterSuccess,
    /// Before its handler is called: every event is handled at most once, for what must on no account be
    /// done twice. With a log that costs a sync an event, which several instances share. An event whose
    /// handler fails, panics or is interrupted is gone, counted as `at_most_once` and logged.
    BeforeHandling,
    /// When somebody says so who has its
    /// [`Acknowledgement`](crate::Acknowledgement); when its handler succeeds, if that did not take it.
    ByHand {
        /// For so long nobody else gets the event.
        lease: Duration,
    },
}

/// The bounds and rules of one subscription.
#[derive(Debug, Clone, Copy)]
pub(crate) struct QueueSettings {
    pub(crate) bound: Load,
    /// Beyond the bound, for what handlers publish.
    pub(crate) reserve: Load,
    pub(crate) when_full: WhenFull,
    pub(crate) on_park: OnPark,
    pub(crate) most_held: usize,
    pub(crate) most_states: usize,
    pub(crate) instances: usize,
    /// On how many threads the instances live.
    pub(crate) hosts: usize,
    /// Several children share it, and compete for its events.
    pub(crate) shared: bool,
    pub(crate) start_from: StartFrom,
    pub(crate) acknowledge: Acknowledge,
    /// What it publishes can be derived again from what is on disk, and may be handed out before it is there
    /// itself.
    pub(crate) runs_ahead: bool,
}

impl QueueSettings {
    /// Several instances compete for the events.
    pub(crate) fn is_crew(&self) -> bool {
        self.instances > 1 || self.shared
    }
}
