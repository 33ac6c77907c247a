//! Between the broker and the log: what is published is put in order by the thread that writes, is
//! written and synced, and then handed out as it would be without a log. Whoever published waits for
//! that.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed, Ordering::SeqCst};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, RwLock};

use super::channels::Channels;
use super::durability::Durabilities;
use super::needs::Needs;
use super::reading::{ChannelNames, Requests};
use super::sequencer::{Placed, Sequencer};
use crate::error::{Error, ErrorKind};
use crate::inflight::InFlight;
use crate::message::Seq;
use crate::message::envelope::TopicId;
use crate::queue::Subscription;
use crate::queue::batch::Batch;
use crate::queue::once::KeyNote;
use crate::queue::stored::run_of;
use crate::signal::Signal;
use crate::store::file::events::Run;
use crate::store::file::facts::name_of;
use crate::store::file::record::{FactKind, put_deleted, put_events, put_fact};
use crate::store::file::spares::Spares;
use crate::store::file::writer::{Bell, Feed, Group, Wrote};

/// What publishers know of the log.
pub(crate) struct Journal {
    pub(crate) bell: Bell,
    /// So many groups are on disk, and so many are written.
    kept: AtomicU64,
    written: AtomicU64,
    state: Mutex<State>,
    /// It cannot be written just now.
    failing: AtomicBool,
    /// Which event each thread is at.
    pub(crate) in_flight: InFlight,
    /// The channels of the log by their numbers.
    pub(crate) names: ChannelNames,
    /// Where subscriptions are read for that are behind; none when the log is closed.
    readers: Mutex<Option<Requests>>,
    spares: Spares,
    /// Subscriptions that are to be forgotten.
    forgotten: Mutex<Vec<u32>>,
    /// Other facts that are to be written.
    facts: Mutex<Vec<u8>>,
    /// Since when what was taken is being written, in milliseconds after the journal began, and one more;
    /// 0 if nothing is.
    writes_since: AtomicU64,
    begun: Instant,
}

/// What somebody waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Due {
    /// The number of a group.
    pub(crate) group: u64,
    /// It is enough that it is written.
    pub(crate) written: bool,
}

#[derive(Default)]
struct State {
    waiting: Vec<(Due, Waker)>,
    failed: Option<String>,
}

impl Journal {
    pub(crate) fn new(
        bell: Bell,
        in_flight: InFlight,
        names: Vec<String>,
        readers: Requests,
        spares: Spares,
    ) -> Self {
        Self {
            bell,
            in_flight,
            kept: AtomicU64::new(0),
            written: AtomicU64::new(0),
            state: Mutex::default(),
            failing: AtomicBool::new(false),
            names: Arc::new(RwLock::new(names)),
            readers: Mutex::new(Some(readers)),
            spares,
            forgotten: Mutex::default(),
            facts: Mutex::default(),
            writes_since: AtomicU64::new(0),
            begun: Instant::now(),
        }
    }

    /// A subscription is behind, and has nothing to do until somebody has read for it.
    pub(crate) fn read_for(&self, subscription: &Arc<Subscription>) {
        if let Some(readers) = &*self.readers.lock() {
            readers.send(subscription.clone()).ok();
        }
    }

    /// There is no room for anything new.
    pub(crate) fn is_short(&self) -> bool {
        self.spares.is_short()
    }

    /// Why nothing new is taken in, if so.
    #[inline]
    pub(crate) fn unable(&self) -> Option<Error> {
        if self.failing.load(Relaxed) {
            return self.failure().map(|why| cannot_be_written(&why));
        }
        self.is_short().then(Error::no_space)
    }

    /// Forgets the subscription of that number.
    pub(crate) fn forget(&self, subscription: u32) {
        self.forgotten.lock().push(subscription);
        self.bell.ring();
    }

    /// These facts are to be written.
    pub(crate) fn put(&self, records: &[u8]) {
        self.facts.lock().extend_from_slice(records);
        self.bell.ring();
    }

    /// How long it has been writing what it took last.
    pub(crate) fn writing(&self) -> Duration {
        let now = self.begun.elapsed().as_millis() as u64;
        let since = self.writes_since.load(Relaxed).checked_sub(1);
        since.map_or(Duration::ZERO, |since| Duration::from_millis(now.saturating_sub(since)))
    }

    fn writes(&self, writes: bool) {
        let since = if writes { self.begun.elapsed().as_millis() as u64 + 1 } else { 0 };
        self.writes_since.store(since, Relaxed);
    }

