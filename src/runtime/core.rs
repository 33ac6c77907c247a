//! What the threads of a runtime and its handles share.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst};

use parking_lot::{Mutex, RwLock};
use tokio::sync::{Notify, mpsc};

use super::control::Command;
use super::storage::{Subscriptions, Writing};
use super::table::Table;
use crate::broker::handle::Broker;
use crate::error::{Error, ErrorKind};
use crate::queue::Subscription;
use crate::request::Requests;
use crate::supervise::child::{Child, Declaration};
use crate::supervise::registry::Registry;
use crate::supervise::tree::GaveUp;

/// A processor that has its name, and its place in the order.
pub(crate) struct Running {
    /// Its own, also if it is counted with others.
    pub(crate) number: usize,
    pub(crate) declaration: Declaration,
    pub(crate) subscription: Arc<Subscription>,
    pub(crate) child: Arc<dyn Child>,
    /// The names of its supervisor, or pool.
    pub(crate) supervisor: String,
    pub(crate) lane: usize,
    /// It has its place in the order. Before that its name is taken, and nobody can remove it.
    pub(crate) subscribed: AtomicBool,
    /// Its instances have never all been built, and whoever waits for that waits for it.
    pub(crate) unbuilt: AtomicBool,
    /// Children that run it, or are about to.
    pub(crate) users: AtomicUsize,
}

/// Shared by all handles and threads of one runtime.
pub(crate) struct Core {
    pub(crate) name: String,
    /// Which of the process's runtimes it is.
    pub(crate) number: u64,
    pub(crate) broker: Arc<Broker>,
    pub(crate) requests: Arc<Requests>,
    pub(crate) processors: RwLock<Table>,
    /// Removed, and not through with what they had.
    pub(crate) leaving: RwLock<Vec<Arc<Running>>>,
    /// Deleted, with events that nobody will handle any more.
    pub(crate) orphans: RwLock<Vec<Arc<Running>>>,
    pub(crate) threads: usize,
    pub(crate) hop_limit: u16,
    pub(crate) commands: mpsc::UnboundedSender<Command>,
    pub(crate) address: OnceLock<SocketAddr>,
    /// Numbers of processors, also of those that are gone.
    pub(crate) next_processor: AtomicUsize,
    /// Processors whose instances are not all built yet.
    pub(crate) unbuilt: AtomicUsize,
    /// Somebody was built, or all has ended.
    pub(crate) built: Notify,
    /// The tree has ended: because it gave up, or because all of its supervisors had.
    ended: OnceLock<Option<GaveUp>>,
    pub(crate) recorder: Arc<crate::metrics::Recorder>,
    /// Held while gauges are read and set, so that what is gone is not shown as it was before.
    pub(super) showing: Mutex<()>,
    /// The log on disk, as long as it is written to.
    pub(crate) writing: Mutex<Option<Writing>>,
    /// Those that it knows.
    pub(crate) subscriptions: Mutex<Option<Subscriptions>>,
    /// Plain actors, by the names from the top-level supervisor down.
    pub(crate) actors: Arc<Registry>,
}

