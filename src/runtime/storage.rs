//! The log of a runtime on disk: opened before it starts, ended after it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender};

use super::damage::say_damage;
use super::keeping::keep;
use crate::broker::dedup::First;
use crate::broker::handle::Broker;
use crate::broker::journal::Journal;
use crate::broker::journalist::Journalist;
use crate::broker::needs::Needs;
use crate::broker::reading::Reading;
use crate::clock::Trusted;
use crate::error::{Error, ErrorKind};
use crate::inflight::{Deaths, InFlight};
use crate::mediator::record::next_place;
use crate::message::Seq;
use crate::queue::once::Keyed;
use crate::queue::{Restored, StartFrom, Subscription, Trial};
use crate::store::Directory;
use crate::store::channel::{Channel, Retention};
use crate::store::file::disk::{Disk, Folder};
use crate::store::file::facts::{Facts, number_in};
use crate::store::file::keeper::{Floor, Keeper, Pace};
use crate::store::file::lock::{Lock, lock};
use crate::store::file::log::Log;
use crate::store::file::needed::{Lasts, SubscriptionFact};
use crate::store::file::reader::Segments;
use crate::store::file::record::FactKind;
use crate::store::file::recovery::open_with_facts;
use crate::store::file::retained::retain;
use crate::store::file::spares::Spares;
use crate::store::file::workflows::Workflows;
use crate::store::file::writer::{Bell, Writer, bell};

/// Which event each thread is at.
const IN_FLIGHT: &str = "cueline.inflight";

/// A log that is open, and what it says.
pub(crate) struct Storage {
    log: Log,
    bell: (Bell, Receiver<()>),
    facts: Facts,
    pub(super) journal: Arc<Journal>,
    died: Deaths,
    asked: Receiver<Arc<Subscription>>,
    keeping: (Keeper, Receiver<()>, Floor, Sender<()>, Trusted),
    lock: Lock,
    recovery: Duration,
    /// The place of the next answer to a workflow in the order of all.
    answered: u64,
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
    pub(super) segments: Segments,
    pub(super) needs: Needs,
    used: Arc<AtomicU64>,
    /// How long it took to open the log.
    pub(super) recovery: Duration,
    /// Others may open the log when this is gone.
    _lock: Lock,
}

/// The subscriptions that a log knows, and what it says of them.
pub(crate) struct Subscriptions {
    numbers: HashMap<String, (u32, Vec<String>)>,
    /// Those that had the name of another one before it.
    left: Vec<(String, u32)>,
    journal: Arc<Journal>,
    next: u32,
    facts: Facts,
    reading: Reading,
    /// Events that an earlier process was at when it died, and which one that was.
    died: HashMap<u32, Vec<Seq>>,
    life: u64,
    floor: Floor,
    needs: Needs,
    /// Of what an earlier process may have died, before all else.
    pub(super) trial: Arc<Trial>,
}

/// How much the thread that makes checkpoints gives way to all others.
const NICE: i32 = 10;