    fn take_forgotten(&self) -> Vec<u32> {
        std::mem::take(&mut *self.forgotten.lock())
    }

    /// Nothing is read any more, and nobody waits for room.
    pub(crate) fn close(&self) {
        self.spares.close();
        self.readers.lock().take();
    }

    /// Why nothing is written now, if so.
    pub(crate) fn failure(&self) -> Option<String> {
        self.state.lock().failed.clone()
    }

    fn is_done(&self, due: Due) -> bool {
        let groups = if due.written { &self.written } else { &self.kept };
        groups.load(SeqCst) > due.group
    }

    /// Ready when the group is on disk, or written, or when it is not known whether it ever will be.
    pub(crate) fn poll_kept(&self, due: Due, waker: &Waker) -> Poll<Result<(), Error>> {
        if self.is_done(due) {
            return Poll::Ready(Ok(()));
        }
        let mut state = self.state.lock();
        if self.is_done(due) {
            return Poll::Ready(Ok(()));
        }
        if let Some(why) = &state.failed {
            return Poll::Ready(Err(Error::new(
                ErrorKind::Storage,
                format!(
                    "it is not known whether the event will be kept: {}",
                    cannot_be_written(why)
                ),
            )));
        }
        match state.waiting.iter_mut().find(|(of, known)| *of == due && known.will_wake(waker)) {
            Some(_) => {}
            None => state.waiting.push((due, waker.clone())),
        }
        Poll::Pending
    }

    /// How many were told.
    fn advance(&self, groups: u64, synced: bool) -> usize {
        self.written.store(groups, SeqCst);
        if synced {
            self.kept.store(groups, SeqCst);
        }
        let mut state = self.state.lock();
        let woken: Vec<_> = state.waiting.extract_if(.., |(due, _)| self.is_done(*due)).collect();
        drop(state);
        let told = woken.len();
        woken.into_iter().for_each(|(_, waker)| waker.wake());
        told
    }

    fn fail(&self, why: String) {
        let mut state = self.state.lock();
        state.failed = Some(why);
        self.failing.store(true, SeqCst);
        let woken = std::mem::take(&mut state.waiting);
        drop(state);
        woken.into_iter().for_each(|(_, waker)| waker.wake());
    }

    /// It can be written again.
    fn recovers(&self) {
        if self.failing.load(Relaxed) {
            self.state.lock().failed = None;
            self.failing.store(false, SeqCst);
        }
    }
}

fn cannot_be_written(why: &str) -> Error {
    Error::new(
        ErrorKind::Storage,
        format!(
            "the log cannot be written: {why}; it is tried again all the time, and nothing is \
             acknowledged until then: look after the disk"
        ),
    )
}

/// The broker, as the writer knows it.
pub(crate) struct Journalist {
    sequencer: Arc<Sequencer>,
    journal: Arc<Journal>,
    channels: Channels,
    names: Vec<&'static str>,
    taken: Vec<Placed>,
    groups: u64,
    runs: Vec<Run>,
    /// The position behind the last event.
    next: u64,
    needs: Needs,
    /// What will be needed when what was taken is kept.
    told: Vec<(u32, Option<Seq>)>,
    durability: Arc<Durabilities>,
    /// So many publishers have just been told, and may be about to publish again.
    told_publishers: usize,
}

/// What was settled is on disk within that time, if nothing else is written by which it gets there.
const SETTLED: Duration = Duration::from_millis(2);

/// So many publishers are a wave.
const WAVE: usize = 8;
/// And so long they are waited for.
const GATHER: Duration = Duration::from_micros(50);

impl Journalist {
    pub(crate) fn new(
        sequencer: Arc<Sequencer>,
        journal: Arc<Journal>,
        next: Seq,
        needs: Needs,
        durability: Arc<Durabilities>,
    ) -> Self {
        let (names, taken, runs) = (Vec::new(), Vec::new(), Vec::new());
        let channels = Channels::default();
        Self {
            sequencer,
            journal,
            channels,
            names,
            taken,
            groups: 0,
            runs,
            next: next.0,
            needs,
            told: Vec::new(),
            durability,
            told_publishers: 0,
        }
    }

    /// Publishers that come in waves are waited for, a little: else a sync is spent on the first few of
    /// them, and all others wait for it.
    fn gathers(&mut self) {
        let expected = std::mem::take(&mut self.told_publishers);
        if expected < WAVE {
            return;
        }
        let until = Instant::now() + GATHER;
        let events = || self.sequencer.intake.lock().door.before_broker.events;
        while events() < expected as u64 && Instant::now() < until {
            std::thread::yield_now();
        }
    }

