//! Reading the log for subscriptions that are behind: on a thread of its own, so that no processor
//! waits for a disk. What is read stays as bytes until its handler's thread decodes it.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::sync::{Arc, Weak};

use crossbeam_channel::{Receiver, Sender};
use parking_lot::RwLock;

use super::intake::Intake;
use crate::clock::Clock;
use crate::message::envelope::{Head, Path, TopicId};
use crate::message::{Payload, Seq};
use crate::queue::batch::{Batch, Events};
use crate::queue::column::Stored;
use crate::queue::kept::Kept;
use crate::queue::stored::head_of;
use crate::queue::{Found, ReadBack, Readable, Subscription, Wanted};
use crate::signal::{Signal, Signals};
use crate::store::file::events::{Entries, Run};
use crate::store::file::reader::{Place, Segments, Unreadable};
use crate::store::file::record::{Record, Records};

/// The channels of a log by their numbers, as far as they have been used.
pub(crate) type ChannelNames = Arc<RwLock<Vec<String>>>;

/// Where somebody is asked to read.
pub(crate) type Requests = Sender<Arc<Subscription>>;

/// Reads a log, and makes batches of what is in it.
pub(crate) struct Reading {
    segments: Segments,
    names: ChannelNames,
    intake: Weak<Intake>,
    clock: Arc<Clock>,
    signals: Arc<Signals>,
    /// By the numbers of channels.
    topics: Vec<Option<TopicId>>,
    /// Where each subscription goes on.
    places: HashMap<usize, (Seq, Place)>,
}

impl Reading {
    pub(crate) fn new(
        segments: Segments,
        names: ChannelNames,
        intake: &Arc<Intake>,
        clock: Arc<Clock>,
        signals: Arc<Signals>,
    ) -> Self {
        let (intake, topics, places) = (Arc::downgrade(intake), Vec::new(), HashMap::new());
        Self { segments, names, intake, clock, signals, topics, places }
    }

    /// Reads single events back for that subscription.
    pub(crate) fn back(&self, wanted: &Wanted) -> ReadBack {
        let (segments, names, intake) =
            (self.segments.clone(), self.names.clone(), self.intake.clone());
        let (clock, signals, wanted) = (self.clock.clone(), self.signals.clone(), wanted.clone());
        Box::new(move |seqs| {
            let Some(intake) = intake.upgrade() else { return Found::default() };
            let (segments, names) = (segments.clone(), names.clone());
            let mut reading = Self::new(segments, names, &intake, clock.clone(), signals.clone());
            reading.events_at(seqs, &wanted)
        })
    }

    /// How far it can be read.
    pub(crate) fn readable(&self) -> Readable {
        let segments = self.segments.clone();
        Box::new(move || Seq(segments.next()))
    }

    /// Reads for whoever asks, until nobody can ask any more.
    pub(crate) fn run(mut self, asked: &Receiver<Arc<Subscription>>) {
        while let Ok(subscription) = asked.recv() {
            self.read_for(&subscription);
        }
    }

    fn read_for(&mut self, subscription: &Subscription) {
        subscription.fetch();
        let Some((from, ahead)) = subscription.reads_from() else { return };
        // Before it is looked what there is.
        let next = Seq(self.segments.next());
        let known = self.places.get(&subscription.name.index).filter(|(at, _)| *at == from);
        let mut place = known.map_or_else(|| self.segments.seek(from.0), |(_, place)| *place);
        let (mut batches, mut to, mut events, mut weight) = (Vec::new(), from, 0, 0);
        let segments = self.segments.clone();
        let (channels, known) = self.channels_of(&subscription.wanted);
        // One that is new may be wanted.
        let wants = |channel: u32| channel >= known || channels.contains(&channel);
        let ended = loop {
            let more = segments.read(&mut place, &wants, |_, body| {
                // From there on: a segment that is written anew meanwhile is read from its beginning.
                for (batch, end) in self.batches(body, to, &subscription.wanted) {
                    to = to.max(end);
                    if let Some(batch) = batch {
                        for (_, load) in batch.events.loads() {
                            (events, weight) = (events + load.events, weight + load.weight);
                        }
                        batches.push(Arc::new(batch));
                    }
                }
            });
            match more {
                Ok(true) if events >= ahead.events || weight >= ahead.weight => break false,
                Ok(true) => {}
                Ok(false) => break true,
                Err(error) => {
                    let processor = subscription.name.as_str();
                    tracing::error!(processor, %error, "a part of the log cannot be read, and is \
                         passed over: its events are not delivered");
                    self.count_damage(&error);
                }
            }
        };
        let to = if ended { to.max(next) } else { to };
        self.places.insert(subscription.name.index, (to, place));
        subscription.fill(batches, to);
    }

    fn count_damage(&self, error: &io::Error) {
        if let Some(Unreadable { frames, .. }) = Unreadable::of(error) {
            self.signals.state(&Signal::Damaged { frames: *frames });
        }
    }

    /// The channels of a log that hold what is wanted, of the first so many.
    fn channels_of(&mut self, wanted: &Wanted) -> (BTreeSet<u32>, u32) {
        let count = self.names.read().len() as u32;
        let wants = |topic: TopicId| wanted.which(topic).is_some();
        ((0..count).filter(|channel| self.topic(*channel).is_some_and(wants)).collect(), count)
    }