impl Subscriptions {
    /// The numbers of the mediators that have workflows.
    pub(super) fn mediators(&self) -> impl Iterator<Item = u32> + '_ {
        self.facts.mediators()
    }

    /// Its processor does not come back. The number of a subscription that nobody has taken up.
    pub(super) fn forget(&mut self, name: &str) -> Option<u32> {
        self.numbers.remove(name).map(|(number, _)| number)
    }

    /// A processor's subscription goes on where it was, or begins.
    /// One of a pool's children begins in any case.
    /// `tell` is told the number, and all that is known.
    pub(super) fn keep(
        &mut self,
        subscription: &Arc<Subscription>,
        member: bool,
        tell: impl FnOnce(u32, Workflows) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.keep_quietly(subscription, member, tell)?;
        self.trial.joins(subscription);
        Ok(())
    }

    fn keep_quietly(
        &mut self,
        subscription: &Subscription,
        member: bool,
        tell: impl FnOnce(u32, Workflows) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let name = subscription.name.as_str().to_owned();
        let topics = self.reading.names_of(&subscription.wanted);
        let read_back = self.reading.back(&subscription.wanted);
        subscription.reads_back_by(read_back, self.reading.readable());
        let known = if member { None } else { self.numbers.remove(&name) };
        let lasts = if member { Lasts::Process } else { Lasts::Named };
        let fact = SubscriptionFact { lasts, name, topics };
        if let Some((number, before)) = known {
            subscription.keep(number, (before != fact.topics).then_some(&fact));
            tell(number, self.facts.take_workflows(number))?;
            let Some(mut restored) = Restored::read(&self.facts, number) else { return Ok(()) };
            for (_, left) in self.left.extract_if(.., |(of, _)| *of == fact.name) {
                // What it left is this one's.
                restored.take_over(Restored::read(&self.facts, left).unwrap_or_default());
                self.facts.forget_subscription(left);
                self.journal.forget(left);
            }
            let died = self.died.remove(&number).unwrap_or_default();
            let topic = |name: &str| self.reading.topic_named(name);
            subscription.earlier_weigh(self.reading.segments().mean_from(restored.to.0));
            subscription.restore(restored, (&died, self.life), topic);
            self.facts.forget_subscription(number);
            return Ok(());
        }
        tell(self.next, Workflows::default())?;
        self.needs.name(self.next, &fact.name);
        subscription.keep(self.next, Some(&fact));
        let segments = self.reading.segments();
        let from = match subscription.settings.start_from {
            StartFrom::Now => None,
            StartFrom::Earliest => Some(0),
            StartFrom::Position(seq) => Some(seq.0),
            StartFrom::Time(time) => segments.position_at(time.as_millis()).unwrap_or(None),
        };
        if let Some(from) = from.filter(|from| *from < segments.next()) {
            self.floor.begins(self.next);
            subscription.earlier_weigh(segments.mean_from(from));
            subscription.begin_with(Seq(from.max(segments.first())));
        }
        self.next += 1;
        Ok(())
    }
}

