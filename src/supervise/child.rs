//! What a supervisor needs to know of a child, and what a child needs to run.

use std::cell::Cell;
use std::sync::Arc;

use super::ChildFailed;
use crate::broker::handle::Broker;
use crate::message::Declared;
use crate::queue::{QueueSettings, Subscription};

/// A child as it was declared.
#[derive(Debug, Clone)]
pub(crate) struct Declaration {
    pub(crate) name: Arc<str>,
    /// The message types it handles, in the order of its handlers.
    pub(crate) handles: Vec<Declared>,
    pub(crate) emits: Vec<Declared>,
    pub(crate) settings: QueueSettings,
    /// Its handlers block: each instance has a thread of its own.
    pub(crate) blocking: bool,
    /// The periods of what it publishes by the clock.
    pub(crate) ticks: Vec<std::time::Duration>,
}

/// What one host of a child gets: its place in the order, and its share of the instances.
pub(crate) struct Seat {
    pub(crate) broker: Arc<Broker>,
    pub(crate) subscription: Arc<Subscription>,
    pub(crate) supervisor: actix::Recipient<ChildFailed>,
    pub(crate) host: usize,
    pub(crate) slots: usize,
    pub(crate) hop_limit: u16,
    /// The thread is this host's alone, and ends with it.
    pub(crate) own_thread: bool,
    pub(crate) built: TellOnce,
    /// Told when the host has ended.
    pub(crate) ended: TellOnce,
    /// Dropped when the host has ended.
    pub(crate) _alive: tokio::sync::mpsc::Sender<()>,
}

/// Tells once: when it is said so, or when it is gone before that.
pub(crate) struct TellOnce(Cell<Option<Box<dyn FnOnce() + Send>>>);

impl TellOnce {
    pub(crate) fn new(tell: impl FnOnce() + Send + 'static) -> Self {
        Self(Cell::new(Some(Box::new(tell))))
    }

    pub(crate) fn tell(&self) {
        if let Some(tell) = self.0.take() {
            tell();
        }
    }

    /// It is not told after all.
    pub(crate) fn forget(&self) {
        self.0.take();
    }
}

impl Drop for TellOnce {
    fn drop(&mut self) {
        self.tell();
    }
}

/// A child that can be started: its type is known to itself only.
pub(crate) trait Child: Send + Sync {
    fn declaration(&self) -> Declaration;

    /// Starts a host on the thread this is called on.
    fn host(self: Arc<Self>, seat: Seat);
}
