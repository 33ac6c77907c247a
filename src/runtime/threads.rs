//! The threads on which processors live: shared ones, each with a lane, and those that a blocking
//! instance has for itself. One that is stuck in user code is given up and replaced.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use actix::{Actor, Arbiter};

use crate::broker::handle::Broker;
use crate::broker::lane::{Carrier, Lane};
use crate::broker::sequencer::Sequencer;
use crate::clock::Moment;
use crate::guard::contain;
use crate::pulse::{Pulse, Stuck, Watch};
use crate::queue::Subscription;
use crate::queue::fence::Fence;
use crate::supervise::actor::ThreadId;

/// How long a host that was killed may go on holding its thread before the thread is given up: nothing
/// it does matters any more, but its neighbours lose what they have in `self`.
const GRACE: Duration = Duration::from_millis(500);
/// However short a processor's `timeout`: a thread may be let off the processor for a while.
const LEAST: Duration = Duration::from_millis(20);
/// Nobody looked for so long: the process stood still.
const STOOD_STILL: Duration = Duration::from_millis(50);
/// As for hosts that are alive, where nobody's code in particular runs.
const NOBODYS: Duration = Duration::from_secs(30);

/// One thread.
struct Thread {
    arbiter: Arbiter,
    pulse: Arc<Pulse>,
    watch: Watch,
    /// It was given up: what it does when it comes back is nobody's business.
    lost: Arc<AtomicBool>,
}

/// A host that was killed.
struct Killed {
    since: Moment,
    on: ThreadId,
    subscription: Arc<Subscription>,
    fence: Arc<Fence>,
}

/// The threads of a runtime.
pub(crate) struct Threads {
    broker: Arc<Broker>,
    workers: Vec<Thread>,
    own: HashMap<u64, Thread>,
    /// Made beforehand, for hosts to come.
    spare: Vec<Arbiter>,
    /// How long each host may be at one thing.
    limits: HashMap<u64, Duration>,
    /// Hosts that were killed, and are not known to be gone.
    killed: HashMap<u64, Killed>,
    looked: Moment,
}

impl Threads {
    pub(crate) fn new(broker: Arc<Broker>, workers: usize) -> Self {
        let lanes = broker.sequencer.lanes().iter().enumerate().take(workers);
        let workers = lanes.map(|(number, lane)| {
            let worker = Thread::worker(number, &broker);
            worker.carries(lane);
            worker
        });
        let workers = workers.collect();
        Self {
            broker,
            workers,
            own: HashMap::new(),
            spare: Vec::new(),
            limits: HashMap::new(),
            killed: HashMap::new(),
            looked: Moment::default(),
        }
    }

    pub(crate) fn workers(&self) -> usize {
        self.workers.len()
    }

    /// Makes a thread for a host to come, so that it is known early if there is none.
    pub(crate) fn reserve(&mut self) -> Result<(), String> {
        self.spare.push(contain(Arbiter::new)?);
        Ok(())
    }

    /// A thread of its own for that host.
    pub(crate) fn own(&mut self, life: u64) -> Result<ThreadId, String> {
        // Threads of hosts that are gone have ended, and take no more.
        if self.own.len().is_power_of_two() {
            self.own.retain(|_, thread| thread.arbiter.spawn_fn(|| {}));
        }
        let arbiter = self.spare.pop().map_or_else(|| contain(Arbiter::new), Ok)?;
        self.own.insert(life, Thread::of(arbiter, Arc::default(), &self.broker));
        Ok(ThreadId::Own(life))
    }

    fn get(&self, id: ThreadId) -> Option<&Thread> {
        match id {
            ThreadId::Worker(lane) => self.workers.get(lane),
            ThreadId::Own(life) => self.own.get(&life),
        }
    }

    pub(crate) fn pulse(&self, id: ThreadId) -> Arc<Pulse> {
        self.get(id).map_or_else(Arc::default, |thread| thread.pulse.clone())
    }

    pub(crate) fn run(&self, id: ThreadId, run: impl FnOnce() + Send + 'static) {
        if let Some(thread) = self.get(id) {
            thread.arbiter.spawn_fn(run);
        }
    }

    /// That host may hold its thread for so long.
    pub(crate) fn limit(&mut self, life: u64, limit: Duration) {
        self.limits.insert(life, limit.max(LEAST));
    }

    /// The host was killed, on that thread.
    pub(crate) fn killed(
        &mut self,
        life: u64,
        on: ThreadId,
        subscription: Arc<Subscription>,
        fence: Arc<Fence>,
    ) {
        self.limits.remove(&life);
        let since = self.broker.clock.now();
        self.killed.insert(life, Killed { since, on, subscription, fence });
        self.broker.clock.working(); // somebody is to see whether it goes
    }

    pub(crate) fn forget(&mut self, life: u64) {
        self.limits.remove(&life);
        self.killed.remove(&life);
    }

