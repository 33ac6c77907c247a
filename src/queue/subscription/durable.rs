//! What a subscription tells the log: how far it came, what is held and why, what it keeps. All of it
//! is facts, and what was done together is told together, with what was published by it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use serde::{Deserialize, Serialize};

use super::{Inner, Subscription};
use crate::clock::{Moment, Timestamp};
use crate::message::envelope::{Path, TopicId};
use crate::message::{Key, Seq, codec};
use crate::queue::batch::{Batch, Events};
use crate::queue::column::Stored;
use crate::queue::kept::Kept;
use crate::queue::report::{Report, StoredReport};
use crate::queue::state::Verdict;
use crate::queue::stored::{head_of, run_of};
use crate::store::file::bytes::{Bytes, Read, put_bytes, put_number};
use crate::store::file::events::Entries;
use crate::store::file::facts::{Facts, name_at, name_of, position_in};
use crate::store::file::record::{FactKind, Record, Records, put_deleted, put_events, put_fact};

/// What is to be told to the log.
#[derive(Default)]
pub(super) struct News {
    /// By what number the log knows the subscription.
    number: u32,
    records: Vec<u8>,
    outbox: Option<Events>,
    /// How far it came is another place than was told.
    moved: bool,
}

/// What a subscription has to tell to the log.
pub(crate) struct Told {
    /// By what number the log knows it.
    pub(crate) number: u32,
    /// The first event that it still needs, when this is written.
    pub(crate) needs: Seq,
    pub(crate) records: Vec<u8>,
    /// What was published with it.
    pub(crate) outbox: Option<Events>,
}

/// A held event, as a fact.
#[derive(Debug, Serialize, Deserialize)]
struct HeldFact {
    failures: u32,
    /// When it is delivered again, in milliseconds since 1970; none if it is parked.
    due: Option<u64>,
    report: Option<StoredReport>,
}

/// When that is by the wall clock, in milliseconds since 1970.
fn wall_time(due: Moment, now: Moment) -> u64 {
    let wait = u64::try_from(due.since(now).as_millis()).unwrap_or(u64::MAX);
    Timestamp::now().as_millis().saturating_add(wait)
}

/// Publications that wait for their time, as the log has them.
#[derive(Debug)]
pub(crate) struct DelayedFact {
    number: u64,
    due: u64,
    pub(crate) topic: String,
    records: Vec<u8>,
}

impl DelayedFact {
    fn read(mut name: Bytes<'_>, value: &[u8]) -> Read<Self> {
        let number = position_in(&mut name)?;
        let mut value = Bytes(value);
        let due = value.number()?;
        let topic = String::from_utf8_lossy(value.bytes()?).into_owned();
        Ok(Self { number, due, topic, records: value.0.to_vec() })
    }
}

/// What a subscription was at, when the log was written last.
#[derive(Debug, Default)]
pub(crate) struct Restored {
    /// Everything before it is done with, but for what is held.
    pub(crate) to: Seq,
    /// Events before that, whatever is to become of them, in order.
    pub(crate) held: Vec<(Seq, Held)>,
    /// What it keeps: the name of its type, its key, its bytes.
    pub(crate) states: Vec<(String, Key, Vec<u8>)>,
    pub(crate) delayed: Vec<DelayedFact>,
}

/// What is to become of an event that is held.
#[derive(Debug)]
pub(crate) enum Held {
    /// Delivered as if for the first time, when those of its key before it are through.
    Again,
    /// It failed so often, and is delivered again then; or it is parked.
    Failed { failures: u32, due: Option<u64>, report: Option<Arc<Report>> },
}

impl Restored {
    /// The first event that it still needs.
    pub(crate) fn needs(&self) -> Seq {
        self.held.first().map_or(self.to, |(seq, _)| self.to.min(*seq))
    }

