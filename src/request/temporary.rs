//! Queues for the replies of one request: created for it, named, and gone with whoever asked.

use std::collections::BTreeMap;
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender};
use parking_lot::Mutex;

/// Each with its requester's host.
type Names = Arc<Mutex<BTreeMap<String, usize>>>;

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
    pub(super) fn create<R>(
        &self,
        command: &str,
        number: u64,
        host: usize,
    ) -> (Owned, TemporaryQueue<R>) {
        let name = format!("reply.{command}.{number}");
        self.0.lock().insert(name.clone(), host);
        let (send, receive) = crossbeam_channel::bounded(1);
        (Owned { name, names: self.0.clone() }, TemporaryQueue(send, receive))
    }

    /// A host is gone, and so is who asked there.
    pub(super) fn gone(&self, host: usize) {
        self.0.lock().retain(|_, of| *of != host);
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.0.lock().keys().cloned().collect()
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
