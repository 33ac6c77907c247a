//! What the log says of a subscription, put back where it was.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::durable::HeldFact;
use super::{Inner, Subscription};
use crate::clock::{Moment, Timestamp};
use crate::message::envelope::{Path, TopicId};
use crate::message::{Key, Seq, codec};
use crate::queue::batch::Events;
use crate::queue::column::Stored;
use crate::queue::kept::Kept;
use crate::queue::report::Report;
use crate::queue::state::Verdict;
use crate::queue::stored::head_of;
use crate::signal::{DropReason, Signal};
use crate::store::file::bytes::{Bytes, Read};
use crate::store::file::events::Entries;
use crate::store::file::facts::{Facts, position_in};
use crate::store::file::needed;
use crate::store::file::record::{FactKind, Record, Records};

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
    /// Events that the process died of, and how often.
    pub(crate) died: BTreeMap<Seq, Died>,
    /// Those of the held ones that another subscription of its name left parked.
    taken_over: BTreeSet<Seq>,
}

/// How often the process died of an event, and which life was counted last.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Died {
    times: u32,
    life: u64,
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

    /// What a subscription that is gone left parked is this one's from now on.
    pub(crate) fn take_over(&mut self, left: Self) {
        let parked = |held: &Held| matches!(held, Held::Failed { due: None, .. });
        for (seq, held) in left.held.into_iter().filter(|(_, held)| parked(held)) {
            if let Err(place) = self.held.binary_search_by_key(&seq, |(seq, _)| *seq) {
                self.held.insert(place, (seq, held));
                self.taken_over.insert(seq);
            }
        }
    }

    /// How many events wait for a person.
    #[cfg(feature = "tools")]
    pub(crate) fn parked(&self) -> usize {
        let parked = |held: &&(Seq, Held)| matches!(held.1, Held::Failed { due: None, .. });
        self.held.iter().filter(parked).count()
    }

    /// What the facts of a log say of the subscription with that number; none if they say nothing.
    pub(crate) fn read(facts: &Facts, number: u32) -> Option<Self> {
        let (_, progress) = facts.under(FactKind::Progress, number).next()?;
        let (to, but) = needed::progress(progress).ok()?;
        let mut restored = Self { to: Seq(to), ..Self::default() };
        let mut again: Vec<Seq> = but.into_iter().map(Seq).collect();
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
        for (mut name, value) in facts.under(FactKind::Died, number) {
            let mut value = Bytes(value);
            if let (Ok(seq), Ok(times)) = (position_in(&mut name), value.number()) {
                // The first logs did not say which life.
                let died = Died { times: times as u32, life: value.number().unwrap_or_default() };
                restored.died.insert(Seq(seq), died);
            }
        }
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

/// So many events that are held are read at a time, for their keys and ids.
const AT_A_TIME: usize = 4_096;

impl Inner {
    fn restore_held(&mut self, seq: Seq, held: &Held, mut kept: Kept, wall: u64, now: Moment) {
        let key = kept.key.clone();
        match held {
            Held::Again => {
                self.state.give_back(seq, key);
                // It may have been in hand, which it is not any more.
                self.news.iter_mut().for_each(|news| news.behind(seq));
            }
            Held::Failed { failures, due, report } => {
                kept.report.clone_from(report);
                let verdict = due.map_or(Verdict::Park, |due| {
                    let wait = std::time::Duration::from_millis(due.saturating_sub(wall));
                    Verdict::Retry(now.after(wait))
                });
                self.state.failed(seq, key, *failures, verdict);
                self.keep(seq, kept, verdict);
            }
        }
    }
}

impl Subscription {
    /// It begins there, with what the log has.
    pub(crate) fn begin_with(&self, at: Seq) {
        self.inner.lock().begin_with(at);
    }

    /// Puts back what the log says was there.
    pub(crate) fn restore(
        &self,
        restored: Restored,
        (died, life): (&[Seq], u64),
        topic: impl Fn(&str) -> TopicId,
    ) {
        let now = Timestamp::now().as_millis();
        let mut inner = self.inner.lock();
        inner.begin_with(restored.to);
        let waits = |seq: Seq| seq >= restored.to || restored.held.iter().any(|(of, _)| *of == seq);
        let mut counted = BTreeSet::new();
        for (seq, of) in restored.died {
            if of.life == life {
                counted.insert(seq);
            }
            match waits(seq) {
                true => drop(inner.suspects.insert(seq, of.times)),
                false => inner.news.iter_mut().for_each(|news| news.acquits(seq)),
            }
        }
        for seq in died {
            if waits(*seq) && !counted.contains(seq) {
                let times = inner.suspects.entry(*seq).or_default();
                *times += 1;
                let times = *times;
                inner.news.iter_mut().for_each(|news| news.died(*seq, times, life));
            }
        }
        inner.on_trial = inner.suspects.keys().copied().collect();
        let mut lost = 0;
        for some in restored.held.chunks(AT_A_TIME) {
            let seqs: Vec<Seq> = some.iter().map(|(seq, _)| *seq).collect();
            let mut found = self.read_back(&seqs);
            for (seq, held) in some {
                let Some(kept) = found.events.remove(seq) else {
                    if found.may_be_there(*seq) {
                        // It stays in the log, for a program that can read it.
                        inner.unreadable.insert(*seq);
                        if let Held::Again = held {
                            inner.news.iter_mut().for_each(|news| news.behind(*seq));
                        }
                        continue;
                    }
                    // Its channel is not kept, or the log is damaged there.
                    inner.news.iter_mut().for_each(|news| news.done(*seq, true));
                    lost += 1;
                    continue;
                };
                if let (Held::Failed { failures, report, .. }, Some(news), true) =
                    (held, &mut inner.news, restored.taken_over.contains(seq))
                {
                    let report = report.as_deref();
                    news.held(*seq, *failures, Verdict::Park, report, self.clock.now());
                }
                inner.restore_held(*seq, held, kept, now, self.clock.now());
            }
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
        let unreadable = inner.unreadable.len();
        drop(inner);
        if unreadable > 0 {
            let processor = self.name.as_str();
            tracing::warn!(
                processor,
                unreadable,
                "events that were retrying, parked or waiting are of types \
                 that it does not handle any more, or cannot be read now: they stay in the log until it \
                 does, or its subscription is forgotten"
            );
        }
        if lost > 0 {
            let (processor, reason) = (&self.name, DropReason::Lost);
            self.signals.state(&Signal::Dropped { processor, events: lost, reason });
        }
    }
}
