//! What the threads of a runtime and its handles share.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

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
        processors.iter().find(|running| &*running.declaration.name == processor).cloned()
    }

    /// A processor no longer belongs here; it finishes what it has.
    pub(crate) fn dismiss(&self, running: &Arc<Running>) {
        self.processors.write().retain(|of| !Arc::ptr_eq(of, running));
        self.set_gauges(); // those that go now are shown as empty, for good
        let mut leaving = self.leaving.write();
        leaving.retain(|of| !of.subscription.is_empty());
        leaving.push(running.clone());
    }

    /// All that have something to finish, in the order they were added.
    pub(crate) fn all(&self) -> Vec<Arc<Running>> {
        let mut all = self.leaving.read().clone();
        all.extend(self.processors.read().iter().cloned());
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
