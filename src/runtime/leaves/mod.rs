//! The leaves of the tree: processors, each with its hosts on the threads. Here is what is known of
//! them, and how a host is launched and fenced; in [`carried`] what the tree wants of them.

mod carried;

use std::any::TypeId;
use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use parking_lot::Mutex;

use super::core::{Core, Running};
use super::plan::Specs;
use super::threads::Threads;
use super::wiring::admit;
use crate::broker::holders::Holder;
use crate::clock::Moment;
use crate::error::{Error, ErrorKind};
use crate::queue::fence::Fence;
use crate::signal::RestartCause;
use crate::supervise::Reason;
use crate::supervise::actor::{Addresses, Leaves, ThreadId};
use crate::supervise::child::{Argument, HostId, Reports, Seat};
use crate::supervise::ledger::Failures;
use crate::supervise::policy::{ById, NodeId};
use crate::supervise::tree::{BranchPlan, Plan, Tree};

/// A leaf that runs, or is about to.
struct Leaf {
    running: Arc<Running>,
    /// Its names from the top-level supervisor down.
    path: String,
    argument: Argument,
    decider: Option<usize>,
    hosts: Vec<Host>,
    /// Instances that live, at all hosts.
    living: Arc<AtomicUsize>,
    stopping: bool,
    /// Why it ends, if of its own accord.
    reason: Option<Reason>,
    /// It was taken out of the tree, and finishes what it has.
    let_go: Option<Failures>,
}

struct Host {
    life: u64,
    slots: usize,
    /// None while it is between two lives, or has ended.
    runs: Option<Runs>,
    built: bool,
    /// It was lost, and goes on elsewhere: since when, and why.
    lost: Option<(Moment, RestartCause)>,
}

struct Runs {
    fence: Arc<Fence>,
    holders: Arc<Mutex<Vec<Holder>>>,
    thread: ThreadId,
}

/// All leaves of a runtime.
pub(crate) struct Processors {
    core: Arc<Core>,
    pub(super) threads: Rc<RefCell<Threads>>,
    pub(super) specs: Specs,
    /// Processors that have their place in the order, by the numbers of their specs, until a node
    /// takes them; those that a pool's children share stay.
    ready: HashMap<usize, Arc<Running>>,
    /// Processors that are down, and keep their place.
    down: ById<Arc<Running>>,
    leaves: ById<Leaf>,
    arguments: ById<Argument>,
    /// Leaves that count as users of their processor: all that are not down.
    users: HashSet<NodeId>,
    /// Children that the application's code is asked about, and the thread where.
    deciding: ById<ThreadId>,
    /// What the application gave and is not needed any more: to be dropped where its code may run.
    trash: Vec<Box<dyn Send>>,
    lives: u64,
    next_worker: usize,
}

impl Processors {
    pub(super) fn new(
        core: Arc<Core>,
        threads: Rc<RefCell<Threads>>,
        specs: Specs,
        ready: HashMap<usize, Arc<Running>>,
    ) -> Self {
        Self {
            core,
            threads,
            specs,
            ready,
            down: ById::default(),
            leaves: ById::default(),
            arguments: ById::default(),
            users: HashSet::new(),
            deciding: ById::default(),
            trash: Vec::new(),
            lives: 0,
            next_worker: 0,
        }
    }

    /// Takes in what was declared later; `ready` are its processors, which have their place in the
    /// order. The plan comes back with the numbers by which it is known here, and these numbers.
    pub(super) fn take_in(
        &mut self,
        specs: Specs,
        ready: HashMap<usize, Arc<Running>>,
        mut plan: Plan,
    ) -> (Plan, Vec<usize>) {
        let (deciders, taken) = self.take(specs, ready);
        plan.renumber(taken.0, deciders);
        (plan, taken.1)
    }

    /// As [`Processors::take_in`], for a supervisor whose new children are not to be started yet.
    pub(super) fn take_in_branch(
        &mut self,
        specs: Specs,
        ready: HashMap<usize, Arc<Running>>,
        mut plan: BranchPlan,
    ) -> (BranchPlan, Vec<usize>) {
        let (deciders, taken) = self.take(specs, ready);
        plan.renumber(taken.0, deciders);
        (plan, taken.1)
    }

    fn take(
        &mut self,
        specs: Specs,
        ready: HashMap<usize, Arc<Running>>,
    ) -> (usize, (usize, Vec<usize>)) {
        let numbers: Vec<usize> = specs.leaves.keys().copied().collect();
        let (leaves, deciders) = self.specs.append(specs);
        self.ready.extend(ready.into_iter().map(|(number, of)| (leaves + number, of)));
        (deciders, (leaves, numbers.into_iter().map(|number| leaves + number).collect()))
    }

