//! What a subscription tells the log: how far it came, what is held and why, what it keeps. All of it
//! is facts, and what was done together is told together, with what was published by it.

use std::sync::atomic::Ordering::{Relaxed, SeqCst};

use serde::{Deserialize, Serialize};

use super::{Inner, Subscription};
use crate::clock::{Moment, Timestamp};
use crate::message::{Key, Seq, codec};
use crate::queue::answer::Answers;
use crate::queue::batch::{Batch, Events};
use crate::queue::report::{Report, StoredReport};
use crate::queue::state::Verdict;
use crate::queue::stored::run_of;
use crate::store::file::bytes::{put_bytes, put_number};
use crate::store::file::facts::{name_at, name_of};
use crate::store::file::needed::SubscriptionFact;
use crate::store::file::record::{FactKind, put_deleted, put_events, put_fact};

/// What is to be told to the log.
#[derive(Default)]
pub(super) struct News {
    /// By what number the log knows the subscription.
    number: u32,
    records: Vec<u8>,
    outbox: Option<Events>,
    /// Who is told when all that is on disk.
    pub(super) answers: Answers,
    /// How far it came is another place than was told.
    moved: bool,
    /// Nothing of it is needed any more.
    gone: bool,
}

/// What a subscription has to tell to the log.
pub(crate) struct Told {
    /// By what number the log knows it.
    pub(crate) number: u32,
    /// The first event that it still needs, when this is written; none if it is gone.
    pub(crate) needs: Option<Seq>,
    pub(crate) records: Vec<u8>,
    /// What was published with it.
    pub(crate) outbox: Option<Events>,
    /// Who is to be told when it is on disk.
    pub(crate) answers: Answers,
    /// What was published may be handed out before it is on disk.
    pub(crate) runs_ahead: bool,
}

/// A held event, as a fact.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct HeldFact {
    pub(super) failures: u32,
    /// When it is delivered again, in milliseconds since 1970; none if it is parked.
    pub(super) due: Option<u64>,
    pub(super) report: Option<StoredReport>,
}

/// What an answer takes, about.
const ANSWER: usize = 128;

/// Where the disk is slow, no more bytes than that are to be told to it.
const MOST_UNTOLD: usize = 4 << 20;

/// When that is by the wall clock, in milliseconds since 1970.
fn wall_time(due: Moment, now: Moment) -> u64 {
    let wait = u64::try_from(due.since(now).as_millis()).unwrap_or(u64::MAX);
    Timestamp::now().as_millis().saturating_add(wait)
}