impl Storage {
    /// Opens the log in that folder, or begins one.
    pub(super) fn open(
        directory: &Directory,
        channels: &HashMap<&'static str, Channel>,
    ) -> Result<Self, Error> {
        let begun = Instant::now();
        let (sizes, path, limit) = (directory.sizes()?, directory.path.as_path(), directory.limit);
        let refused = |what: &str, error: std::io::Error| {
            let path = path.display();
            let text = format!("cannot {what} the log in `{path}`: {error}");
            Error::new(ErrorKind::Storage, text)
        };
        let folder = Folder::open(path).map_err(|error| refused("make or find", error))?;
        let lock = lock(&folder)?;
        let in_flight = folder.file(IN_FLIGHT).and_then(|file| InFlight::open(&file));
        let (in_flight, died) = in_flight.map_err(|error| refused("map", error))?;
        let disk: Arc<dyn Disk> = Arc::new(folder);
        let (mut log, mut found, facts) = open_with_facts(&disk, sizes).map_err(|why| {
            let text = format!("cannot read the log in `{}`: {why}", path.display());
            Error::new(ErrorKind::Storage, text)
        })?;
        say_damage(path, &found, &facts)?;
        let (tell, full) = crossbeam_channel::bounded(1);
        tell.try_send(()).ok(); // an earlier process may have left something to do
        let (floor, newest) = (Floor::new(tell.clone()), std::mem::take(&mut found.checkpoints));
        let random = fastrand::Rng::new();
        let spares = Spares::new(disk.clone(), sizes.segment, limit);
        let keeper = Keeper::new(
            disk,
            log.segments(),
            Pace::default(),
            random,
            newest,
            floor.clone(),
            spares.clone(),
        );
        let retention = channels.iter().map(|(name, of)| ((*name).to_owned(), of.retention));
        let retention = retention.filter(|(_, of)| *of != Retention::None).collect();
        let retained = retain(&facts, &retention);
        let keeper = keeper.retain(retention);
        let trusted = Trusted::new(log.time());
        keeper.clear().map_err(|error| refused("tidy", error))?;
        log.reuse(spares.clone(), tell.clone());
        let (bell, rung) = bell();
        let mut names = Vec::new();
        for (mut name, value) in facts.of(FactKind::Channel) {
            let number = number_in(&mut name).unwrap_or_default() as usize;
            names.resize(names.len().max(number + 1), String::new());
            names[number] = String::from_utf8_lossy(value).into_owned();
        }
        let (readers, asked) = crossbeam_channel::unbounded();
        let journal = Arc::new(Journal::new(bell.clone(), in_flight, names, readers, spares));
        journal.put(&retained);
        let keeping = (keeper, full, floor, tell, trusted);
        let (bell, recovery) = ((bell, rung), begun.elapsed());
        let answered = next_place(&facts);
        Ok(Self { log, bell, facts, journal, died, asked, keeping, lock, recovery, answered })
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
        let mut left: Vec<(String, u32)> = Vec::new();
        let mut next = 0;
        for (mut name, value) in self.facts.of(FactKind::Subscription) {
            let Ok(number) = number_in(&mut name) else { continue };
            next = next.max(number + 1);
            match SubscriptionFact::read(value) {
                Some(SubscriptionFact { lasts: Lasts::Named, name, topics }) => {
                    // One that was deleted, and left something, may have had the name before.
                    let before = numbers.insert(name.clone(), (number, topics));
                    left.extend(before.map(|(number, _)| (name, number)));
                }
                _ => self.journal.forget(number),
            }
        }
        self.restore_keys(broker);
        let (keeper, full, floor, looks, trusted) = self.keeping;
        let needs = Needs::new(floor.clone(), opened_at);
        for (name, (number, _)) in &numbers {
            needs.name(*number, name);
            let restored = Restored::read(&self.facts, *number);
            needs.set(*number, restored.map_or(Seq(0), |restored| restored.needs()));
        }
        let keeps = std::thread::Builder::new().name("cueline-keeper".to_owned());
        let ends = Arc::new(AtomicBool::new(false));
        let used = Arc::new(AtomicU64::new(keeper.used()));
        let keeps = keeps.spawn({
            let (ends, signals, used) = (ends.clone(), broker.signals.clone(), used.clone());
            move || {
                // Whoever publishes or handles goes first; on Linux this is the thread's own.
                rustix::process::setpriority_process(None, NICE).ok();
                keep(keeper, &full, &ends, &signals, trusted, &used);
            }
        });
        let keeps = keeps.map_err(refused)?;
        let (reads, asked) = (reading(), self.asked);
        let reader = std::thread::Builder::new().name("cueline-reader".to_owned());
        let reads = reader.spawn(move || reads.run(&asked)).map_err(refused)?;
        let reading = reading();
        let mut died: HashMap<u32, Vec<Seq>> = HashMap::new();
        // What had its place and was not written is gone, and its place is another's.
        let written = self.died.events.into_iter().filter(|(_, at)| *at < opened_at.0);
        for (of, position) in written {
            died.entry(of).or_default().push(Seq(position));
        }
        let somebody_died = !died.is_empty() || self.facts.of(FactKind::Died).next().is_some();
        let subscriptions = Subscriptions {
            trial: Trial::new(somebody_died),
            numbers,
            next,
            left,
            journal: self.journal.clone(),
            facts: self.facts,
            reading,
            died,
            life: self.died.life,
            floor,
            needs: needs.clone(),
        };
        let feed = Journalist::new(
            broker.sequencer.clone(),
            self.journal.clone(),
            opened_at,
            needs.clone(),
            broker.durability.clone(),
            self.answered,
        );
        let segments = self.log.segments();
        let writer = Writer::start(self.log, feed, self.bell).map_err(refused)?;
        let (journal, others) = (self.journal, vec![keeps, reads]);
        let (segments, recovery) = (segments, self.recovery);
        let writing = Writing {
            writer,
            journal,
            ends,
            looks,
            others,
            segments,
            needs,
            used,
            recovery,
            _lock: self.lock,
        };
        Ok((writing, subscriptions))
    }
}

impl Storage {
    /// What was published under keys of its publishers is known again.
    fn restore_keys(&self, broker: &Broker) {
        let names = self.journal.names.read();
        let inner = &mut *broker.intake.lock();
        inner.trusted = Trusted::new(self.log.time());
        let (dedup, topics) = (&mut inner.dedup, &mut inner.topics);
        dedup.restore(self.facts.of(FactKind::Dedup).filter_map(|(mut name, value)| {
            let channel = names.get(number_in(&mut name).ok()? as usize)?;
            let keyed = Keyed::read(value).ok()?;
            let key = Arc::from(str::from_utf8(name.0).ok()?);
            Some((topics.reserve(channel), key, First { keyed, due: None }))
        }));
    }
}

impl Writing {
    /// How many bytes the log takes on disk.
    pub(super) fn used(&self) -> u64 {
        self.used.load(SeqCst)
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
