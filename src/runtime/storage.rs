//! The log of a runtime on disk: opened before it starts, ended after it.

use std::collections::HashMap;
use std::fs::{File, TryLockError};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender};

use crate::broker::handle::Broker;
use crate::broker::journal::{Journal, Journalist, Needs};
use crate::broker::reading::Reading;
use crate::error::{Error, ErrorKind};
use crate::inflight::InFlight;
use crate::message::Seq;
use crate::queue::{Lasts, Restored, Subscription};
use crate::store::file::disk::{Disk, Folder};
use crate::store::file::facts::{Facts, name_of, number_in};
use crate::store::file::keeper::{Floor, Keeper, Pace};
use crate::store::file::log::{Log, Sizes};
use crate::store::file::record::{FactKind, Records, put_deleted};
use crate::store::file::recovery::{Found, NotOpened, open};
use crate::store::file::writer::{Bell, Writer, bell};

/// Held as long as somebody has the log open.
const LOCK: &str = "cueline.lock";

/// Which event each thread is at.
const IN_FLIGHT: &str = "cueline.inflight";

/// A log that is open, and what it says.
pub(crate) struct Storage {
    log: Log,
    bell: (Bell, Receiver<()>),
    facts: Facts,
    pub(super) journal: Arc<Journal>,
    died: Vec<(u32, u64)>,
    asked: Receiver<Arc<Subscription>>,
    keeping: (Keeper, Receiver<()>, Floor, Sender<()>),
    lock: File,
}

/// A log that is written to.
pub(crate) struct Writing {
    writer: Writer,
    journal: Arc<Journal>,
    ends: Arc<AtomicBool>,
    /// Where whoever looks after it is told to look.
    looks: Sender<()>,
    /// The threads that read, and look after it.
    others: Vec<JoinHandle<()>>,
    /// Others may open the log when this is gone.
    _lock: File,
}

/// The subscriptions that a log knows, and what it says of them.
pub(crate) struct Subscriptions {
    numbers: HashMap<String, u32>,
    next: u32,
    facts: Facts,
    reading: Reading,
    /// Events that an earlier process was at when it died.
    died: HashMap<u32, Vec<Seq>>,
    /// The position of the next event, when the log was opened.
    opened_at: Seq,
}

impl Subscriptions {
    /// A processor's subscription goes on where it was, or begins.
    /// One of a pool's children begins in any case.
    pub(super) fn keep(&mut self, subscription: &Subscription, member: bool) {
        let name = subscription.name.as_str();
        let known = if member { None } else { self.numbers.remove(name) };
        if let Some(number) = known {
            subscription.keep(number, None);
            let Some(restored) = Restored::read(&self.facts, number) else { return };
            let died = self.died.remove(&number).unwrap_or_default();
            let held = restored.held.iter().map(|(seq, _)| *seq);
            let mut held: Vec<Seq> = held.chain(died.iter().copied()).collect();
            held.sort_unstable();
            held.dedup();
            let events = self.reading.events_at(&held, &subscription.wanted);
            let topic = |name: &str| self.reading.topic_named(name);
            subscription.restore(restored, self.opened_at, &died, events, topic);
            return;
        }
        let lasts = if member { Lasts::Process } else { Lasts::Named };
        subscription.keep(self.next, Some((name, lasts)));
        self.next += 1;
    }
}