impl News {
    pub(super) fn new(number: u32, fact: Option<&SubscriptionFact>) -> Self {
        let mut news = Self { number, ..Self::default() };
        if let Some(fact) = fact {
            let of = name_of(FactKind::Subscription, number);
            put_fact(&mut news.records, &of, &fact.write());
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

    /// So much waits to be told that nothing more is to be done before.
    pub(super) fn is_much(&self) -> bool {
        let published = self.outbox.as_ref().map_or(0, |outbox| outbox.stored().len());
        let answers = self.answers.len() * ANSWER;
        self.records.len() + published + answers >= MOST_UNTOLD
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
        // What is known of it is in there from now on.
        for kind in [FactKind::Behind, FactKind::Died] {
            put_deleted(&mut self.records, &name_at(kind, self.number, seq.0));
        }
        self.moved = true;
    }

    /// It is not to be delivered any more, whatever it did.
    pub(super) fn acquits(&mut self, seq: Seq) {
        put_deleted(&mut self.records, &name_at(FactKind::Died, self.number, seq.0));
        self.moved = true;
    }

    /// The process died so often while a handler was at that event.
    pub(super) fn died(&mut self, seq: Seq, times: u32, life: u64) {
        let mut value = Vec::new();
        put_number(&mut value, u64::from(times));
        put_number(&mut value, life);
        put_fact(&mut self.records, &name_at(FactKind::Died, self.number, seq.0), &value);
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

    pub(super) fn facts(&mut self, records: &[u8]) {
        self.records.extend_from_slice(records);
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
    /// It begins there, with what the log has.
    pub(super) fn begin_with(&mut self, at: Seq) {
        self.source.restore(at);
        // Where that ends is known when it has its place in the order.
        (self.earlier, self.seen) = (Seq(u64::MAX), Seq(u64::MAX));
    }

    /// It was published by this process, and whoever counts what was counts it.
    pub(super) fn counts(&self, batch: &Batch) -> bool {
        batch.first >= self.earlier
    }

    /// Everything before this place has been handed out, but for what is held.
    pub(super) fn taken_to(&self, subscription: &Subscription) -> Seq {
        match self.line.first(&subscription.wanted) {
            Some((batch, at, _)) => batch.seq(&batch.events.runs()[at.run as usize], at.index),
            None => self.source.have(),
        }
    }
}

impl Subscription {
    /// What is done is told to a log from now on, which knows it by that number; with what is new to
    /// it.
    pub(crate) fn keep(&self, number: u32, fact: Option<&SubscriptionFact>) {
        self.log_number.store(u64::from(number) + 1, SeqCst);
        self.inner.lock().news = Some(News::new(number, fact));
        self.news.store(true, SeqCst);
    }

    /// One more than the number by which the log knows it; 0 without a log.
    pub(crate) fn log_number(&self) -> u64 {
        self.log_number.load(Relaxed)
    }

    /// It is gone for good, and so is what the log knows of it.
    pub(crate) fn forget_in_log(&self) {
        if let Some(news) = &mut self.inner.lock().news {
            news.gone = true;
            for kind in [FactKind::Subscription, FactKind::Progress] {
                put_deleted(&mut news.records, &name_of(kind, news.number));
            }
            self.news.store(true, SeqCst);
        }
    }

    /// There is something to tell to the log, and nobody has been told so yet.
    pub(crate) fn has_news(&self) -> bool {
        self.news.load(SeqCst) && !self.marked.swap(true, SeqCst)
    }

    /// It gets what comes from there on, unless it goes on where an earlier process left it.
    pub(crate) fn begin(&self, at: Seq) {
        let mut inner = self.inner.lock();
        inner.source.begin(at);
        (inner.earlier, inner.seen) = (at, at);
    }

    /// What is to be told to the log: its records, and what was published with them.
    pub(crate) fn take_news(&self) -> Option<Told> {
        let mut guard = self.inner.lock();
        self.marked.store(false, SeqCst);
        self.news.store(false, SeqCst);
        let inner = &mut *guard;
        let to = inner.taken_to(self);
        let news = inner.news.as_mut()?;
        let waker = if news.is_much() { inner.drivers.wake_last() } else { None };
        let mut records = std::mem::take(&mut news.records);
        if std::mem::take(&mut news.moved) && !news.gone {
            let mut value = Vec::new();
            put_number(&mut value, to.0);
            let mut before = 0;
            for seq in inner.in_hand.keys().filter(|seq| !inner.acknowledged.contains(seq)) {
                put_number(&mut value, seq.0 - before);
                before = seq.0;
            }
            put_fact(&mut records, &name_of(FactKind::Progress, news.number), &value);
        }
        let held = inner.state.first_held();
        let in_hand = inner.in_hand.keys().next().copied();
        let unreadable = inner.unreadable.first().copied();
        let needs = held.into_iter().chain(in_hand).chain(unreadable).fold(to, Seq::min);
        let needs = (!news.gone).then_some(needs);
        let (outbox, answers) = (news.outbox.take(), std::mem::take(&mut news.answers));
        let (number, runs_ahead) = (news.number, self.settings.runs_ahead);
        let told = Told { number, needs, records, outbox, answers, runs_ahead };
        drop(guard);
        waker.into_iter().for_each(std::task::Waker::wake);
        Some(told)
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
}