    /// What was told is on disk.
    fn say_needs(&mut self) {
        self.needs.told(self.told.drain(..), self.next);
    }

    fn number(&mut self, topic: TopicId, records: &mut Vec<u8>) -> u32 {
        if self.names.len() <= usize::from(topic.0) {
            self.names = self.sequencer.intake.lock().topics.names();
        }
        let name = self.names[usize::from(topic.0)];
        self.channels.number(topic, name, &self.journal.names, records)
    }

    fn put(&mut self, batch: &Batch, group: &mut Group) {
        let stored = batch.events.runs().iter().filter(|run| run.stored);
        self.runs.clear();
        let mut at = 0;
        for run in stored {
            let channel = self.number(run.head.topic, &mut group.records);
            let path = run.head.path.topics();
            let path = path.map(|topic| self.number(topic, &mut group.records)).collect();
            self.runs.push(run_of(&run.head, channel, run.offset - at, run.length, path));
            at = run.offset + run.length;
            group.within(self.durability.within(run.head.topic));
        }
        for KeyNote { topic, key, first } in batch.events.notes() {
            let number = self.number(*topic, &mut group.records);
            let name = [&name_of(FactKind::Dedup, number), key.as_bytes()].concat();
            match first {
                Some(first) => put_fact(&mut group.records, &name, &first.write()),
                None => put_deleted(&mut group.records, &name),
            }
        }
        let first = batch.first.0;
        if !self.runs.is_empty() {
            put_events(&mut group.records, first, &self.runs, batch.events.stored());
        }
        self.next = first + u64::from(batch.events.len());
        group.commit(first, self.next);
    }
}

impl Feed for Journalist {
    fn take(&mut self, group: &mut Group) -> bool {
        self.gathers();
        self.journal.writes(true);
        let mut taken = std::mem::take(&mut self.taken);
        let forgotten = self.journal.take_forgotten();
        let facts = std::mem::take(&mut *self.journal.facts.lock());
        let more = !(forgotten.is_empty() && facts.is_empty());
        let any = self.sequencer.take(&mut taken, more);
        for number in &forgotten {
            for kind in [FactKind::Subscription, FactKind::Progress] {
                put_deleted(&mut group.records, &name_of(kind, *number));
            }
            self.told.push((*number, None));
        }
        if more {
            group.records.extend_from_slice(&facts);
            group.within(SETTLED);
            group.commit(self.next, self.next);
        }
        for placed in &taken {
            match placed {
                Placed::Batch(batch) => self.put(batch, group),
                Placed::News(told, batch) => {
                    group.records.extend_from_slice(&told.records);
                    group.within(SETTLED);
                    self.told.push((told.number, told.needs));
                    match batch {
                        Some(batch) => self.put(batch, group),
                        None => group.commit(self.next, self.next),
                    }
                }
                Placed::Subscribe(..) | Placed::Unsubscribe(..) => {}
            }
        }
        self.taken = taken;
        any
    }

    fn written(&mut self, synced: bool) {
        self.journal.recovers();
        self.groups += 1;
        self.told_publishers = self.journal.advance(self.groups, synced);
        if synced {
            self.say_needs();
        }
        self.sequencer.hand_out(&mut self.taken);
    }

    fn wrote(&mut self, Wrote { commits, bytes, synced }: Wrote) {
        self.sequencer.signals.state(&Signal::Written { commits, bytes, synced });
    }

    fn synced(&mut self) {
        self.journal.recovers();
        self.journal.advance(self.groups, true);
        self.say_needs();
    }

    fn failed(&mut self, error: &std::io::Error, times: u32) {
        let error = error.to_string();
        self.sequencer.signals.state(&Signal::LogFailed { error: &error, times });
        if times > 1 {
            self.journal.fail(error);
        }
    }

    fn given_up(&mut self) {
        tracing::error!(
            "the log was not written to its end: what was not acknowledged may be lost"
        );
        self.sequencer.give_up(&mut self.taken);
    }

    fn is_idle(&mut self) -> bool {
        self.journal.writes(false);
        let nothing =
            self.journal.forgotten.lock().is_empty() && self.journal.facts.lock().is_empty();
        nothing && self.sequencer.intake.lock().has_no_events()
    }
}