impl Core {
    pub(super) fn new(
        name: String,
        broker: Arc<Broker>,
        threads: usize,
        hop_limit: u16,
        commands: mpsc::UnboundedSender<Command>,
        recorder: Arc<crate::metrics::Recorder>,
    ) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self {
            name,
            number: NEXT.fetch_add(1, SeqCst),
            requests: Arc::new(Requests::new(broker.clone())),
            broker,
            processors: RwLock::default(),
            leaving: RwLock::default(),
            orphans: RwLock::default(),
            threads,
            hop_limit,
            commands,
            address: OnceLock::new(),
            next_processor: AtomicUsize::new(0),
            unbuilt: AtomicUsize::new(0),
            built: Notify::new(),
            ended: OnceLock::new(),
            recorder,
            showing: Mutex::new(()),
            writing: Mutex::default(),
            subscriptions: Mutex::default(),
            actors: Arc::default(),
        }
    }

    pub(crate) fn find(&self, processor: &str) -> Option<Arc<Running>> {
        let processors = self.processors.read();
        processors.find(processor).filter(|of| of.subscribed.load(SeqCst)).cloned()
    }

    /// A processor gets its place in the order.
    pub(crate) fn subscribe(&self, running: &Running) {
        let declaration = &running.declaration;
        let does_nothing = declaration.handles.is_empty() && declaration.emits.is_empty();
        if does_nothing && !declaration.is_mediator {
            return; // an actor
        }
        self.broker.subscribe(&running.subscription, running.lane);
        running.subscribed.store(true, SeqCst);
    }

    /// A processor no longer belongs here; it finishes what it has. False if somebody was faster.
    pub(crate) fn dismiss(&self, running: &Arc<Running>) -> bool {
        self.moves(running, &self.leaving)
    }

    /// A processor is gone, and what it has not handled is parked as orphaned; or was never there.
    pub(crate) fn orphan(&self, running: &Arc<Running>, undone: bool) {
        let to = if undone { &self.leaving } else { &self.orphans };
        if !self.moves(running, to) {
            return;
        }
        if undone {
            running.subscription.halt();
            self.leaving.write().retain(|of| !Arc::ptr_eq(of, running));
        } else {
            running.subscription.orphan();
            let served = running.declaration.handles.iter().filter(|of| of.served);
            served.for_each(|of| self.requests.orphaned(of.name, &running.declaration.name));
        }
        self.broker.left(&running.subscription);
        self.broker.intake.wake_resters();
    }

    fn moves(&self, running: &Arc<Running>, to: &RwLock<Vec<Arc<Running>>>) -> bool {
        let mut processors = self.processors.write();
        // Under both locks, so that whoever looks at both finds it in one of them.
        let mut others = to.write();
        let Some(running) = processors.take(running) else { return false };
        others.push(running.clone());
        drop((others, processors));
        self.broker.unsubscribe(&running.subscription, running.lane);
        true
    }

    /// Those that left and are through with what they had, or had orphans that are settled, are shown
    /// for the last time, as empty. To be dropped where code of the application may run.
    #[must_use = "to be dropped where code of the application may run"]
    pub(crate) fn forget_those_gone(&self) -> Vec<Arc<Running>> {
        let through = |of: &mut Arc<Running>| of.subscription.is_empty();
        let showing = self.showing.lock();
        let mut gone: Vec<_> = self.leaving.write().extract_if(.., through).collect();
        gone.extend(self.orphans.write().extract_if(.., through));
        self.show_gauges(&gone);
        drop(showing);
        for running in &gone {
            running.subscription.forget_in_log();
            self.forget_mediator(running);
            self.broker.has_news(&running.subscription, false);
        }
        gone
    }

    /// All that have something to finish, in the order they were added.
    pub(crate) fn all(&self) -> Vec<Arc<Running>> {
        let processors = self.processors.read();
        let mut all = self.leaving.read().clone();
        all.extend(self.orphans.read().iter().cloned());
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

    /// The tree has ended.
    pub(super) fn end(&self, gave_up: Option<GaveUp>) {
        self.broker.close();
        self.requests.close();
        self.ended.set(gave_up).ok();
        self.close_mediators();
        self.built.notify_waiters();
    }

    /// Whether the tree has ended; if it gave up, because of what.
    pub(super) fn has_ended(&self) -> Option<Result<(), Error>> {
        let gave_up = self.ended.get()?;
        Some(gave_up.as_ref().map_or(Ok(()), |GaveUp { child, cause }| {
            let text = format!(
                "the runtime gave up: `{child}` failed too often, the last time because {cause}; \
                 mend that, or give its supervisor more `intensity` or `backoff`"
            );
            Err(Error::new(ErrorKind::GaveUp, text))
        }))
    }

    /// Resolves when the tree has ended.
    pub(super) async fn ends(&self) -> Result<(), Error> {
        loop {
            let changed = self.built.notified();
            if let Some(ended) = self.has_ended() {
                return ended;
            }
            changed.await;
        }
    }
}
