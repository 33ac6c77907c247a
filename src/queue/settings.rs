//! The bounds and rules of a subscription.

use super::batch::Load;
use super::state::OnPark;

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
}

impl QueueSettings {
    /// Several instances compete for the events.
    pub(crate) fn is_crew(&self) -> bool {
        self.instances > 1 || self.shared
    }
}
