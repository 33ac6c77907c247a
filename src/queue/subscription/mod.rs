//! One processor's place in the order: what waits for it, what is held, what it keeps.

mod acknowledge;
mod claim;
mod commit;
mod drivers;
mod durable;
mod fullness;
mod held;
mod keeps;
mod late;
mod life;
mod orphan;
mod restore;
mod shelf;
mod source;
#[cfg(test)]
mod tests_support;
mod trial;
mod untold;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};
use std::sync::{Arc, OnceLock};
use std::task::Waker;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::clock::{Clock, Moment};
use crate::guard::contain;
use crate::message::{Key, Seq};
use crate::queue::batch::{Batch, Load};
use crate::queue::delayed::DelayedEvents;
use crate::queue::kept::{Kept, KeptEvents};
use crate::queue::parked::ParkedEvents;
use crate::queue::report::BriefReport;
use crate::queue::settings::{Acknowledge, QueueSettings, WhenFull};
use crate::queue::settlement::Left;
use crate::queue::state::{Counts, State};
use crate::queue::waiting::{Cursor, Line, Wanted};
use crate::signal::{DropReason, ProcessorName, Signal, Signals};
use crate::store::memory::StateTable;

pub(crate) use acknowledge::{FailedLease, Said};
pub(crate) use claim::Claim;
pub(crate) use drivers::Driver;
use drivers::{Drivers, Hand, Wakers};
use durable::News;
pub(crate) use durable::Told;
pub use held::Unsettled;
pub(crate) use late::Late;
pub(crate) use restore::Restored;
pub(crate) use shelf::{Found, ReadBack, Readable};
use source::Source;
pub(crate) use trial::Trial;

/// Ticks after which work that lies here is offered to another idle driver.
const LONG: u32 = 3;

struct InHand {
    batch: Arc<Batch>,
    at: Cursor,
    key: Option<Key>,
}

impl InHand {
    /// The event as it is kept, where it is.
    fn kept(&self, wanted: &Wanted) -> Kept {
        let topic = self.batch.events.runs()[self.at.run as usize].head.topic;
        // It is in hand because it is wanted.
        let which = wanted.which(topic).unwrap_or_default();
        let mut kept = Kept::pinned(&self.batch, self.at.run, self.at.index, which);
        kept.key.clone_from(&self.key);
        kept
    }
}

struct Inner {
    line: Line,
    state: State,
    kept: KeptEvents,
    /// Events that have their turn, and only the log has; and those that are being fetched from there.
    fetch: BTreeSet<Seq>,
    fetching: BTreeSet<Seq>,
    /// Events that are held in the log, and cannot be read by this program, or not now.
    unreadable: BTreeSet<Seq>,
    /// Somebody has been asked to fetch.
    fetch_asked: bool,
    /// What may be held at most, in bytes.
    most_held_weight: u64,
    parked: ParkedEvents,
    /// What was said of events that somebody handed back, and that are being fetched.
    vouched: BTreeMap<Seq, BriefReport>,
    in_hand: BTreeMap<Seq, InHand>,
    in_hand_load: Load,
    /// So many held events were handed out since something fresh had its turn.
    held_in_a_row: u32,
    table: StateTable,
    delayed: DelayedEvents,
    drivers: Drivers,
    /// Events that blocked a thread for too long, for some driver to see to: those on the line, and
    /// those that were handed out by themselves.
    late_in_line: BTreeSet<Seq>,
    late: BTreeSet<Seq>,
    /// Events that a handler was at when the process died, and how often: when their turn comes, they
    /// have failed.
    suspects: BTreeMap<Seq, u32>,
    /// The same, until they are settled otherwise.
    on_trial: BTreeSet<Seq>,
    /// Events in hand that count as handled already.
    acknowledged: BTreeSet<Seq>,
    /// Events that somebody took along, to acknowledge them later.
    leases: acknowledge::Leases,
    /// Events before that were published by an earlier process: nobody here counts on them.
    earlier: Seq,
    /// What each of these weighs in the mean.
    earlier_weight: u64,
    /// What the log is to be told, if there is one.
    news: Option<News>,
    /// How far the log can be read.
    readable: Option<shelf::Readable>,
    source: Source,
    /// The place behind the last batch that came.
    seen: Seq,
    /// How many ticks have found work here, and somebody idle.
    lain: u32,
    paused: bool,
    /// Hands out nothing fresh before that: what its handlers publish finds no room.
    pressed_until: Moment,
    closed: bool,
    halted: bool,
    /// What was left undone is given back: nothing is done any more.
    sealed: bool,
    /// Its processor is gone: all that comes is parked.
    orphaned: bool,
    stopped: bool,
}