    /// What the facts of a log say of the subscription with that number; none if they say nothing.
    pub(crate) fn read(facts: &Facts, number: u32) -> Option<Self> {
        let (_, progress) = facts.under(FactKind::Progress, number).next()?;
        let mut restored = Self::default();
        let mut read = Bytes(progress);
        restored.to = Seq(read.number().ok()?);
        let mut again = Vec::new();
        let mut before = 0;
        while !read.is_empty() {
            before += read.number().ok()?;
            again.push(Seq(before));
        }
        let behind = facts.under(FactKind::Behind, number);
        again.extend(behind.filter_map(|(mut name, _)| position_in(&mut name).ok().map(Seq)));
        restored.held.extend(again.into_iter().map(|seq| (seq, Held::Again)));
        for (mut name, value) in facts.under(FactKind::Held, number) {
            let Ok(seq) = position_in(&mut name).map(Seq) else { continue };
            let held = match codec::decode::<HeldFact>(value) {
                Ok(HeldFact { failures, due, report }) => {
                    let report = report.map(|report| Arc::new(report.restored()));
                    Held::Failed { failures, due, report }
                }
                Err(_) => Held::Again, // better once too often than never
            };
            restored.held.push((seq, held));
        }
        restored.held.sort_by_key(|(seq, _)| *seq);
        let states = facts.under(FactKind::State, number);
        restored.states.extend(states.filter_map(|(name, value)| state_of(name, value).ok()));
        let delayed = facts.under(FactKind::Delayed, number);
        restored
            .delayed
            .extend(delayed.filter_map(|(name, value)| DelayedFact::read(name, value).ok()));
        Some(restored)
    }
}

fn state_of(mut name: Bytes<'_>, value: &[u8]) -> Read<(String, Key, Vec<u8>)> {
    let of = String::from_utf8_lossy(name.bytes()?).into_owned();
    let key = Key::from(String::from_utf8_lossy(name.0).into_owned());
    Ok((of, key, value.to_vec()))
}

impl News {
    pub(super) fn new(number: u32, name: Option<&str>) -> Self {
        let mut news = Self { number, ..Self::default() };
        if let Some(name) = name {
            let of = name_of(FactKind::Subscription, number);
            put_fact(&mut news.records, &of, name.as_bytes());
            news.moved = true;
        }
        news
    }

    /// An event is put behind another one of its key.
    pub(super) fn behind(&mut self, seq: Seq) {
        put_fact(&mut self.records, &name_at(FactKind::Behind, self.number, seq.0), &[]);
        self.moved = true;
    }

    /// An event that was held is done with.
    pub(super) fn done(&mut self, seq: Seq, was_held: bool) {
        if was_held {
            self.forget(seq);
        }
        self.moved = true;
    }

    fn forget(&mut self, seq: Seq) {
        for kind in [FactKind::Held, FactKind::Behind] {
            put_deleted(&mut self.records, &name_at(kind, self.number, seq.0));
        }
    }

    /// An event is held from now on, or goes on to be.
    pub(super) fn held(
        &mut self,
        seq: Seq,
        failures: u32,
        verdict: Verdict,
        report: Option<&Report>,
        now: Moment,
    ) {
        let due = match verdict {
            Verdict::Park => None,
            Verdict::Retry(due) => Some(wall_time(due, now)),
        };
        let report = report.map(StoredReport::of);
        if let Ok(value) = codec::encode(&HeldFact { failures, due, report }) {
            put_fact(&mut self.records, &name_at(FactKind::Held, self.number, seq.0), &value);
        }
        put_deleted(&mut self.records, &name_at(FactKind::Behind, self.number, seq.0));
        self.moved = true;
    }

    pub(super) fn kept(&mut self, of: &str, key: &Key, value: &[u8]) {
        let mut name = name_of(FactKind::State, self.number).to_vec();
        put_bytes(&mut name, of.as_bytes());
        name.extend_from_slice(key.as_str().as_bytes());
        put_fact(&mut self.records, &name, value);
    }

    /// Publications that leave later.
    pub(super) fn delayed(
        &mut self,
        number: u64,
        due: Moment,
        now: Moment,
        events: &Events,
        topic: &str,
    ) {
        let mut value = Vec::new();
        put_number(&mut value, wall_time(due, now));
        put_bytes(&mut value, topic.as_bytes());
        let runs = events.runs().iter().filter(|run| run.stored);
        let runs: Vec<_> =
            runs.map(|run| run_of(&run.head, 0, 0, run.length, Vec::new())).collect();
        put_events(&mut value, 0, &runs, events.stored());
        put_fact(&mut self.records, &name_at(FactKind::Delayed, self.number, number), &value);
    }

    /// They have left, or never will.
    fn left(&mut self, number: u64) {
        put_deleted(&mut self.records, &name_at(FactKind::Delayed, self.number, number));
    }

    pub(super) fn published(&mut self, outbox: Events) {
        match &mut self.outbox {
            Some(before) => before.append(outbox),
            none => *none = Some(outbox),
        }
    }

    pub(super) fn moves(&mut self) {
        self.moved = true;
    }
}