impl Storage {
    /// Opens the log in that folder, or begins one.
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        let refused = |what: &str, error: std::io::Error| {
            let path = path.display();
            let text = format!("cannot {what} the log in `{path}`: {error}");
            Error::new(ErrorKind::Storage, text)
        };
        let folder = Folder::open(path).map_err(|error| refused("make or find", error))?;
        let lock = folder.path().join(LOCK);
        let lock = File::options().create(true).truncate(false).write(true).open(lock);
        let lock = lock.map_err(|error| refused("lock", error))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let text = format!(
                    "the log in `{}` is in use by another process, or another runtime of this one: \
                     stop that first, or give this one a directory of its own",
                    path.display()
                );
                return Err(Error::new(ErrorKind::Conflict, text));
            }
            Err(TryLockError::Error(error)) => return Err(refused("lock", error)),
        }
        let in_flight = folder.path().join(IN_FLIGHT);
        let in_flight =
            File::options().create(true).truncate(false).read(true).write(true).open(in_flight);
        let in_flight = in_flight.and_then(|file| InFlight::open(&file));
        let (in_flight, died) = in_flight.map_err(|error| refused("map", error))?;
        let disk: Arc<dyn Disk> = Arc::new(folder);
        let mut facts = Facts::default();
        let opened = open(&disk, Sizes::default(), fastrand::Rng::new(), |body| {
            Records::new(body).flatten().for_each(|record| facts.apply(&record));
        });
        let (mut log, mut found) = opened.map_err(|why| match why {
            NotOpened::Refused(error) => refused("read", error),
            NotOpened::Newer(version) => Error::new(
                ErrorKind::Storage,
                format!(
                    "the log in `{}` has format {version}, which this version of cueline does not \
                     know: use the version that wrote it, or a later one; nothing was changed",
                    path.display()
                ),
            ),
        })?;
        say(path, &found);
        let (tell, full) = crossbeam_channel::bounded(1);
        tell.try_send(()).ok(); // an earlier process may have left something to do
        let (floor, newest) = (Floor::new(tell.clone()), std::mem::take(&mut found.checkpoints));
        let random = fastrand::Rng::new();
        let keeper =
            Keeper::new(disk, log.segments(), Pace::default(), random, newest, floor.clone());
        keeper.clear().map_err(|error| refused("tidy", error))?;
        log.reuse(keeper.spares(), tell.clone());
        let (bell, rung) = bell();
        let mut names = Vec::new();
        for (mut name, value) in facts.of(FactKind::Channel) {
            let number = number_in(&mut name).unwrap_or_default() as usize;
            names.resize(names.len().max(number + 1), String::new());
            names[number] = String::from_utf8_lossy(value).into_owned();
        }
        let (readers, asked) = crossbeam_channel::unbounded();
        let journal = Arc::new(Journal::new(bell.clone(), in_flight, names, readers));
        let keeping = (keeper, full, floor, tell);
        Ok(Self { log, bell: (bell, rung), facts, journal, died, asked, keeping, lock })
    }

    /// The position of the next event.
    pub(super) fn next(&self) -> Seq {
        Seq(self.log.next())
    }

    /// Starts the threads that write and read.
    pub(super) fn start(self, broker: &Broker) -> Result<(Writing, Subscriptions), Error> {
        let refused = |error: std::io::Error| {
            let text = format!("cannot start a thread for the log: {error}");
            Error::new(ErrorKind::System, text)
        };
        let opened_at = self.next();
        let reading = || {
            let (segments, names) = (self.log.segments(), self.journal.names.clone());
            let (clock, signals) = (broker.clock.clone(), broker.signals.clone());
            Reading::new(segments, names, &broker.intake, clock, signals)
        };
        let mut numbers = HashMap::new();
        let (mut next, mut first) = (0, Vec::new());
        for (mut name, value) in self.facts.of(FactKind::Subscription) {
            let Ok(number) = number_in(&mut name) else { continue };
            next = next.max(number + 1);
            match Lasts::read(value) {
                Some((Lasts::Named, name)) => drop(numbers.insert(name, number)),
                _ => put_deleted(&mut first, &name_of(FactKind::Subscription, number)),
            }
        }
        let (keeper, full, floor, looks) = self.keeping;
        let mut needs = Needs::new(floor);
        for number in numbers.values() {
            let restored = Restored::read(&self.facts, *number);
            needs.set(*number, Some(restored.map_or(Seq(0), |restored| restored.needs())));
        }
        let keeps = std::thread::Builder::new().name("cueline-keeper".to_owned());
        let ends = Arc::new(AtomicBool::new(false));
        let keeps = keeps.spawn({
            let ends = ends.clone();
            move || keep(keeper, &full, &ends)
        });
        let keeps = keeps.map_err(refused)?;
        let (reads, asked) = (reading(), self.asked);
        let reader = std::thread::Builder::new().name("cueline-reader".to_owned());
        let reads = reader.spawn(move || reads.run(&asked)).map_err(refused)?;
        let reading = reading();
        let mut died: HashMap<u32, Vec<Seq>> = HashMap::new();
        for (of, position) in self.died {
            died.entry(of).or_default().push(Seq(position));
        }
        let subscriptions =
            Subscriptions { numbers, next, facts: self.facts, reading, died, opened_at };
        let feed = Journalist::new(
            broker.sequencer.clone(),
            self.journal.clone(),
            opened_at,
            needs,
            first,
        );
        let writer = Writer::start(self.log, feed, self.bell).map_err(refused)?;
        let (journal, others) = (self.journal, vec![keeps, reads]);
        let writing = Writing { writer, journal, ends, looks, others, _lock: self.lock };
        Ok((writing, subscriptions))
    }
}

impl Drop for Writing {
    /// Writes what waits, and closes the log.
    fn drop(&mut self) {
        self.ends.store(true, SeqCst);
        self.looks.try_send(()).ok();
        self.journal.close();
        drop(self.writer.stop());
        // Nobody else may open the log before they are through.
        self.others.drain(..).for_each(|thread| drop(thread.join()));
    }
}

/// Looks after the log whenever a segment is full, until it is closed.
fn keep(mut keeper: Keeper, full: &Receiver<()>, ends: &AtomicBool) {
    while full.recv().is_ok() && !ends.load(SeqCst) {
        // The disk is the writer's in the first place.
        let looked = keeper.look(&mut || {
            std::thread::sleep(PAUSE);
            if ends.load(SeqCst) { Err(std::io::Error::other("it ends")) } else { Ok(()) }
        });
        if let Err(error) = looked
            && !ends.load(SeqCst)
        {
            tracing::error!(%error, "a checkpoint of the log could not be written: it is tried again");
        }
    }
}

/// Between two writes of a checkpoint, so that it takes a small share of the disk.
const PAUSE: Duration = Duration::from_millis(5);

fn say(path: &Path, found: &Found) {
    let path = path.display();
    if found.torn {
        tracing::warn!(%path, "the end of the log was torn by a crash, and has been cut: what was \
             lost by it had never been acknowledged");
    }
    for lost in &found.lost {
        let (segment, from, to) = (lost.segment, lost.gap.from, lost.gap.to);
        let frames = lost.gap.frames.1 - lost.gap.frames.0;
        tracing::error!(%path, segment, from, to, frames, "a stretch of the log is damaged: what was \
             in it is lost");
    }
}
