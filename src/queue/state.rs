//! What a subscription does with each event, as one state machine without clock or I/O: who may
//! start, who waits behind whom, what is retried when, what is parked.
//!
//! Events that are merely waiting for their first delivery are not in here: they lie in batches,
//! and a cursor runs over them. The machine knows the exceptions, so that an event that is handled
//! at once costs it nothing. With one instance and no exceptions ([`State::is_clear`]) a whole
//! range may start without asking.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use crate::clock::Moment;
use crate::message::{Key, Seq};

/// What happens to the later events of a key when one of its events is parked; set with
/// [`on_park`](crate::ProcessorSpec::on_park).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnPark {
    /// They wait behind it, until it is resubmitted with success or discarded. Other keys flow.
    #[default]
    HoldKey,
    /// They go on without it.
    LetKeyGo,
}

/// Whether an event may start its first delivery now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Offer {
    /// Hand it to an instance.
    Start,
    /// Its key is taken: it was put behind, and starts when its turn comes.
    Behind,
    /// Too many are held: take nothing now.
    Full,
}

/// What to do with an event that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Deliver it again at that moment.
    Retry(Moment),
    /// Keep it for a person or a repairer.
    Park,
}

/// Where a held event stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    /// To be delivered again at that moment.
    Retrying(Moment),
    /// To be delivered as soon as an instance is free.
    Ready,
    /// With an instance.
    InHand,
    /// With a person or a repairer.
    Parked,
    /// Behind another event of its key.
    Behind,
}

#[derive(Debug, Clone)]
struct Held {
    key: Option<Key>,
    failures: u32,
    status: Status,
}

/// The events of one key, from the one that has its turn.
#[derive(Debug)]
struct Line {
    head: Seq,
    behind: VecDeque<Seq>,
}

/// How many events are held, by where they stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Counts {
    pub(crate) retrying: usize,
    pub(crate) ready: usize,
    pub(crate) in_hand: usize,
    pub(crate) parked: usize,
    /// Behind an event that is parked.
    pub(crate) behind_parked: usize,
    /// Behind an event that is in hand or will be delivered again.
    pub(crate) behind_active: usize,
}

impl Counts {
    /// Events that will move without anybody's help.
    pub(crate) fn active(&self) -> usize {
        self.retrying + self.ready + self.in_hand + self.behind_active
    }
}

