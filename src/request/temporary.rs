//! Queues for the replies of one request: created for it, named, and gone with whoever asked.

use std::collections::BTreeSet;
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender};
use parking_lot::Mutex;

type Names = Arc<Mutex<BTreeSet<String>>>;

/// The names of those that are there.
#[derive(Default)]
pub(super) struct TemporaryQueues(Names);

/// Whoever asked is there, and so is the queue.
pub(super) struct Owned {
    name: String,
    names: Names,
}

/// Where the reply of one request is put.
pub(super) struct TemporaryQueue<R>(Sender<R>, Receiver<R>);

impl TemporaryQueues {
    /// The queue is there as long as its owner.
    pub(super) fn create<R>(&self, command: &str, number: u64) -> (Owned, TemporaryQueue<R>) {
        let name = format!("reply.{command}.{number}");
        self.0.lock().insert(name.clone());
        let (send, receive) = crossbeam_channel::bounded(1);
        (Owned { name, names: self.0.clone() }, TemporaryQueue(send, receive))
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.0.lock().iter().cloned().collect()
    }
}

impl<R> TemporaryQueue<R> {
    /// Gives the reply back if there is no room: there was one already.
    pub(super) fn send(&self, reply: R) -> Result<(), R> {
        self.0.try_send(reply).map_err(crossbeam_channel::TrySendError::into_inner)
    }

    pub(super) fn receive(&self) -> Option<R> {
        self.1.try_recv().ok()
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        self.names.lock().remove(&self.name);
    }
}
