//! What a subscription does with each event, as one state machine without clock or I/O: who may
//! start, who waits behind whom, what is retried when, what is parked.
//!
//! Events that are merely waiting for their first delivery are not in here: they lie in batches,
//! and a cursor runs over them. The machine knows the exceptions, so that an event that is handled
//! at once costs it nothing. With one instance and no exceptions ([`State::is_clear`]) a whole
//! range may start without asking.

use std::collections::{BTreeMap, BTreeSet};

use super::lines::{KeyHash, Lines, Passed};
pub use super::standing::OnPark;
pub(crate) use super::standing::{Counts, Offer, Status, Verdict};
use crate::clock::Moment;
use crate::message::{Key, Seq};

/// An event that failed, or has the turn of its key after another.
#[derive(Debug, Clone, Copy)]
struct Held {
    key: Option<KeyHash>,
    failures: u32,
    stands: Stands,
}

/// A [`Status`] without its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stands {
    Retrying,
    Ready,
    InHand,
    Parked,
    Behind,
}

impl Stands {
    fn of(status: Status) -> Self {
        match status {
            Status::Retrying(_) => Self::Retrying,
            Status::Ready => Self::Ready,
            Status::InHand => Self::InHand,
            Status::Parked => Self::Parked,
            Status::Behind => Self::Behind,
        }
    }
}

/// Among so many keys the first event that is held is looked for.
const FEW_KEYS: usize = 1024;

/// The state machine of one subscription.
#[derive(Debug)]
pub(crate) struct State {
    on_park: OnPark,
    /// Several instances: a key in hand must be known even on its first delivery.
    crew: bool,
    most_held: usize,
    held: BTreeMap<Seq, Held>,
    lines: Lines,
    /// How many wait behind another and are not in `held`.
    followers: usize,
    /// Nothing that is held is before that.
    low: Seq,
    due: BTreeSet<(Moment, Seq)>,
    /// When those are due.
    retrying: BTreeMap<Seq, Moment>,
    ready: BTreeSet<Seq>,
    parked: usize,
    behind_parked: usize,
    behind: usize,
    in_hand: usize,
}

impl State {
    pub(crate) fn new(on_park: OnPark, crew: bool, most_held: usize) -> Self {
        Self {
            on_park,
            crew,
            most_held,
            held: BTreeMap::new(),
            lines: Lines::default(),
            followers: 0,
            low: Seq(u64::MAX),
            due: BTreeSet::new(),
            retrying: BTreeMap::new(),
            ready: BTreeSet::new(),
            parked: 0,
            behind_parked: 0,
            behind: 0,
            in_hand: 0,
        }
    }

    /// Nobody waits behind anybody: first deliveries need not be offered.
    pub(crate) fn is_clear(&self) -> bool {
        !self.crew && self.lines.is_empty() && !self.is_full()
    }

    /// So many events are held.
    pub(crate) fn held(&self) -> usize {
        self.held.len() + self.followers
    }

    fn is_held(&mut self, seq: Seq) {
        self.low = if self.held() == 0 { seq } else { self.low.min(seq) };
    }

    /// All that wait behind another.
    pub(crate) fn all_behind(&self) -> impl Iterator<Item = Seq> {
        self.lines.all_behind()
    }

    /// No event that is held is before that one; where there are many keys, some before it may have been.
    pub(crate) fn first_held(&self) -> Option<Seq> {
        if self.lines.len() > FEW_KEYS {
            return Some(self.low);
        }
        // Who is behind came later than the head, unless the key went on without it once.
        let first = self.held.keys().next().copied();
        first.into_iter().chain(self.lines.first_behind()).min()
    }

    /// Holds as many as come from now on.
    pub(crate) fn lift_bound(&mut self) {
        self.most_held = usize::MAX;
    }

    /// No more events may be held; nothing new is taken until some have left.
    pub(crate) fn is_full(&self) -> bool {
        self.held() >= self.most_held
    }

