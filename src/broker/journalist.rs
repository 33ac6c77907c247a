//! What the thread that writes the log does for the broker: it takes what was published in its order, as
//! records, and hands it out when it is written.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::channels::Channels;
use super::durability::Durabilities;
use super::journal::Journal;
use super::needs::Needs;
use super::sequencer::{Placed, Sequencer};
use crate::message::Seq;
use crate::message::envelope::TopicId;
use crate::queue::answer::give;
use crate::queue::batch::Batch;
use crate::queue::once::KeyNote;
use crate::queue::stored::run_of;
use crate::signal::Signal;
use crate::store::file::events::Run;
use crate::store::file::facts::name_of;
use crate::store::file::record::{FactKind, put_deleted, put_events, put_fact};
use crate::store::file::writer::{Feed, Group, Wrote};

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
    /// The place of the next answer in the order of all.
    answered: u64,
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
        answered: u64,
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
            answered,
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

    /// What they say is on disk: all that was written with an answer is synced at once.
    fn give_answers(&mut self) {
        for placed in &mut self.taken {
            if let Placed::News(told, _) | Placed::Ahead(told, _) = placed
                && !told.answers.is_empty()
            {
                let asked = give(std::mem::take(&mut told.answers), &self.sequencer.signals);
                self.told_publishers += asked; // they ask again
            }
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

    fn put(&mut self, batch: &Batch, group: &mut Group, runs_ahead: bool) {
        let stored = batch.events.runs().iter().filter(|run| run.stored);
        self.runs.clear();
        let mut at = 0;
        for run in stored {
            let channel = self.number(run.head.topic, &mut group.records);
            let path = run.head.path.topics();
            let path = path.map(|topic| self.number(topic, &mut group.records)).collect();
            self.runs.push(run_of(&run.head, channel, run.offset - at, run.length, path));
            at = run.offset + run.length;
            let within = self.durability.within(run.head.topic);
            group.within(if runs_ahead { within.max(SETTLED) } else { within });
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
        for placed in &mut taken {
            let (told, batch) = match placed {
                Placed::Batch(batch) => {
                    self.put(batch, group, false);
                    continue;
                }
                Placed::News(told, batch) => (told, batch.as_ref()),
                Placed::Ahead(told, batch) => (told, Some(&*batch)),
                Placed::Subscribe(..) | Placed::Unsubscribe(..) => continue,
            };
            group.records.extend_from_slice(&told.records);
            for answer in &mut told.answers {
                answer.record(self.answered, &mut group.records);
                self.answered += 1;
            }
            // An answer is not given before it is on disk, and somebody waits for it.
            group.within(if told.answers.is_empty() { SETTLED } else { Duration::ZERO });
            self.told.push((told.number, told.needs));
            match batch {
                Some(batch) => self.put(batch, group, told.runs_ahead),
                None => group.commit(self.next, self.next),
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
        self.give_answers();
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
            self.journal.fail(Some(error));
        }
    }

    fn given_up(&mut self) {
        tracing::error!(
            "the log was not written to its end: what was not acknowledged may be lost"
        );
        self.journal.fail(None);
        self.sequencer.give_up(&mut self.taken);
    }

    fn is_idle(&mut self) -> bool {
        self.journal.writes(false);
        let nothing =
            self.journal.forgotten.lock().is_empty() && self.journal.facts.lock().is_empty();
        nothing && self.sequencer.intake.lock().has_no_events()
    }
}
