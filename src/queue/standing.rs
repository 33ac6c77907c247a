//! The words of the state machine of a subscription: where an event stands, and what is decided about
//! it. Pure.

use crate::clock::Moment;

/// What happens to the later events of a key when one of its events is parked; set with
/// [`on_park`](crate::ProcessorSpec::on_park).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnPark {
    /// They wait behind it, until it is resubmitted with success or discarded. Other keys flow.
    #[default]
    HoldKey,
    /// They go on without it.
    LetKeyGo,
}

/// Whether an event may start its first delivery now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Offer {
    /// Hand it to an instance.
    Start,
    /// Its key is taken: it was put behind, and starts when its turn comes.
    Behind,
    /// Too many are held: take nothing now.
    Full,
}

/// What to do with an event that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Deliver it again at that moment.
    Retry(Moment),
    /// Keep it for a person or a repairer.
    Park,
}

/// Where a held event stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    /// To be delivered again at that moment.
    Retrying(Moment),
    /// To be delivered as soon as an instance is free.
    Ready,
    /// With an instance.
    InHand,
    /// With a person or a repairer.
    Parked,
    /// Behind another event of its key.
    Behind,
}

/// How many events are held, by where they stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Counts {
    pub(crate) retrying: usize,
    pub(crate) ready: usize,
    pub(crate) in_hand: usize,
    pub(crate) parked: usize,
    /// Behind an event that is parked.
    pub(crate) behind_parked: usize,
    /// Behind an event that is in hand or will be delivered again.
    pub(crate) behind_active: usize,
}

impl Counts {
    /// Events that will move without anybody's help.
    pub(crate) fn active(&self) -> usize {
        self.retrying + self.ready + self.in_hand + self.behind_active
    }
}
