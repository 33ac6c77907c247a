//! What waits, and what becomes of it. A [`Subscription`] is one processor's place in the order of
//! all events: batches that wait, a cursor over them, the events that are held, the state the
//! processor keeps. All of it is `Send` and outlives any thread. The decisions are in [`state`];
//! [`settlement`] is how a thread tells what it did.

pub(crate) mod answer;
pub(crate) mod backoff;
pub(crate) mod batch;
pub(crate) mod column;
mod delayed;
pub(crate) mod fence;
pub(crate) mod form;
pub(crate) mod kept;
mod lines;
mod load;
pub(crate) mod loose;
pub(crate) mod once;
mod parked;
pub(crate) mod report;
mod settings;
pub(crate) mod settlement;
mod standing;
pub(crate) mod state;
#[cfg(test)]
mod state_histories;
pub(crate) mod stored;
mod subscription;
mod waiting;

pub(crate) use settings::QueueSettings;
pub use settings::{Acknowledge, StartFrom, WhenFull};
pub use subscription::Unsettled;
pub(crate) use subscription::{
    Claim, Driver, FailedLease, Found, Late, ReadBack, Readable, Restored, Said, Subscription,
    Told, Trial, key_of,
};
pub(crate) use waiting::{Cursor, Wanted};
