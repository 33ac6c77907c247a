//! One processor's place in the order: what waits for it, what is held, what it keeps.

use std::collections::BTreeMap;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::Waker;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::batch::{Batch, Events, Load};
use super::kept::Kept;
use super::report::{ParkedEvent, Report};
use super::settlement::{Commit, Left, Released, Settle};
use super::state::{Counts, Offer, OnPark, State, Status, Verdict};
use super::waiting::{Cursor, Line, Wanted, load_between};
use crate::clock::{Clock, Moment, Timestamp};
use crate::error::Failure;
use crate::guard::contain;
use crate::message::{EventId, Key, Seq};
use crate::signal::{Cause, DropReason, ProcessorName, Signal, Signals};
use crate::store::memory::{KeptState, StateKey, StateTable, Value};

/// What happens when a subscription is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WhenFull {
    /// Publishers of its topics wait. Nothing is lost.
    #[default]
    Block,
    /// The event that waits longest is dropped, and counted.
    DropOldest,
    /// What comes is dropped, and counted.
    DropNewest,
}

/// The bounds and rules of one subscription.
#[derive(Debug, Clone, Copy)]
pub(crate) struct QueueSettings {
    pub(crate) bound: Load,
    /// Beyond the bound, for what handlers publish.
    pub(crate) reserve: Load,
    pub(crate) when_full: WhenFull,
    pub(crate) on_park: OnPark,
    pub(crate) most_held: usize,
    pub(crate) most_states: usize,
    pub(crate) instances: usize,
    /// On how many threads the instances live.
    pub(crate) hosts: usize,
}

/// Who asks for work: one of the futures that run handlers, on one of the processor's threads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Driver {
    pub(crate) host: usize,
    pub(crate) number: usize,
}

/// What a thread gets to do.
pub(crate) enum Claim {
    /// The front batch between two places; the thread tells by commits how far it came.
    Range { batch: Arc<Batch>, from: Cursor, end: Cursor, clear: bool },
    /// One event, which is in hand until it is settled.
    /// `home` says which instance its key prefers.
    One { batch: Arc<Batch>, at: Cursor, which: u16, home: Option<u64> },
    /// A held event, and how often it failed.
    Kept { seq: Seq, failures: u32, kept: Kept },
    /// Publications whose time has come.
    Publish(Events),
    /// Nothing now; something held is due then.
    Nothing { due: Option<Moment> },
    /// Nothing now and nothing to come.
    Closed,
}

/// A driver that found nothing to do.
struct Idle {
    driver: Driver,
    waker: Waker,
}

struct InHand {
    batch: Arc<Batch>,
    at: Cursor,
    key: Option<Key>,
}

struct Inner {
    line: Line,
    state: State,
    kept: BTreeMap<Seq, Kept>,
    parked: BTreeMap<EventId, Seq>,
    in_hand: BTreeMap<Seq, InHand>,
    table: StateTable,
    delayed: Vec<(Moment, Events)>,
    idle: Vec<Idle>,
    paused: bool,
    /// Hands out nothing fresh before that: what its handlers publish finds no room.
    pressed_until: Moment,
    closed: bool,
    halted: bool,
    stopped: bool,
}