/// One processor's place in the order of all events.
pub(crate) struct Subscription {
    pub(crate) name: ProcessorName,
    pub(crate) settings: QueueSettings,
    pub(crate) wanted: Wanted,
    pub(crate) left: Left,
    one_by_one: bool,
    leaving: Notify,
    /// Nobody is there to handle anything, nor about to be: what comes is kept, and nobody waits for
    /// it.
    detached: AtomicBool,
    /// Nobody is there to handle anything now, but will be after a back-off.
    stalled: AtomicBool,
    /// The least limit of its channels, if they have any.
    limit: OnceLock<Load>,
    /// In eighths of the bound, when publishers were last thought of.
    fullness: AtomicU64,
    /// One more than its number in the log; 0 if there is none.
    log_number: AtomicU64,
    /// There is something to tell to the log; and that lies with who tells it.
    news: AtomicBool,
    marked: AtomicBool,
    /// Somebody is to read the log for it.
    hungry: AtomicBool,
    /// What was done and has not been told yet: until then the runtime does not rest.
    untold: AtomicU32,
    inner: Mutex<Inner>,
    /// Reads events back that only the log has, if there is one.
    log: OnceLock<shelf::ReadBack>,
    /// What it keeps to, after a process that died at events.
    trial: OnceLock<Arc<Trial>>,
    clock: Arc<Clock>,
    signals: Arc<Signals>,
}

impl Subscription {
    pub(crate) fn new(
        name: ProcessorName,
        settings: QueueSettings,
        wanted: Wanted,
        clock: Arc<Clock>,
        signals: Arc<Signals>,
    ) -> Self {
        let crew = settings.is_crew();
        let inner = Inner {
            line: Line::default(),
            state: State::new(settings.on_park, crew, settings.most_held),
            kept: KeptEvents::default(),
            fetch: BTreeSet::new(),
            fetching: BTreeSet::new(),
            unreadable: BTreeSet::new(),
            fetch_asked: false,
            most_held_weight: settings.bound.weight,
            parked: ParkedEvents::default(),
            vouched: BTreeMap::new(),
            in_hand: BTreeMap::new(),
            in_hand_load: Load::default(),
            held_in_a_row: 0,
            table: StateTable::default(),
            delayed: DelayedEvents::default(),
            drivers: Drivers::default(),
            late_in_line: BTreeSet::new(),
            late: BTreeSet::new(),
            suspects: BTreeMap::new(),
            on_trial: BTreeSet::new(),
            acknowledged: BTreeSet::new(),
            leases: BTreeMap::new(),
            earlier: Seq(0),
            earlier_weight: 0,
            news: None,
            readable: None,
            source: Source::Memory,
            seen: Seq(0),
            lain: 0,
            paused: false,
            pressed_until: Moment::default(),
            closed: false,
            halted: false,
            sealed: false,
            orphaned: false,
            stopped: false,
        };
        let one_by_one = crew
            || settings.when_full == WhenFull::DropOldest
            || settings.acknowledge != Acknowledge::AfterSuccess;
        Self {
            name,
            settings,
            wanted,
            left: Left::default(),
            one_by_one,
            leaving: Notify::new(),
            detached: AtomicBool::new(false),
            stalled: AtomicBool::new(false),
            limit: OnceLock::new(),
            fullness: AtomicU64::new(0),
            log_number: AtomicU64::new(0),
            news: AtomicBool::new(false),
            marked: AtomicBool::new(false),
            hungry: AtomicBool::new(false),
            untold: AtomicU32::new(0),
            inner: Mutex::new(inner),
            log: OnceLock::new(),
            trial: OnceLock::new(),
            clock,
            signals,
        }
    }