impl Inner {
    /// It was published by this process, and whoever counts what was counts it.
    pub(super) fn counts(&self, batch: &Batch) -> bool {
        batch.first >= self.earlier
    }

    /// Everything before this place has been handed out, but for what is held.
    fn taken_to(&self, subscription: &Subscription) -> Seq {
        match self.line.first(&subscription.wanted) {
            Some((batch, at, _)) => batch.seq(&batch.events.runs()[at.run as usize], at.index),
            None => self.source.have(),
        }
    }
}

impl Subscription {
    /// What is done is told to a log from now on, which knows it by that number; `name` if that is
    /// new to it.
    pub(crate) fn keep(&self, number: u32, name: Option<&str>) {
        self.inner.lock().news = Some(News::new(number, name));
        self.news.store(true, SeqCst);
    }

    /// There is something to tell to the log, and nobody has been told so yet.
    pub(crate) fn has_news(&self) -> bool {
        self.news.load(SeqCst) && !self.marked.swap(true, SeqCst)
    }

    /// It gets what comes from there on, unless it goes on where an earlier process left it.
    pub(crate) fn begin(&self, at: Seq) {
        self.inner.lock().source.begin(at);
    }

    /// What is to be told to the log: its records, and what was published with them.
    pub(crate) fn take_news(&self) -> Option<Told> {
        let mut inner = self.inner.lock();
        self.marked.store(false, SeqCst);
        self.news.store(false, SeqCst);
        let to = inner.taken_to(self);
        let inner = &mut *inner;
        let news = inner.news.as_mut()?;
        let mut records = std::mem::take(&mut news.records);
        if std::mem::take(&mut news.moved) {
            let mut value = Vec::new();
            put_number(&mut value, to.0);
            let mut before = 0;
            for seq in inner.in_hand.keys() {
                put_number(&mut value, seq.0 - before);
                before = seq.0;
            }
            put_fact(&mut records, &name_of(FactKind::Progress, news.number), &value);
        }
        let held = inner.kept.iter().next().map(|(seq, _)| *seq);
        let in_hand = inner.in_hand.keys().next().copied();
        let needs = held.into_iter().chain(in_hand).fold(to, Seq::min);
        Some(Told { number: news.number, needs, records, outbox: news.outbox.take() })
    }

    /// Publications that waited for their time do so no more; those that are left are published.
    pub(crate) fn has_left(&self, number: u64, events: Option<Events>) {
        let mut inner = self.inner.lock();
        if let Some(news) = &mut inner.news {
            news.left(number);
            events.into_iter().for_each(|events| news.published(events));
            self.news.store(true, SeqCst);
        }
    }

    /// Puts back what the log says was there. `events` are those that are held, as far as they can be
    /// read.
    pub(crate) fn restore(
        &self,
        restored: Restored,
        next: Seq,
        mut events: BTreeMap<Seq, Kept>,
        topic: impl Fn(&str) -> TopicId,
    ) {
        let now = Timestamp::now().as_millis();
        let mut inner = self.inner.lock();
        inner.source.restore(restored.to);
        (inner.earlier, inner.seen) = (next, next);
        for (seq, held) in restored.held {
            let Some(mut kept) = events.remove(&seq) else { continue };
            let key = kept.key.clone();
            match held {
                Held::Again => inner.state.give_back(seq, key),
                Held::Failed { failures, due, report } => {
                    kept.report = report;
                    let verdict = due.map_or(Verdict::Park, |due| {
                        let wait = std::time::Duration::from_millis(due.saturating_sub(now));
                        Verdict::Retry(self.clock.now().after(wait))
                    });
                    if verdict == Verdict::Park {
                        inner.parked.insert(kept.id(), seq);
                    }
                    inner.state.failed(seq, key, failures, verdict);
                }
            }
            inner.kept.insert(seq, kept);
        }
        for (of, key, bytes) in restored.states {
            inner.table.put_stored(of, key, bytes);
        }
        for fact in restored.delayed {
            let mut events = Events::new(self.signals.clone());
            for record in Records::new(&fact.records).flatten() {
                let Record::Events(stored) = record else { continue };
                let mut entries = Entries::new(stored.entries);
                for run in &stored.runs {
                    let Some(column) = Stored::read(&mut entries, run.count) else { break };
                    let head = head_of(run, topic(&fact.topic), Path::default());
                    events.push_stored(head, column, true);
                }
            }
            let wait = std::time::Duration::from_millis(fact.due.saturating_sub(now));
            inner.delayed.push_again(fact.number, self.clock.now().after(wait), events);
        }
    }
}