    /// Looks at all threads: those that have been stuck for too long. Whether any is inside user code
    /// now is told to the clock, so that somebody looks again.
    pub(crate) fn look(&mut self, now: Moment) -> Vec<(ThreadId, Stuck)> {
        let gap = now.since(std::mem::replace(&mut self.looked, now));
        let skip = if gap > STOOD_STILL { gap } else { Duration::ZERO };
        let (limits, killed, mut inside) = (&self.limits, &self.killed, false);
        let too_long = |stuck: &Stuck| match (killed.get(&stuck.host), limits.get(&stuck.host)) {
            (Some(of), _) => now.since(of.since) >= GRACE && stuck.since >= LEAST,
            (None, Some(limit)) => stuck.since >= *limit,
            (None, None) => stuck.since >= NOBODYS,
        };
        let workers = self.workers.iter_mut().enumerate();
        let workers = workers.map(|(lane, thread)| (ThreadId::Worker(lane), thread));
        let own = self.own.iter_mut().map(|(life, thread)| (ThreadId::Own(*life), thread));
        let stuck = workers
            .chain(own)
            .filter_map(|(id, thread)| {
                thread.watch.skip(skip);
                Some((id, thread.watch.look(&thread.pulse, now)?))
            })
            .inspect(|_| inside = true)
            .filter(|(_, stuck)| too_long(stuck))
            .collect();
        if inside {
            self.broker.clock.working();
        }
        stuck
    }

    /// Whether the thread is still where it was.
    pub(crate) fn is_stuck(&mut self, id: ThreadId, stuck: Stuck, now: Moment) -> bool {
        let thread = match id {
            ThreadId::Worker(lane) => self.workers.get_mut(lane),
            ThreadId::Own(life) => self.own.get_mut(&life),
        };
        let seen = thread.and_then(|thread| thread.watch.look(&thread.pulse, now));
        seen.is_some_and(|seen| seen.host == stuck.host && seen.since >= stuck.since)
    }

    /// Gives a thread up. It ends when it comes back. If there is no other to be had it stays, and is
    /// seen to be stuck again.
    pub(crate) fn lose(&mut self, id: ThreadId) {
        let lost = match id {
            ThreadId::Own(life) => self.own.remove(&life),
            ThreadId::Worker(lane) => {
                let sequencer = &self.broker.sequencer;
                let fresh = contain(|| {
                    let arbiter = Thread::worker(lane, &self.broker);
                    sequencer.lanes()[lane].change_hands();
                    sequencer.works(lane);
                    arbiter
                });
                match (fresh, self.workers.get_mut(lane)) {
                    (Ok(fresh), Some(thread)) => {
                        fresh.carries(&sequencer.lanes()[lane]);
                        Some(std::mem::replace(thread, fresh))
                    }
                    (Err(why), _) => {
                        tracing::error!(why, "no thread in place of one that is stuck");
                        None
                    }
                    (Ok(_), None) => None,
                }
            }
        };
        let Some(thread) = lost else { return };
        thread.lost.store(true, SeqCst);
        thread.arbiter.stop();
        for (_, killed) in self.killed.extract_if(|_, killed| killed.on == id) {
            killed.subscription.write_off(&killed.fence);
        }
    }

    /// Asks all threads to end but one, which is given back; waits for none, for one may be stuck in
    /// user code.
    pub(crate) fn end(&mut self) -> Option<Arbiter> {
        let last = self.workers.pop();
        self.spare.drain(..).for_each(|thread| {
            thread.stop();
        });
        for thread in self.workers.drain(..).chain(self.own.drain().map(|(_, thread)| thread)) {
            thread.arbiter.stop();
        }
        last.map(|thread| thread.arbiter)
    }
}

impl Thread {
    fn of(arbiter: Arbiter, lost: Arc<AtomicBool>, broker: &Broker) -> Self {
        let slot = broker.journal.as_ref().and_then(|journal| journal.in_flight.slot());
        Self { arbiter, pulse: Arc::new(Pulse::new(slot)), watch: Watch::default(), lost }
    }

    /// A thread for processors, at the end of a lane.
    fn worker(lane: usize, broker: &Broker) -> Self {
        let lost = Arc::new(AtomicBool::new(false));
        Self::of(arbiter(lane, &broker.sequencer, &lost), lost, broker)
    }

    /// It is at the end of that lane from now on.
    fn carries(&self, lane: &Arc<Lane>) {
        let carrier = Carrier::new(lane.clone(), self.pulse.clone());
        self.arbiter.spawn_fn(move || drop(carrier.start()));
    }
}

/// When it runs out of work it looks for more before it sleeps.
fn arbiter(lane: usize, sequencer: &Arc<Sequencer>, lost: &Arc<AtomicBool>) -> Arbiter {
    let (sequencer, lost) = (sequencer.clone(), lost.clone());
    Arbiter::with_tokio_rt(move || {
        // Weak, because a runtime of tokio lives as long as anybody may wake a task of it.
        let (rests, works) = (Arc::downgrade(&sequencer), Arc::downgrade(&sequencer));
        let (gone, also_gone) = (lost.clone(), lost);
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_all();
        builder.on_thread_park(move || {
            if let Some(sequencer) = rests.upgrade().filter(|_| !gone.load(SeqCst)) {
                sequencer.rests(lane);
            }
        });
        builder.on_thread_unpark(move || {
            if let Some(sequencer) = works.upgrade().filter(|_| !also_gone.load(SeqCst)) {
                sequencer.works(lane);
            }
        });
        builder.build().unwrap_or_else(|error| panic!("no runtime for a thread: {error}"))
    })
}