/// The state machine of one subscription.
#[derive(Debug)]
pub(crate) struct State {
    on_park: OnPark,
    /// Several instances: a key in hand must be known even on its first delivery.
    crew: bool,
    most_held: usize,
    held: BTreeMap<Seq, Held>,
    lines: HashMap<Key, Line, foldhash::fast::RandomState>,
    due: BTreeSet<(Moment, Seq)>,
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
            lines: HashMap::default(),
            due: BTreeSet::new(),
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
        self.held.len()
    }

    /// Holds as many as come from now on.
    pub(crate) fn lift_bound(&mut self) {
        self.most_held = usize::MAX;
    }

    /// No more events may be held; nothing new is taken until some have left.
    pub(crate) fn is_full(&self) -> bool {
        self.held.len() >= self.most_held
    }

    /// Asks whether the next event in the order may start.
    pub(crate) fn offer(&mut self, seq: Seq, key: Option<&Key>) -> Offer {
        if self.is_full() {
            return Offer::Full;
        }
        let Some(key) = key else {
            return Offer::Start;
        };
        if self.wait_behind(seq, key) {
            let held = Held { key: Some(key.clone()), failures: 0, status: Status::Behind };
            self.held.insert(seq, held);
            return Offer::Behind;
        }
        if self.crew {
            self.lines.insert(key.clone(), Line { head: seq, behind: VecDeque::new() });
        }
        Offer::Start
    }

    /// Whether an event of this key has its turn, so that others wait behind it.
    pub(crate) fn is_taken(&self, key: &Key) -> bool {
        self.lines.contains_key(key)
    }

    /// The events that wait behind this key's head.
    pub(crate) fn behind(&self, key: &Key) -> impl Iterator<Item = Seq> {
        self.lines.get(key).into_iter().flat_map(|line| line.behind.iter().copied())
    }

    /// Whether an event behind this key's head waits for something that is held itself, and so
    /// may wait long.
    pub(crate) fn waits_long(&self, key: &Key) -> bool {
        self.lines.get(key).is_some_and(|line| self.held.contains_key(&line.head))
    }

    /// The next held event to deliver now, and how often it failed before.
    pub(crate) fn next(&mut self, now: Moment) -> Option<(Seq, u32)> {
        while let Some(&(due, seq)) = self.due.first() {
            if due > now {
                break;
            }
            self.due.pop_first();
            self.make_ready(seq);
        }
        let seq = self.ready.pop_first()?;
        let held = self.held.get_mut(&seq)?;
        held.status = Status::InHand;
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
        let held = self.forget(seq);
        let key = held.as_ref().and_then(|held| held.key.as_ref()).or(key);
        self.pass_turn(seq, key);
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
        let key = self.forget(seq).and_then(|held| held.key).or(key);
        // One that was parked before it may have been handed back meanwhile, and have the turn.
        if status != Status::Parked && key.as_ref().is_some_and(|key| self.wait_behind(seq, key)) {
            self.held.insert(seq, Held { key, failures, status: Status::Behind });
            return;
        }
        match status {
            Status::Retrying(due) => {
                self.due.insert((due, seq));
            }
            Status::Ready => {
                self.ready.insert(seq);
            }
            Status::Parked => self.parked += 1,
            Status::InHand | Status::Behind => {}
        }
        self.held.insert(seq, Held { key: key.clone(), failures, status });
        let Some(key) = key else { return };
        if status == Status::Parked && self.on_park == OnPark::LetKeyGo {
            self.pass_turn(seq, Some(&key));
            return;
        }
        let line = self.lines.entry(key).or_insert(Line { head: seq, behind: VecDeque::new() });
        if status == Status::Parked && line.head == seq {
            self.behind_parked += line.behind.len();
        }
    }

    /// How often a held event has failed.
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
        held.status = Status::Behind;
        let key = held.key.clone();
        let Some(key) = key else {
            self.make_ready(seq);
            return true;
        };
        // If the key went on without it, it is next in its line, in the old order.
        if !self.wait_behind(seq, &key) {
            let line = self.lines.entry(key);
            let line = line.or_insert_with(|| Line { head: seq, behind: VecDeque::new() });
            self.behind_parked -= line.behind.len();
            self.make_ready(seq);
        }
        true
    }

    /// A parked event is given up. False if it is not parked.
    pub(crate) fn discard(&mut self, seq: Seq) -> bool {
        let parked = self.is_parked(seq);
        if parked {
            self.finished(seq, None);
        }
        parked
    }

    pub(crate) fn status(&self, seq: Seq) -> Option<Status> {
        self.held.get(&seq).map(|held| held.status)
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
    fn wait_behind(&mut self, seq: Seq, key: &Key) -> bool {
        let Some(line) = self.lines.get_mut(key).filter(|line| line.head != seq) else {
            return false;
        };
        let place = line.behind.partition_point(|&other| other < seq);
        line.behind.insert(place, seq);
        let head = line.head;
        self.behind += 1;
        self.behind_parked += usize::from(self.is_parked(head));
        true
    }

    fn is_parked(&self, seq: Seq) -> bool {
        self.status(seq) == Some(Status::Parked)
    }

    fn make_ready(&mut self, seq: Seq) {
        if let Some(held) = self.held.get_mut(&seq) {
            held.status = Status::Ready;
            self.ready.insert(seq);
        }
    }

    /// Takes the event out of the record, with all that counts it.
    fn forget(&mut self, seq: Seq) -> Option<Held> {
        let held = self.held.remove(&seq)?;
        match held.status {
            Status::Retrying(due) => {
                self.due.remove(&(due, seq));
            }
            Status::Ready => {
                self.ready.remove(&seq);
            }
            Status::InHand => self.in_hand -= 1,
            Status::Behind => self.behind -= 1,
            Status::Parked => {
                self.parked -= 1;
                if let Some(line) = held.key.as_ref().and_then(|key| self.lines.get(key))
                    && line.head == seq
                {
                    self.behind_parked -= line.behind.len();
                }
            }
        }
        Some(held)
    }

    /// If the event has its key's turn, the next one behind it has it now.
    fn pass_turn(&mut self, seq: Seq, key: Option<&Key>) {
        let Some(key) = key else { return };
        let Some(line) = self.lines.get_mut(key) else { return };
        if line.head != seq {
            return;
        }
        match line.behind.pop_front() {
            Some(next) => {
                line.head = next;
                self.behind -= 1;
                self.make_ready(next);
            }
            None => {
                self.lines.remove(key);
            }
        }
    }
}