    /// Asks whether the next event in the order may start.
    pub(crate) fn offer(&mut self, seq: Seq, key: Option<&Key>) -> Offer {
        if self.is_full() {
            return Offer::Full;
        }
        let Some(key) = key else {
            return Offer::Start;
        };
        let key = self.lines.hash(key);
        if self.wait_behind(seq, key) {
            self.followers += 1;
            self.is_held(seq);
            return Offer::Behind;
        }
        if self.crew {
            self.lines.take(key, seq);
        }
        Offer::Start
    }

    /// Whether an event of this key has its turn, so that others wait behind it.
    pub(crate) fn is_taken(&self, key: &Key) -> bool {
        self.lines.head(self.lines.hash(key)).is_some()
    }

    /// The events that wait behind this key's head.
    pub(crate) fn behind(&self, key: &Key) -> impl Iterator<Item = Seq> {
        self.lines.behind(self.lines.hash(key))
    }

    /// The events that wait behind that one.
    pub(crate) fn behind_event(&self, seq: Seq) -> impl Iterator<Item = Seq> {
        let key = self.held.get(&seq).and_then(|held| held.key);
        let head = key.filter(|key| self.lines.head(*key) == Some(seq));
        head.into_iter().flat_map(|key| self.lines.behind(key))
    }

    /// Whether an event behind this key's head waits for something that is held itself, and so
    /// may wait long.
    pub(crate) fn waits_long(&self, key: &Key) -> bool {
        let head = self.lines.head(self.lines.hash(key));
        head.is_some_and(|head| self.held.contains_key(&head))
    }

    /// The next held event to deliver now, and how often it failed before.
    pub(crate) fn next(&mut self, now: Moment) -> Option<(Seq, u32)> {
        while let Some(&(due, seq)) = self.due.first() {
            if due > now {
                break;
            }
            self.due.pop_first();
            self.retrying.remove(&seq);
            self.make_ready(seq, None);
        }
        let seq = self.ready.pop_first()?;
        let held = self.held.get_mut(&seq)?;
        held.stands = Stands::InHand;
        self.in_hand += 1;
        Some((seq, held.failures))
    }

    /// Whether a held event could be delivered now.
    pub(crate) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// When the next retry is due.
    pub(crate) fn next_due(&self) -> Option<Moment> {
        self.due.first().map(|&(due, _)| due)
    }

    /// The event is done with: handled, filtered out, or dropped.
    pub(crate) fn finished(&mut self, seq: Seq, key: Option<&Key>) {
        let key = key.map(|key| self.lines.hash(key));
        let held = self.forget(seq);
        self.pass_turn(seq, held.and_then(|held| held.key).or(key));
    }

    /// The event in hand failed for the `failures`-th time.
    pub(crate) fn failed(&mut self, seq: Seq, key: Option<Key>, failures: u32, verdict: Verdict) {
        let status = match verdict {
            Verdict::Retry(due) => Status::Retrying(due),
            Verdict::Park => Status::Parked,
        };
        self.hold(seq, key, failures, status);
    }

    /// Whoever had the event in hand is gone: it is handed out again as it was. Or it comes from
    /// elsewhere, and has yet to be handed out here.
    pub(crate) fn give_back(&mut self, seq: Seq, key: Option<Key>) {
        let failures = self.failures(seq).unwrap_or(0);
        self.hold(seq, key, failures, Status::Ready);
    }

    fn hold(&mut self, seq: Seq, key: Option<Key>, failures: u32, status: Status) {
        let key = key.map(|key| self.lines.hash(&key));
        self.is_held(seq);
        let key = self.forget(seq).and_then(|held| held.key).or(key);
        // One that was parked before it may have been handed back meanwhile, and have the turn.
        if status != Status::Parked && key.is_some_and(|key| self.wait_behind(seq, key)) {
            match failures {
                0 => self.followers += 1,
                _ => drop(self.held.insert(seq, Held { key, failures, stands: Stands::Behind })),
            }
            return;
        }
        match status {
            Status::Retrying(due) => {
                self.due.insert((due, seq));
                self.retrying.insert(seq, due);
            }
            Status::Ready => {
                self.ready.insert(seq);
            }
            Status::Parked => self.parked += 1,
            Status::InHand | Status::Behind => {}
        }
        self.held.insert(seq, Held { key, failures, stands: Stands::of(status) });
        let Some(key) = key else { return };
        if status == Status::Parked && self.on_park == OnPark::LetKeyGo {
            self.pass_turn(seq, Some(key));
            return;
        }
        let behind = self.lines.take(key, seq);
        if status == Status::Parked {
            self.behind_parked += behind.unwrap_or(0);
        }
    }