    /// The topic of a channel, if this program knows it.
    fn topic(&mut self, channel: u32) -> Option<TopicId> {
        let index = channel as usize;
        if let Some(Some(topic)) = self.topics.get(index) {
            return Some(*topic);
        }
        let name = self.names.read().get(index).cloned()?;
        let topic = self.intake.upgrade()?.lock().topics.find(&name)?;
        if self.topics.len() <= index {
            self.topics.resize(index + 1, None);
        }
        self.topics[index] = Some(topic);
        Some(topic)
    }

    fn head(&mut self, run: &Run, topic: TopicId) -> Head {
        let mut path = Path::default();
        for channel in &run.path {
            path = path.then(self.topic(*channel).unwrap_or(TopicId(u16::MAX)));
        }
        head_of(run, topic, path)
    }

    /// What a frame holds of events from a position on, batch by batch with its end; none of a batch
    /// that holds nothing that is wanted.
    fn batches(&mut self, body: &[u8], from: Seq, wanted: &Wanted) -> Vec<(Option<Batch>, Seq)> {
        let mut all = Vec::new();
        for record in Records::new(body).flatten() {
            let Record::Events(stored) = record else { continue };
            let end = Seq(stored.end());
            if end <= from {
                continue;
            }
            let mut events = Events::new(self.signals.clone());
            let mut entries = Entries::new(stored.entries);
            for run in &stored.runs {
                events.skip(run.skipped);
                let topic = self.topic(run.channel).filter(|topic| wanted.which(*topic).is_some());
                let Some(topic) = topic else {
                    events.skip(run.count);
                    entries.by_ref().take(run.count as usize).for_each(|_| {});
                    continue;
                };
                let Some(column) = Stored::read(&mut entries, run.count) else { break };
                let head = self.head(run, topic);
                events.push_stored(head, column, false);
            }
            let batch = (!events.runs().is_empty()).then(|| Batch {
                first: Seq(stored.first),
                at: self.clock.now(),
                events,
            });
            all.push((batch, end));
        }
        all
    }

    pub(crate) fn segments(&self) -> &Segments {
        &self.segments
    }

    /// The names of what is wanted, in order.
    pub(crate) fn names_of(&self, wanted: &Wanted) -> Vec<String> {
        let Some(intake) = self.intake.upgrade() else { return Vec::new() };
        let inner = intake.lock();
        let mut names: Vec<String> =
            wanted.topics().iter().map(|topic| inner.topics.name(*topic).to_owned()).collect();
        names.sort_unstable();
        names
    }

    /// The topic with that name, also if this program has not used it yet.
    pub(crate) fn topic_named(&self, name: &str) -> TopicId {
        let intake = self.intake.upgrade();
        intake.map_or(TopicId(u16::MAX), |intake| intake.lock().topics.reserve(name))
    }

    /// Single events, as they are kept for that subscription; they are to be in order.
    fn events_at(&mut self, seqs: &[Seq], wanted: &Wanted) -> Found {
        let mut found = Found::default();
        let (Some(first), Some(last)) = (seqs.first(), seqs.last()) else { return found };
        let mut place = self.segments.seek(first.0);
        let segments = self.segments.clone();
        let mut to = *first;
        while to <= *last {
            let more = segments.read(&mut place, &|_| true, |_, body| {
                strange_in(body, seqs, &mut found.strange);
                for (batch, end) in self.batches(body, to, wanted) {
                    to = to.max(end);
                    let Some(batch) = batch else { continue };
                    let from = seqs.partition_point(|seq| *seq < batch.first);
                    for seq in seqs[from..].iter().take_while(|seq| **seq < end) {
                        found.events.extend(kept(&batch, *seq, wanted).map(|kept| (*seq, kept)));
                    }
                }
            });
            match more {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => {
                    // What is damaged is not there another time either.
                    found.failed |= Unreadable::of(&error).is_none();
                    tracing::error!(%error, "a part of the log cannot be read");
                    self.count_damage(&error);
                }
            }
        }
        found.strange.retain(|seq| !found.events.contains_key(seq));
        found
    }
}

/// Which of these a frame holds, of whatever type they are.
fn strange_in(body: &[u8], seqs: &[Seq], strange: &mut BTreeSet<Seq>) {
    for record in Records::new(body).flatten() {
        let Record::Events(events) = record else { continue };
        let mut at = events.first;
        for run in &events.runs {
            let first = at + u64::from(run.skipped);
            at = first + u64::from(run.count);
            let from = seqs.partition_point(|seq| seq.0 < first);
            strange.extend(seqs[from..].iter().take_while(|seq| seq.0 < at));
        }
    }
}

fn kept(batch: &Batch, seq: Seq, wanted: &Wanted) -> Option<Kept> {
    let (run, index) = batch.find(seq)?;
    let run = &batch.events.runs()[run as usize];
    let column = batch.events.column(run);
    let at = (run.start + index) as usize;
    let payload = Payload::new(column.encode(at).ok()?);
    let which = wanted.which(run.head.topic)?;
    Some(Kept::stored(which, run.head.skip(index), column.key(at), payload))
}