/// One processor's place in the order of all events.
pub(crate) struct Subscription {
    pub(crate) name: ProcessorName,
    pub(crate) settings: QueueSettings,
    pub(crate) wanted: Wanted,
    pub(crate) left: Left,
    one_by_one: bool,
    halt: Notify,
    /// In eighths of the bound, when publishers were last thought of.
    fullness: AtomicU64,
    inner: Mutex<Inner>,
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
        let crew = settings.instances > 1;
        let inner = Inner {
            line: Line::default(),
            state: State::new(settings.on_park, crew, settings.most_held),
            kept: BTreeMap::new(),
            parked: BTreeMap::new(),
            in_hand: BTreeMap::new(),
            table: StateTable::default(),
            delayed: Vec::new(),
            idle: Vec::new(),
            paused: false,
            pressed_until: Moment::default(),
            closed: false,
            halted: false,
            stopped: false,
        };
        let one_by_one = crew || settings.when_full == WhenFull::DropOldest;
        Self {
            name,
            settings,
            wanted,
            left: Left::default(),
            one_by_one,
            halt: Notify::new(),
            fullness: AtomicU64::new(0),
            inner: Mutex::new(inner),
            clock,
            signals,
        }
    }

    /// A batch arrives. Never waits: whoever publishes was let in before.
    pub(crate) fn push(&self, batch: Arc<Batch>) {
        let mut inner = self.inner.lock();
        let settings = &self.settings;
        let mut gone = Vec::new();
        let (dropped, reason) = match settings.when_full {
            WhenFull::Block => {
                inner.line.push(batch, &self.wanted, None);
                (Load::default(), DropReason::Newest)
            }
            WhenFull::DropNewest => {
                let room = settings.bound.less(inner.line.load);
                let (_, dropped) = inner.line.push(batch.clone(), &self.wanted, Some(room));
                gone.push(batch);
                (dropped, DropReason::Newest)
            }
            WhenFull::DropOldest => {
                inner.line.push(batch, &self.wanted, None);
                let (dropped, batches) = inner.line.drop_oldest(&self.wanted, settings.bound);
                gone = batches;
                (dropped, DropReason::Oldest)
            }
        };
        self.left.add(dropped);
        let wakers = inner.wake_one();
        drop(inner);
        wakers.wake();
        drop(gone);
        if dropped.events > 0 {
            let processor = &self.name;
            self.signals.state(&Signal::Dropped { processor, events: dropped.events, reason });
        }
    }

    /// No batch arrives any more; what waits is still handled.
    pub(crate) fn close(&self) {
        let mut inner = self.inner.lock();
        inner.closed = true;
        let wakers = inner.wake_all();
        drop(inner);
        wakers.wake();
    }

    /// Hands out nothing any more, whatever waits: the runtime stops.
    pub(crate) fn halt(&self) {
        let mut inner = self.inner.lock();
        inner.halted = true;
        let wakers = inner.wake_all();
        drop(inner);
        wakers.wake();
        self.halt.notify_waiters();
    }

    /// Resolves when [`Subscription::halt`] was called.
    pub(crate) async fn halted(&self) {
        let called = self.halt.notified();
        if !self.inner.lock().halted {
            called.await;
        }
    }

    /// Paused, it hands out nothing, and its events wait.
    pub(crate) fn pause(&self, paused: bool) {
        let mut inner = self.inner.lock();
        inner.paused = paused;
        let wakers = inner.wake_all();
        drop(inner);
        wakers.wake();
    }

    /// Hands out work to the host with that number; with nothing to do, remembers whom to wake.
    pub(crate) fn claim(&self, driver: Driver, waker: &Waker) -> Claim {
        let mut stopped = None;
        let claim = self.claim_quietly(driver, waker, &mut stopped);
        self.say_held(stopped);
        claim
    }

    fn claim_quietly(&self, driver: Driver, waker: &Waker, stopped: &mut Option<bool>) -> Claim {
        let mut known: Option<(Seq, Option<Key>, Option<Kept>)> = None;
        loop {
            let now = self.clock.now();
            let mut inner = self.inner.lock();
            if inner.halted {
                return Claim::Closed;
            }
            if let Some(claim) = inner.claim_held(now) {
                let more = inner.wake_for_more(&self.wanted);
                drop(inner);
                more.wake();
                return claim;
            }
            *stopped = inner.held_changed().or(*stopped);
            let free = !inner.paused && !inner.state.is_full() && now >= inner.pressed_until;
            if let Some((batch, at, which)) =
                inner.line.first(&self.wanted).filter(|_| free).map(|(b, a, w)| (b.clone(), a, w))
            {
                if !self.one_by_one {
                    let end = inner.line.batches.front().map_or(at, |front| front.end);
                    let clear = inner.state.is_clear();
                    return Claim::Range { batch, from: at, end, clear };
                }
                let run = &batch.events.runs()[at.run as usize];
                let seq = batch.seq(run, at.index);
                let Some((_, key, kept)) = known.take().filter(|(of, _, _)| *of == seq) else {
                    drop(inner);
                    match key_of(&batch, at) {
                        Ok(key) => known = Some((seq, key, None)),
                        Err(panic) => self.park_keyless(&batch, at, which, panic),
                    }
                    continue;
                };
                let waits = key.as_ref().is_some_and(|key| inner.state.waits_long(key));
                if waits && kept.is_none() {
                    drop(inner);
                    let kept = Kept::encoded(&batch, at.run, at.index, which);
                    known = Some((seq, key, Some(kept)));
                    continue;
                }
                let home = key.as_ref().map(home_of);
                if let Some(other) = self.idle_at_home(&mut inner, driver, home) {
                    inner.rest(driver, waker);
                    let due = inner.next_due(now);
                    drop(inner);
                    other.wake();
                    return Claim::Nothing { due };
                }
                match inner.state.offer(seq, key.as_ref()) {
                    Offer::Start => {
                        let (load, gone) = inner.line.advance(at.next(), &self.wanted);
                        inner.line.load.add(load);
                        inner.in_hand.insert(seq, InHand { batch: batch.clone(), at, key });
                        let more = inner.wake_for_more(&self.wanted);
                        drop(inner);
                        drop(gone);
                        more.wake();
                        return Claim::One { batch, at, which, home };
                    }
                    Offer::Behind => {
                        let mut kept =
                            kept.unwrap_or_else(|| Kept::pinned(&batch, at.run, at.index, which));
                        kept.key = key;
                        inner.kept.insert(seq, kept);
                        let (load, gone) = inner.line.advance(at.next(), &self.wanted);
                        self.left.add(load);
                        drop(inner);
                        drop(gone);
                        continue;
                    }
                    Offer::Full => {}
                }
            }
            if inner.is_finished() {
                return Claim::Closed;
            }
            inner.rest(driver, waker);
            return Claim::Nothing { due: inner.next_due(now) };
        }
    }

    /// If the key's home is another thread that has nothing to do, it shall have the event.
    fn idle_at_home(&self, inner: &mut Inner, me: Driver, home: Option<u64>) -> Option<Waker> {
        if self.settings.hosts < 2 {
            return None;
        }
        let host = (home? % self.settings.hosts as u64) as usize;
        if host == me.host {
            return None;
        }
        let idle = inner.idle.iter().position(|idle| idle.driver.host == host)?;
        Some(inner.idle.swap_remove(idle).waker)
    }

    /// Whether the next event of a claimed range may start: with exceptions about, each is asked
    /// for. `Behind` means that its key is taken; [`Subscription::put_behind`] moves it aside.
    pub(crate) fn may_start(&self, key: Option<&Key>) -> Offer {
        let mut inner = self.inner.lock();
        let stopped = inner.held_changed();
        // One instance: nothing else starts meanwhile, so that it is busy need not be recorded.
        let offer = match key {
            _ if inner.state.is_full() => Offer::Full,
            Some(key) if inner.state.is_taken(key) => Offer::Behind,
            _ => Offer::Start,
        };
        drop(inner);
        self.say_held(stopped);
        offer
    }

    /// Moves the event at `at` of the front batch behind its key's head. False if the key has
    /// become free meanwhile: then it may start.
    pub(crate) fn put_behind(&self, seq: Seq, key: Key, mut kept: Kept, at: Cursor) -> bool {
        let mut inner = self.inner.lock();
        if !inner.state.is_taken(&key) || inner.state.offer(seq, Some(&key)) != Offer::Behind {
            return false;
        }
        kept.key = Some(key);
        inner.kept.insert(seq, kept);
        let (load, gone) = inner.line.advance(at.next(), &self.wanted);
        self.left.add(load);
        drop(inner);
        drop(gone);
        true
    }

    /// Whether first deliveries need not be asked for.
    pub(crate) fn is_clear(&self) -> bool {
        self.inner.lock().state.is_clear()
    }

    /// Carries out a commit. Everything in it happens, under one lock. Returns how many events of
    /// the front batch it settled.
    pub(crate) fn commit(&self, commit: Commit) -> u64 {
        let mut passed = 0;
        let mut released = Released::default();
        let mut inner = self.inner.lock();
        if let Some(to) = commit.to {
            let (left, gone) = inner.line.advance(to, &self.wanted);
            self.left.add(left);
            passed = left.events;
            released.batches.extend(gone);
        }
        let mut wakes = false;
        if let Some(settle) = commit.settle {
            self.settle(&mut inner, settle, &mut released);
            wakes = true;
        }
        if let Some(until) = commit.pressed_until {
            inner.pressed_until = until;
        }
        for (name, value) in commit.states {
            released.values.extend(inner.table.put(name, value));
        }
        if !commit.delayed.is_empty() {
            inner.delayed.extend(commit.delayed);
            inner.delayed.sort_by_key(|(due, _)| std::cmp::Reverse(*due));
            wakes = true;
        }
        let wakers = match wakes {
            _ if inner.closed => inner.wake_all(),
            true => inner.wake_one(),
            false => Wakers::default(),
        };
        drop(inner);
        wakers.wake();
        contain(move || drop(released)).ok();
        passed
    }

    fn settle(&self, inner: &mut Inner, settle: Settle, released: &mut Released) {
        let seq = match &settle {
            Settle::Done { seq, .. } | Settle::Failed { seq, .. } => *seq,
        };
        let in_hand = inner.in_hand.remove(&seq);
        if let Some(InHand { batch, at, .. }) = &in_hand {
            let load = load_between(batch, &self.wanted, *at, at.next());
            inner.line.load = inner.line.load.less(load);
            self.left.add(load);
        }
        match settle {
            Settle::Done { seq, key } => {
                let key = key.or_else(|| in_hand.as_ref().and_then(|hand| hand.key.clone()));
                inner.state.finished(seq, key.as_ref());
                released.kept.extend(inner.kept.remove(&seq));
            }
            Settle::Failed { seq, failures, verdict, mut kept } => {
                if kept.key.is_none() {
                    kept.key = in_hand.as_ref().and_then(|hand| hand.key.clone());
                }
                inner.state.failed(seq, kept.key.clone(), failures, verdict);
                if verdict == Verdict::Park {
                    inner.parked.insert(kept.id(), seq);
                }
                released.kept.extend(inner.kept.insert(seq, kept));
            }
        }
        released.batches.extend(in_hand.map(|hand| hand.batch));
    }

    /// Parks the event at `at` of the front batch, whose `key()` panicked.
    pub(crate) fn park_keyless(&self, batch: &Arc<Batch>, at: Cursor, which: u16, panic: String) {
        let seq = batch.seq(&batch.events.runs()[at.run as usize], at.index);
        let mut kept = Kept::encoded(batch, at.run, at.index, which);
        let failure = Failure::permanent(format!("key() panicked: {panic}"));
        let report = Report::next(None, Cause::Panicked, failure, Vec::new(), Timestamp::now());
        kept.report = Some(Arc::new(report));
        let (event, attempts) = (kept.id(), 0);
        let settle = Settle::Failed { seq, failures: 1, verdict: Verdict::Park, kept };
        self.commit(Commit { to: Some(at.next()), settle: Some(settle), ..Commit::default() });
        let (processor, cause) = (&self.name, Cause::Panicked);
        self.signals.state(&Signal::Parked { processor, event, attempts, cause });
    }

    /// The kept value of that name, as of the last commit.
    pub(crate) fn value(&self, name: &StateKey) -> Option<Arc<dyn Value>> {
        self.inner.lock().table.get(name)
    }

    pub(crate) fn values<S: KeptState>(&self) -> Vec<(Key, Arc<dyn Value>)> {
        self.inner.lock().table.all::<S>()
    }

    /// Whether one more value may be kept, beside those of these names that are about to be.
    pub(crate) fn has_room_for_state(&self, staged: &[&StateKey]) -> bool {
        let inner = self.inner.lock();
        let (kept, most) = (inner.table.len(), self.settings.most_states);
        // Only near the bound it matters which of them are new.
        kept + staged.len() < most
            || kept + staged.iter().filter(|name| !inner.table.has(name)).count() < most
    }

    pub(crate) fn counts(&self) -> Counts {
        self.inner.lock().state.counts()
    }

    /// Events that wait for their first delivery, or are in hand for it.
    pub(crate) fn waiting(&self) -> Load {
        self.inner.lock().line.load
    }

    /// Whether there is clearly more room than when this was asked last: worth waking publishers
    /// for, who pay for a wake-up with many events.
    pub(crate) fn has_made_room(&self) -> bool {
        let waiting = self.waiting().events;
        let step = waiting / (self.settings.bound.events / 8).max(1);
        self.fullness.swap(step, Relaxed) != step || waiting == 0
    }

    /// How long the oldest waiting event has been waiting.
    pub(crate) fn oldest(&self) -> Option<std::time::Duration> {
        let now = self.clock.now();
        let inner = self.inner.lock();
        inner.line.batches.front().map(|front| now.since(front.batch.at))
    }

    /// Whether nothing more will come, and nothing is left of what came.
    pub(crate) fn is_empty(&self) -> bool {
        let inner = self.inner.lock();
        inner.is_finished() && inner.kept.is_empty()
    }

    /// Whether it takes nothing new because too many events are held.
    pub(crate) fn is_stopped(&self) -> bool {
        self.inner.lock().state.is_full()
    }

    pub(crate) fn is_paused(&self) -> bool {
        self.inner.lock().paused
    }

    /// All parked events, in their order.
    pub(crate) fn parked(&self, name_of: impl Fn(&Kept) -> &'static str) -> Vec<ParkedEvent> {
        let parked: Vec<(Seq, Kept)> = {
            let inner = self.inner.lock();
            let seqs = inner.parked.values();
            seqs.filter_map(|seq| Some((*seq, inner.kept.get(seq)?.clone()))).collect()
        };
        let mut events: Vec<_> = parked
            .into_iter()
            .filter_map(|(seq, kept)| {
                let report = kept.report.as_ref()?;
                Some(ParkedEvent {
                    processor: self.name.name.clone(),
                    topic: name_of(&kept),
                    id: kept.id(),
                    seq,
                    correlation: kept.head.correlation(0),
                    causation: kept.head.causation(0),
                    key: kept.key.clone(),
                    published: kept.head.at,
                    cause: report.cause,
                    reason: report.reason,
                    chain: report.chain.clone(),
                    attempts: report.deliveries,
                    first_failed: report.first_failed,
                    last_failed: report.last_failed,
                    path: report.path.clone(),
                    payload: kept.payload(),
                })
            })
            .collect();
        events.sort_by_key(|event| event.seq);
        events
    }

    /// How many events are parked, by reason.
    pub(crate) fn parked_by_reason(&self) -> BTreeMap<&'static str, u64> {
        let inner = self.inner.lock();
        let mut by_reason = BTreeMap::new();
        for seq in inner.parked.values() {
            if let Some(report) = inner.kept.get(seq).and_then(|kept| kept.report.as_ref()) {
                *by_reason.entry(report.reason).or_default() += 1;
            }
        }
        by_reason
    }

    /// Hands a parked event back, with a clean record. False if it is not parked (any more).
    pub(crate) fn resubmit(&self, id: EventId) -> bool {
        let mut inner = self.inner.lock();
        let Some(seq) = inner.parked.get(&id).copied() else { return false };
        if !inner.state.resubmit(seq) {
            return false;
        }
        inner.parked.remove(&id);
        if let Some(kept) = inner.kept.get_mut(&seq) {
            kept.head.forget_way();
        }
        let wakers = inner.wake_one();
        drop(inner);
        wakers.wake();
        self.signals.state(&Signal::Resubmitted { processor: &self.name, event: id });
        true
    }

    /// Gives a parked event up. False if it is not parked (any more).
    pub(crate) fn discard(&self, id: EventId) -> bool {
        let mut inner = self.inner.lock();
        let Some(seq) = inner.parked.get(&id).copied() else { return false };
        if !inner.state.discard(seq) {
            return false;
        }
        inner.parked.remove(&id);
        let kept = inner.kept.remove(&seq);
        let wakers = inner.wake_one();
        drop(inner);
        drop(kept);
        wakers.wake();
        let reason = DropReason::Discarded;
        self.signals.state(&Signal::Dropped { processor: &self.name, events: 1, reason });
        true
    }

    /// Everything that is not settled, for who shuts down: what it is, and where it stood.
    pub(crate) fn unsettled(&self) -> Vec<(Seq, Kept, Unsettled)> {
        let (waiting, held) = {
            let inner = self.inner.lock();
            let mut waiting: Vec<(Arc<Batch>, Cursor, Cursor)> = inner
                .line
                .batches
                .iter()
                .map(|waiting| (waiting.batch.clone(), waiting.at, waiting.end))
                .collect();
            waiting.extend(
                inner.in_hand.values().map(|hand| (hand.batch.clone(), hand.at, hand.at.next())),
            );
            let held: Vec<_> = inner
                .kept
                .iter()
                .filter_map(|(seq, kept)| Some((*seq, kept.clone(), inner.state.status(*seq)?)))
                .collect();
            (waiting, held)
        };
        let mut all: Vec<_> = held
            .into_iter()
            .map(|(seq, kept, status)| (seq, kept, Unsettled::of(status)))
            .collect();
        for (batch, mut at, end) in waiting {
            while let Some((here, which)) =
                at.seek(&batch, &self.wanted).filter(|(here, _)| *here < end)
            {
                let seq = batch.seq(&batch.events.runs()[here.run as usize], here.index);
                let mut kept = Kept::encoded(&batch, here.run, here.index, which);
                kept.key = key_of(&batch, here).unwrap_or_default();
                all.push((seq, kept, Unsettled::Waiting));
                at = here.next();
            }
        }
        all.sort_by_key(|(seq, _, _)| *seq);
        all
    }

    /// Publications that were to leave later.
    pub(crate) fn take_delayed(&self) -> Vec<Events> {
        let delayed = std::mem::take(&mut self.inner.lock().delayed);
        delayed.into_iter().map(|(_, events)| events).collect()
    }

    fn say_held(&self, stopped: Option<bool>) {
        if let Some(stopped) = stopped {
            self.signals.state(&Signal::Held { processor: &self.name, stopped });
        }
    }
}