    /// What was taken in is not needed after all.
    pub(super) fn take_out(&mut self, taken: &[usize]) {
        for number in taken {
            let gone = (self.ready.remove(number), self.specs.leaves.remove(number));
            self.trash.push(Box::new(gone));
        }
    }

    /// The type of the argument that a leaf is started with.
    pub(super) fn argument_of(&self, leaf: Option<usize>) -> Option<TypeId> {
        Some(self.specs.leaves.get(&leaf?)?.child.declaration().argument)
    }

    pub(super) fn argue(&mut self, leaf: NodeId, argument: Argument) {
        if let Some(before) = self.arguments.insert(leaf, argument) {
            self.trash.push(Box::new(before));
        }
    }

    /// The argument of a child that is not started after all.
    pub(super) fn unargue(&mut self, argument: Argument) {
        self.trash.push(Box::new(argument));
    }

    /// The node that runs a processor, is down, or has yet to be started for the first time.
    pub(super) fn node_of(&self, running: &Arc<Running>, tree: &Tree) -> Option<NodeId> {
        let is_it = |of: &Arc<Running>| Arc::ptr_eq(of, running);
        let runs = self.leaves.iter().find(|(_, leaf)| is_it(&leaf.running)).map(|(id, _)| *id);
        let down = || self.down.iter().find(|(_, down)| is_it(down)).map(|(id, _)| *id);
        let ready = || {
            let (number, _) = self.ready.iter().find(|(_, ready)| is_it(ready))?;
            tree.node_of_leaf(*number)
        };
        runs.or_else(down).or_else(ready)
    }

    pub(super) fn drop_elsewhere(&self, what: impl Send + 'static) {
        drop_elsewhere(&self.threads.borrow(), what);
    }

    /// A leaf is no longer the tree's; it finishes what it has. Whether it is gone at once, because it
    /// was down.
    pub(super) fn let_go(&mut self, id: NodeId, running: &Arc<Running>) -> bool {
        if let Some(leaf) = self.leaves.get_mut(&id) {
            leaf.let_go = Some(Failures::default());
            return false;
        }
        // Nobody is there who could finish anything.
        self.down.remove(&id);
        self.ready.retain(|_, ready| !Arc::ptr_eq(ready, running));
        self.count_built(running);
        self.core.orphan(running, false);
        true
    }

    /// What a node is to run as.
    fn running(&mut self, id: NodeId, tree: &Tree) -> Result<Arc<Running>, Error> {
        if let Some(running) = self.down.remove(&id) {
            return Ok(running);
        }
        let spec = tree.leaf(id).and_then(|number| Some((number, self.specs.leaves.get(&number)?)));
        let Some((number, spec)) = spec else {
            return Err(Error::not_found("it was declared nowhere"));
        };
        let own = spec.template && spec.later;
        if spec.template
            && let Some(running) = self.ready.get(&number)
        {
            return Ok(running.clone());
        }
        if let Some(running) = self.ready.remove(&number) {
            return Ok(running);
        }
        // A member of a pool with a subscription of its own; or it was forgotten, and comes back with
        // its supervisor.
        let member = own.then(|| tree.name(id));
        let (template, running) = (spec.template, admit(&self.core, spec, member.as_deref())?);
        self.core.subscribe(&running);
        if template && !own {
            self.ready.insert(number, running.clone());
        }
        Ok(running)
    }

    /// Starts one host of a leaf.
    fn launch(&mut self, id: NodeId, number: usize, to: &Addresses) -> Result<(), Error> {
        self.lives += 1;
        let life = self.lives;
        let Some(leaf) = self.leaves.get_mut(&id) else { return Ok(()) };
        let running = &leaf.running;
        let mut threads = self.threads.borrow_mut();
        let thread = if running.declaration.blocking {
            threads.own(life).map_err(|why| no_thread(&running.declaration.name, number, &why))?
        } else {
            let first = if running.subscription.settings.shared {
                self.next_worker += 1;
                self.next_worker
            } else {
                running.lane
            };
            ThreadId::Worker((first + number) % threads.workers())
        };
        let fence = Arc::new(Fence::new(leaf.living.clone()));
        let holders: Arc<Mutex<Vec<Holder>>> = Arc::default();
        let decider = leaf.decider.and_then(|decider| self.specs.deciders.get(decider)).cloned();
        let host = &mut leaf.hosts[number];
        let reports = Reports {
            id: HostId { node: id, life, host: number },
            tell: to.tell.clone(),
            ask: to.ask.clone(),
            decider,
            count: running.declaration.count,
            reason: RefCell::new(None),
        };
        let seat = Seat {
            broker: self.core.broker.clone(),
            requests: self.core.requests.clone(),
            subscription: running.subscription.clone(),
            fence: fence.clone(),
            pulse: threads.pulse(thread),
            reports,
            holders: holders.clone(),
            argument: leaf.argument.clone(),
            registry: self.core.actors.clone(),
            path: leaf.path.clone(),
            host: number,
            slots: host.slots,
            hop_limit: self.core.hop_limit,
            own_thread: running.declaration.blocking,
        };
        (host.life, host.runs) = (life, Some(Runs { fence, holders, thread }));
        threads.limit(life, running.declaration.timeout);
        let child = running.child.clone();
        threads.run(thread, move || child.host(seat));
        Ok(())
    }