    /// A batch arrives. Never waits: whoever publishes was let in before. What it pushes out goes to
    /// `gone`, because `Drop` is user code.
    pub(crate) fn push(&self, batch: Arc<Batch>, gone: &mut Vec<Arc<Batch>>) {
        let mut inner = self.inner.lock();
        if inner.orphaned {
            match inner.news.is_some() {
                // So that it is known to have come.
                true => drop(self.push_kept(&mut inner, batch, gone)),
                false => inner.line.push(batch, &self.wanted),
            }
            self.park_all(inner);
            return;
        }
        let settings = &self.settings;
        let (dropped, reason) = match settings.when_full {
            _ if inner.news.is_some() => {
                (self.push_kept(&mut inner, batch, gone), DropReason::Missed)
            }
            WhenFull::Block if !self.is_detached() => {
                inner.line.push(batch, &self.wanted);
                (Load::default(), DropReason::Newest)
            }
            WhenFull::Block | WhenFull::DropNewest => {
                let mut room = settings.bound.less(inner.line.load);
                let fits = |one: Load| {
                    let fits = one.fits(room);
                    room = if fits { room.less(one) } else { room };
                    fits
                };
                let dropped = inner.line.push_fitting(&batch, &self.wanted, fits);
                let missed = self.is_detached();
                (dropped, if missed { DropReason::Missed } else { DropReason::Newest })
            }
            WhenFull::DropOldest => {
                // What is too heavy for an empty queue pushes nothing else out.
                let bound = settings.bound;
                let fits = |load: Load| load.weight <= bound.weight;
                let mut dropped = inner.line.push_fitting(&batch, &self.wanted, fits);
                let (oldest, batches) = inner.line.drop_oldest(&self.wanted, bound);
                dropped.add(oldest);
                gone.extend(batches);
                (dropped, DropReason::Oldest)
            }
        };
        self.left.add(dropped);
        // The tick helps if who is woken is on a thread that is stuck.
        self.clock.working();
        let wakers = inner.wake_one();
        drop(inner);
        wakers.wake();
        if dropped.events > 0 {
            let processor = &self.name;
            self.signals.state(&Signal::Dropped { processor, events: dropped.events, reason });
        }
    }

    /// A tick has passed. Somebody to wake if work has been lying here for some of them although
    /// instances are idle: who was woken for it is on a thread that is stuck.
    pub(crate) fn tick(&self) -> Option<Waker> {
        let mut inner = self.inner.lock();
        let free = !inner.paused && inner.drivers.is_idle();
        let open = !inner.is_full() && self.clock.now() >= inner.pressed_until;
        let fresh = free && open && inner.line.first(&self.wanted).is_some();
        let lies = fresh || (free && inner.state.has_ready());
        inner.lain = if lies { inner.lain + 1 } else { 0 };
        if inner.lain <= LONG {
            return None;
        }
        inner.lain = 0;
        inner.drivers.wake_other()
    }

    pub(crate) fn counts(&self) -> Counts {
        self.inner.lock().state.counts()
    }

    /// Events that wait for their first delivery, or are in hand for it.
    pub(crate) fn waiting(&self) -> Load {
        let inner = self.inner.lock();
        inner.line.load.and(inner.in_hand_load)
    }

    /// What is held: retrying, parked, or behind another of its key.
    pub(crate) fn held(&self) -> Load {
        let inner = self.inner.lock();
        Load::new(inner.state.held() as u64, inner.kept.weight())
    }

    /// How long the oldest waiting event has been waiting.
    pub(crate) fn oldest(&self) -> Option<std::time::Duration> {
        let now = self.clock.now();
        let inner = self.inner.lock();
        let waits = inner.line.batches.front().map(|front| (&front.batch, front.at.run));
        let in_hand = inner.in_hand.values().next().map(|hand| (&hand.batch, hand.at.run));
        let ages = waits.into_iter().chain(in_hand).map(|(batch, run)| batch.age(run, now));
        ages.max()
    }

    /// Whether nothing more will come, and nothing is left of what came.
    pub(crate) fn is_empty(&self) -> bool {
        let inner = self.inner.lock();
        let nothing = inner.kept.is_empty() && inner.state.held() == 0 && inner.parked.is_empty();
        // What is only in the log of one that is gone stays there.
        let more = inner.orphaned && inner.source.is_lagging();
        let nothing = nothing && inner.unreadable.is_empty() && !more;
        inner.is_finished() && nothing && !self.has_untold()
    }
}

impl Inner {
    fn is_finished(&self) -> bool {
        self.closed
            && self.line.batches.is_empty()
            && self.delayed.is_empty()
            && self.in_hand.is_empty()
            && self.state.counts().active() == 0
    }

    /// Somebody to wake: one is enough, it wakes another if there is more than one can do.
    fn wake_one(&mut self) -> Wakers {
        Wakers { first: self.drivers.wake_last(), more: Vec::new() }
    }

    fn wake_all(&mut self) -> Wakers {
        Wakers { first: None, more: self.drivers.wake_all() }
    }
}

/// The event's key; the panic's text if `key()` panics.
pub(crate) fn key_of(batch: &Batch, at: Cursor) -> Result<Option<Key>, String> {
    let run = &batch.events.runs()[at.run as usize];
    contain(|| batch.events.column(run).key((run.start + at.index) as usize))
}