/// Where an unsettled event stood when the runtime stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unsettled {
    /// It waited for its first delivery, or was in hand for it.
    Waiting,
    /// It had failed and was to be delivered again.
    Retrying,
    /// It was parked.
    Parked,
    /// It waited behind another event of its key.
    Behind,
    /// It was to be published later.
    Delayed,
}

impl Unsettled {
    fn of(status: Status) -> Self {
        match status {
            Status::Retrying(_) | Status::Ready | Status::InHand => Self::Retrying,
            Status::Parked => Self::Parked,
            Status::Behind => Self::Behind,
        }
    }
}

impl Inner {
    fn claim_held(&mut self, now: Moment) -> Option<Claim> {
        if self.paused {
            return None;
        }
        if self.delayed.last().is_some_and(|(due, _)| *due <= now) {
            return self.delayed.pop().map(|(_, events)| Claim::Publish(events));
        }
        let (seq, failures) = self.state.next(now)?;
        let kept = self.kept.get(&seq)?.clone();
        Some(Claim::Kept { seq, failures, kept })
    }

    /// Whether taking stopped, or goes on, because of what is held; told once a change.
    fn held_changed(&mut self) -> Option<bool> {
        let stopped = self.state.is_full();
        (stopped != std::mem::replace(&mut self.stopped, stopped)).then_some(stopped)
    }

