//! The bounds and rules of a subscription.

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
}

impl QueueSettings {
    /// Several instances compete for the events.
    pub(crate) fn is_crew(&self) -> bool {
        self.instances > 1 || self.shared
    }
}