    /// How often an event has failed that is held, and does not wait behind another for the first time.
    pub(crate) fn failures(&self, seq: Seq) -> Option<u32> {
        self.held.get(&seq).map(|held| held.failures)
    }

    /// A parked event is to be delivered again, with a clean record. False if it is not parked.
    pub(crate) fn resubmit(&mut self, seq: Seq) -> bool {
        if !self.is_parked(seq) {
            return false;
        }
        self.parked -= 1;
        let Some(held) = self.held.get_mut(&seq) else { return false };
        held.failures = 0;
        held.stands = Stands::Behind;
        let Some(key) = held.key else {
            self.make_ready(seq, None);
            return true;
        };
        // If the key went on without it, it is next in its line, in the old order.
        if !self.wait_behind(seq, key) {
            self.behind_parked -= self.lines.take(key, seq).unwrap_or(0);
            self.make_ready(seq, Some(key));
        }
        true
    }

    /// A parked event is given up. False if it is not parked.
    pub(crate) fn discard(&mut self, seq: Seq) -> bool {
        self.is_parked(seq).then(|| self.finished(seq, None)).is_some()
    }

    /// Where an event stands that is held, and does not wait behind another for the first time.
    pub(crate) fn status(&self, seq: Seq) -> Option<Status> {
        Some(match self.held.get(&seq)?.stands {
            Stands::Retrying => Status::Retrying(self.retrying.get(&seq).copied()?),
            Stands::Ready => Status::Ready,
            Stands::InHand => Status::InHand,
            Stands::Parked => Status::Parked,
            Stands::Behind => Status::Behind,
        })
    }

    pub(crate) fn counts(&self) -> Counts {
        Counts {
            retrying: self.due.len(),
            ready: self.ready.len(),
            in_hand: self.in_hand,
            parked: self.parked,
            behind_parked: self.behind_parked,
            behind_active: self.behind - self.behind_parked,
        }
    }

    /// If another event has the key's turn, this one has its place behind it from now on, in order.
    fn wait_behind(&mut self, seq: Seq, key: KeyHash) -> bool {
        let Some(head) = self.lines.wait_behind(seq, key) else { return false };
        self.behind += 1;
        self.behind_parked += usize::from(self.is_parked(head));
        true
    }

    fn is_parked(&self, seq: Seq) -> bool {
        self.status(seq) == Some(Status::Parked)
    }

    fn make_ready(&mut self, seq: Seq, key: Option<KeyHash>) {
        match self.held.get_mut(&seq) {
            Some(held) => held.stands = Stands::Ready,
            None => {
                self.followers -= 1;
                self.held.insert(seq, Held { key, failures: 0, stands: Stands::Ready });
            }
        }
        self.ready.insert(seq);
    }

    /// Takes the event out of the record, with all that counts it.
    fn forget(&mut self, seq: Seq) -> Option<Held> {
        let held = self.held.remove(&seq)?;
        match held.stands {
            Stands::Retrying => {
                let due = self.retrying.remove(&seq).unwrap_or_default();
                self.due.remove(&(due, seq));
            }
            Stands::Ready => {
                self.ready.remove(&seq);
            }
            Stands::InHand => self.in_hand -= 1,
            Stands::Behind => self.behind -= 1,
            Stands::Parked => {
                self.parked -= 1;
                let behind = held.key.map(|key| self.lines.count_behind(key, seq));
                self.behind_parked -= behind.unwrap_or(0);
            }
        }
        Some(held)
    }

    /// If the event has its key's turn, the next one behind it has it now.
    fn pass_turn(&mut self, seq: Seq, key: Option<KeyHash>) {
        let Some(key) = key else { return };
        if let Passed::To(next) = self.lines.pass(key, seq) {
            self.behind -= 1;
            self.make_ready(next, Some(key));
        }
    }
}