    fn next_due(&self, now: Moment) -> Option<Moment> {
        let delayed = self.delayed.last().map(|(due, _)| *due);
        let pressed = (self.pressed_until > now).then_some(self.pressed_until);
        [self.state.next_due(), delayed, pressed].into_iter().flatten().min()
    }

    fn is_finished(&self) -> bool {
        self.closed
            && self.line.batches.is_empty()
            && self.delayed.is_empty()
            && self.in_hand.is_empty()
            && self.state.counts().active() == 0
    }

    /// Remembers whom to wake when there is something to do.
    fn rest(&mut self, driver: Driver, waker: &Waker) {
        match self.idle.iter_mut().find(|idle| idle.driver == driver) {
            Some(idle) => idle.waker.clone_from(waker),
            None => self.idle.push(Idle { driver, waker: waker.clone() }),
        }
    }

    /// Somebody to wake: one is enough, it wakes another if there is more than one can do.
    fn wake_one(&mut self) -> Wakers {
        Wakers { first: self.idle.pop().map(|idle| idle.waker), more: Vec::new() }
    }

    fn wake_all(&mut self) -> Wakers {
        Wakers { first: None, more: self.idle.drain(..).map(|idle| idle.waker).collect() }
    }

    fn wake_for_more(&mut self, wanted: &Wanted) -> Wakers {
        if self.idle.is_empty() || (self.line.first(wanted).is_none() && !self.state.has_ready()) {
            return Wakers::default();
        }
        self.wake_one()
    }
}

/// The event's key; the panic's text if `key()` panics.
pub(crate) fn key_of(batch: &Batch, at: Cursor) -> Result<Option<Key>, String> {
    let run = &batch.events.runs()[at.run as usize];
    contain(|| batch.events.column(run).key((run.start + at.index) as usize))
}

/// Which instance a key prefers.
fn home_of(key: &Key) -> u64 {
    foldhash::fast::FixedState::default().hash_one(key)
}

/// Whom to wake after the lock is released; rarely more than one.
#[derive(Default)]
struct Wakers {
    first: Option<Waker>,
    more: Vec<Waker>,
}

impl Wakers {
    fn wake(self) {
        for waker in self.first.into_iter().chain(self.more) {
            waker.wake();
        }
    }
}