    /// Nothing a host does has any effect from now on.
    fn fence(&mut self, running: &Running, host: &mut Host, blocked: Option<crate::message::Seq>) {
        let Some(runs) = host.runs.take() else { return };
        running.subscription.fence(&runs.fence, blocked);
        self.core.requests.gone(&runs.fence);
        let holders = std::mem::take(&mut *runs.holders.lock());
        holders.into_iter().for_each(|holder| self.core.broker.leave(holder));
        let (on, subscription) = (runs.thread, running.subscription.clone());
        self.threads.borrow_mut().killed(host.life, on, subscription, runs.fence);
        // What it says from now on is not heard.
        self.lives += 1;
        host.life = self.lives;
        self.core.broker.progressed(&running.subscription);
    }

    /// A leaf is through with one life. Whether it was the first, and never came up.
    fn ends(&mut self, id: NodeId) {
        let Some(leaf) = self.leaves.remove(&id) else { return };
        let running = leaf.running;
        self.trash.push(Box::new(leaf.argument));
        running.subscription.stall(true); // until somebody starts it again
        if leaf.let_go.is_some() {
            running.subscription.halt(); // nobody is left who could handle anything
            self.count_built(&running);
            self.core.broker.left(&running.subscription);
            self.trash.push(Box::new(self.core.forget_those_gone()));
            self.trash.push(Box::new(running));
            return;
        }
        self.down.insert(id, running);
        self.core.broker.intake.wake_resters();
    }

    fn count_built(&self, running: &Running) {
        if running.unbuilt.swap(false, SeqCst) {
            self.core.host_built();
        }
    }

    /// A child is down: nobody waits for its processor, unless it is shared with one that is not.
    fn leaves_alone(&mut self, id: NodeId, running: &Arc<Running>) {
        let used = self.users.remove(&id);
        let users = running.users.load(SeqCst).saturating_sub(usize::from(used));
        running.users.store(users, SeqCst);
        if users == 0 {
            self.detach(running, true);
            self.core.broker.intake.wake_resters();
        }
    }

    /// Publishers wait for room in it, or not.
    fn detach(&self, running: &Running, detached: bool) {
        running.subscription.detach(detached);
        if detached {
            self.core.broker.make_room();
        }
    }
}

impl Processors {
    /// All end in order, and nobody waits for it.
    pub(super) fn abandon(&mut self) {
        for running in self.core.all().iter().rev() {
            running.subscription.halt();
        }
        for leaf in self.leaves.values() {
            let runs = leaf.hosts.iter().filter_map(|host| host.runs.as_ref());
            runs.for_each(|of| leaf.running.subscription.stop(&of.fence));
        }
        self.core.broker.intake.wake_resters();
    }

    /// Those that the tree does not know any more end as well.
    pub(super) fn kill_all(&mut self) {
        let all: Vec<NodeId> = self.leaves.keys().copied().collect();
        for id in all {
            self.kill(id);
        }
        for running in self.core.all().iter().rev() {
            running.subscription.halt();
        }
    }

    /// All that is left of what the application gave.
    pub(super) fn take_specs(&mut self) -> impl Send + use<> {
        let leaves: Vec<_> =
            self.leaves.drain().map(|(_, leaf)| (leaf.running, leaf.argument)).collect();
        let ready: Vec<_> = self.ready.drain().map(|(_, running)| running).collect();
        let down: Vec<_> = self.down.drain().map(|(_, running)| running).collect();
        let arguments = std::mem::take(&mut self.arguments);
        let trash = std::mem::take(&mut self.trash);
        (leaves, ready, down, arguments, trash, std::mem::take(&mut self.specs))
    }
}

/// What the application gave is dropped on a thread where its code may run.
fn drop_elsewhere(threads: &Threads, what: impl Send + 'static) {
    threads.run(ThreadId::Worker(0), move || drop(what));
}

pub(in crate::runtime) fn no_thread(processor: &str, instance: usize, why: &str) -> Error {
    let text = format!(
        "`{processor}` is `blocking()`, and instance {instance} got no thread of its own: {why}; \
         give it fewer `instances`, or raise the limit of threads"
    );
    Error::new(ErrorKind::System, text)
}
