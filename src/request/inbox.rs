//! The one inbox of all requests: who waits for the answer to which command, and until when.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};

use super::slot::{Asked, Told};
use crate::clock::Moment;
use crate::message::EventId;

/// Those who ask and those who answer are many.
const SHARDS: usize = 16;

/// So many commands that were sent one after the other share one: whoever asks and whoever answers rarely use
/// the same at once, and neither has to fetch it from the other's core for each command.
const NEIGHBOURS: u128 = 32;

type Waiting = HashMap<EventId, (Arc<dyn Told>, Moment), foldhash::fast::RandomState>;

/// In a cache line of its own, and in that which processors fetch with it.
#[derive(Default)]
#[repr(align(128))]
struct Shard(Mutex<Waiting>);

#[derive(Default)]
pub(super) struct Inbox {
    shards: [Shard; SHARDS],
}

impl Inbox {
    fn shard(&self, id: EventId) -> MutexGuard<'_, Waiting> {
        self.shards[(id.0 / NEIGHBOURS) as usize % SHARDS].0.lock()
    }

    pub(super) fn put(&self, id: EventId, to: Arc<dyn Told>, until: Moment) {
        self.shard(id).insert(id, (to, until));
    }

    /// Nobody waits for it any more: whoever did, if nobody was faster.
    pub(super) fn take(&self, id: EventId) -> Option<Arc<dyn Told>> {
        self.shard(id).remove(&id).map(|(to, _)| to)
    }

    pub(super) fn deadline(&self, id: EventId) -> Option<Moment> {
        self.shard(id).get(&id).map(|(_, until)| *until)
    }

    pub(super) fn count(&self) -> usize {
        self.shards.iter().map(|shard| shard.0.lock().len()).sum()
    }

    /// Whose time is over by then: they do not wait any more.
    pub(super) fn over(&self, now: Moment) -> Vec<(EventId, Arc<dyn Told>)> {
        let mut over = Vec::new();
        for shard in &self.shards {
            let gone = |_: &EventId, (_, until): &mut (Arc<dyn Told>, Moment)| *until <= now;
            over.extend(shard.0.lock().extract_if(gone).map(|(id, (to, _))| (id, to)));
        }
        over
    }

    /// When the first one's time is over.
    pub(super) fn earliest(&self) -> Option<Moment> {
        let least = |shard: &Shard| shard.0.lock().values().map(|(_, until)| *until).min();
        self.shards.iter().filter_map(least).min()
    }

    /// Those that asked so do not wait any more.
    pub(super) fn take_if(&self, asked: impl Fn(Asked) -> bool) -> Vec<Arc<dyn Told>> {
        let mut taken = Vec::new();
        for shard in &self.shards {
            let which = |_: &EventId, (to, _): &mut (Arc<dyn Told>, Moment)| asked(to.asked());
            taken.extend(shard.0.lock().extract_if(which).map(|(_, (to, _))| to));
        }
        taken
    }
}
