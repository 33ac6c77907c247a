//! What the threads of a runtime and its handles share.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

use parking_lot::RwLock;
use tokio::sync::{Notify, mpsc};

use super::control::Command;
use crate::broker::handle::Broker;
use crate::queue::Subscription;
use crate::supervise::child::{Child, Declaration};

/// A processor that runs.
pub(crate) struct Running {
    pub(crate) declaration: Declaration,
    pub(crate) subscription: Arc<Subscription>,
    pub(crate) child: Arc<dyn Child>,
    pub(crate) supervisor: usize,
    pub(crate) lane: usize,
    /// It has its place in the order. Before that its name is taken, and nobody can remove it.
    pub(crate) subscribed: AtomicBool,
}

/// Shared by all handles and threads of one runtime.
pub(crate) struct Core {
    pub(crate) name: String,
    pub(crate) broker: Arc<Broker>,
    pub(crate) processors: RwLock<Vec<Arc<Running>>>,
    /// Removed, and not through with what they had.
    pub(crate) leaving: RwLock<Vec<Arc<Running>>>,
    pub(crate) supervisors: Vec<String>,
    pub(crate) threads: usize,
    pub(crate) hop_limit: u16,
    pub(crate) commands: mpsc::UnboundedSender<Command>,
    pub(crate) address: OnceLock<SocketAddr>,
    /// Numbers of processors, also of those that are gone.
    pub(crate) next_processor: AtomicUsize,
    /// Hosts whose instances are not all built yet.
    pub(crate) unbuilt: AtomicUsize,
    pub(crate) built: Notify,
    pub(crate) recorder: Arc<crate::metrics::Recorder>,
}

impl Core {
    pub(crate) fn find(&self, processor: &str) -> Option<Arc<Running>> {
        let processors = self.processors.read();
        let named = |of: &&Arc<Running>| &*of.declaration.name == processor;
        processors.iter().find(named).filter(|of| of.subscribed.load(SeqCst)).cloned()
    }

    /// A processor gets its place in the order.
    pub(crate) fn subscribe(&self, running: &Running) {
        self.broker.subscribe(&running.subscription, running.lane);
        running.subscribed.store(true, SeqCst);
    }

    /// A processor no longer belongs here; it finishes what it has. False if somebody was faster.
    pub(crate) fn dismiss(&self, running: &Arc<Running>) -> bool {
        let mut processors = self.processors.write();
        let Some(place) = processors.iter().position(|of| Arc::ptr_eq(of, running)) else {
            return false;
        };
        // Under both locks, so that whoever looks at both finds it in one of them.
        let mut leaving = self.leaving.write();
        let running = processors.remove(place);
        leaving.push(running.clone());
        drop((leaving, processors));
        self.broker.unsubscribe(&running.subscription, running.lane);
        true
    }

    /// Those that left and are through with what they had are shown for the last time, as empty.
    pub(crate) fn forget_those_gone(&self) {
        let through = |of: &mut Arc<Running>| of.subscription.is_empty();
        let gone: Vec<_> = self.leaving.write().extract_if(.., through).collect();
        self.show_gauges(&gone);
        drop(gone); // not under the lock: what the application gave is dropped here
    }

    /// All that have something to finish, in the order they were added.
    pub(crate) fn all(&self) -> Vec<Arc<Running>> {
        let processors = self.processors.read();
        let mut all = self.leaving.read().clone();
        all.extend(processors.iter().cloned());
        drop(processors);
        all.sort_by_key(|running| running.subscription.name.index);
        all
    }

    pub(crate) fn is_built(&self) -> bool {
        self.unbuilt.load(SeqCst) == 0
    }

    pub(crate) fn host_built(&self) {
        if self.unbuilt.fetch_sub(1, SeqCst) == 1 {
            self.built.notify_waiters();
        }
    }
}
