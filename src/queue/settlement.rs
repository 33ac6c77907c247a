//! How a thread tells a subscription what it did: one commit, all of it or nothing.

use std::sync::Arc;

use super::answer::Answers;
use super::batch::{Batch, Events, Load};
use super::kept::Kept;
use super::state::Verdict;
use super::subscription::Driver;
use super::waiting::Cursor;
use crate::clock::Moment;
use crate::message::{Key, Seq};
use crate::store::memory::{StateKey, StoredValue, Value};

/// What became of one event that was not simply the next of its range.
pub(crate) enum Settle {
    /// A held event, or one handed out by itself, was handled.
    Done { seq: Seq, key: Option<Key> },
    /// An event failed for the `failures`-th time.
    Failed { seq: Seq, failures: u32, verdict: Verdict, kept: Kept },
    /// It failed for the last time, and that is somebody else's business: it leaves.
    GivenUp { seq: Seq, key: Option<Key> },
}

impl Settle {
    /// Its handler did not succeed.
    pub(crate) fn is_failure(&self) -> bool {
        !matches!(self, Self::Done { .. })
    }
}

/// What is carried out with a commit.
pub(crate) type Applies = Box<dyn FnOnce() + Send>;

/// What one commit says.
#[derive(Default)]
pub(crate) struct Commit {
    /// Which driver's it is: what it settles is not in its hand any more.
    pub(crate) by: Option<Driver>,
    /// Everything of the front batch before this place is settled.
    pub(crate) to: Option<Cursor>,
    pub(crate) settle: Option<Settle>,
    /// Kept state as the handlers left it; and as the log is to have it.
    pub(crate) states: Vec<(StateKey, Arc<dyn Value>, Option<StoredValue>)>,
    /// What they published, if it goes to the log together with all else.
    pub(crate) outbox: Option<Events>,
    /// Publications that leave later, each with its topic's name.
    pub(crate) delayed: Vec<(Moment, Events, &'static str)>,
    /// Facts that the log gets with it.
    pub(crate) facts: Vec<u8>,
    /// Who is to be told of it.
    pub(crate) answers: Answers,
    /// Carried out with it, under its lock.
    pub(crate) applies: Option<Applies>,
    /// What handlers publish found no room: hand out nothing fresh before that, so that the
    /// pressure reaches who publishes from outside.
    pub(crate) pressed_until: Option<Moment>,
}

/// What a commit released: to be dropped outside of the lock, because `Drop` is user code.
#[derive(Default)]
pub(crate) struct Released {
    pub(crate) batches: Vec<Arc<Batch>>,
    pub(crate) values: Vec<Arc<dyn Value>>,
    pub(crate) kept: Vec<Kept>,
}

/// How much has left a subscription's queue since it began. Read by the door to know the room.
#[derive(Debug, Default)]
pub(crate) struct Left {
    events: std::sync::atomic::AtomicU64,
    weight: std::sync::atomic::AtomicU64,
}

impl Left {
    /// Called under the subscription's lock, so load and store do not race.
    pub(crate) fn add(&self, load: Load) {
        use std::sync::atomic::Ordering::{Relaxed, Release};
        self.weight.store(self.weight.load(Relaxed).saturating_add(load.weight), Release);
        self.events.store(self.events.load(Relaxed).saturating_add(load.events), Release);
    }

    pub(crate) fn get(&self) -> Load {
        use std::sync::atomic::Ordering::Acquire;
        Load::new(self.events.load(Acquire), self.weight.load(Acquire))
    }
}
