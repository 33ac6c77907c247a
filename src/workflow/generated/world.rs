//! All around a workflow: what is kept of it, what comes to it, and who restarts it.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use fastrand::Rng;

use super::program::{Program, Said, code};
use crate::error::Failure;
use crate::message::{EventId, codec};
use crate::store::file::bytes::Bytes;
use crate::workflow::anew::{cut, events_first, is_carried};
use crate::workflow::core::Numbers;
use crate::workflow::effect::{Effect, End, Fault};
use crate::workflow::history::{Begun, Entry, Kind};
use crate::workflow::id::WorkflowId;
use crate::workflow::replay::{Advance, Live};

/// Its steps are not numbered from zero.
const FIRST: u32 = 1_000;
const ID: WorkflowId = WorkflowId(0xabc << 20 | 1 << 79);

/// What is kept of a workflow, and what it waits for.
pub(super) struct World {
    pub(super) input: Vec<u8>,
    pub(super) entries: Vec<(u32, Vec<u8>)>,
    pub(super) recorded: Vec<Begun>,
    numbers: Numbers,
    held_back: bool,
    /// What somebody is at.
    commands: BTreeMap<u32, u32>,
    timers: BTreeMap<u32, Duration>,
    asked: BTreeSet<u32>,
    works: BTreeMap<u32, Vec<u8>>,
    /// What each step said, whenever it was begun.
    said: HashMap<u32, (Kind, String, u32)>,
    pub(super) sent: HashMap<u32, Vec<u8>>,
    pub(super) shown: Option<Vec<u8>>,
    pub(super) end: Option<String>,
    pub(super) fault: Option<Fault>,
    /// How often it began anew with another input, with what came in another order, from one of its steps.
    pub(super) anew: [u32; 3],
}

impl World {
    fn of(program: &Program) -> Self {
        Self {
            input: codec::encode(program).unwrap(),
            entries: Vec::new(),
            recorded: Vec::new(),
            numbers: Numbers { first: FIRST, ..Numbers::default() },
            held_back: false,
            commands: BTreeMap::new(),
            timers: BTreeMap::new(),
            asked: BTreeSet::new(),
            works: BTreeMap::new(),
            said: HashMap::new(),
            sent: HashMap::new(),
            shown: None,
            end: None,
            fault: None,
            anew: [0; 3],
        }
    }

    /// Takes over what followed; if the process ends right now, nothing of it is kept. True if it begins anew.
    fn carry(&mut self, advance: Advance, told: u32, kept: bool) -> bool {
        for begun in &advance.begun {
            let said = (begun.kind, begun.name.to_string(), begun.digest);
            let before = self.said.entry(begun.step).or_insert_with(|| said.clone());
            assert_eq!(*before, said, "step {} says something else", begun.step);
            if kept && begun.kind == Kind::Ask {
                self.asked.insert(begun.step);
            }
        }
        for effect in advance.effects {
            if let Effect::Send { step, command, .. } = &effect {
                let payload = command.payload().to_vec();
                let before = self.sent.entry(*step).or_insert_with(|| payload.clone());
                assert_eq!(*before, payload, "step {step} sends something else");
            }
            if kept {
                self.carry_out(effect);
            }
        }
        if !kept {
            return false;
        }
        self.recorded.extend(advance.begun);
        self.shown = advance.shows.or(self.shown.take());
        self.fault = advance.fault;
        if let Some(at) = advance.held_back {
            self.entries = events_first(std::mem::take(&mut self.entries), at);
            self.held_back = true;
            self.anew[1] += 1;
            return true;
        }
        self.end = match advance.end {
            Some((End::Continued(input), untaken)) => {
                self.continues(input, advance.next, told, &untaken);
                return true;
            }
            Some((End::Completed(output), untaken)) => {
                Some(format!("completed {output:?} {untaken:?}"))
            }
            Some((End::Failed(failure), _)) => Some(format!("failed {:?}", failure.chain())),
            Some((End::Cancelled(failure), _)) => Some(format!("cancelled {:?}", failure.chain())),
            None => None,
        };
        false
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Send { step, .. } => {
                self.commands.insert(step, 0);
            }
            Effect::SendAgain { step, failures, .. } => {
                self.commands.insert(step, failures);
                let failed = self.entries.iter().rposition(|(_, entry)| {
                    let entry = Entry::read(&mut Bytes(entry)).unwrap();
                    matches!(entry, Entry::Failed { step: of, again: false, .. } if of == step)
                });
                Entry::was_tried_again(&mut self.entries[failed.unwrap()].1);
            }
            Effect::Within { step, wait } => {
                self.timers.insert(step, wait);
            }
            Effect::Run { step, mut work } => {
                let mut task = Context::from_waker(Waker::noop());
                let Poll::Ready(done) = work.as_mut().poll(&mut task) else { panic!("it waits") };
                self.works.insert(step, done.unwrap());
            }
            Effect::Forget { step, .. } => self.forgets(step),
            Effect::Publish { .. } | Effect::Child { .. } => {}
        }
    }

    fn forgets(&mut self, step: u32) {
        self.timers.remove(&step);
        self.asked.remove(&step);
        self.works.remove(&step);
    }

    /// Commands that somebody is at are answered, too late.
    fn forgets_all(&mut self) {
        self.timers.clear();
        self.asked.clear();
        self.works.clear();
    }

    fn continues(&mut self, input: Vec<u8>, next: u32, told: u32, untaken: &[EventId]) {
        self.forgets_all();
        let all = std::mem::take(&mut self.entries).into_iter().enumerate();
        let untaken = |event| untaken.contains(&event);
        let carried = all.filter(|(number, (_, entry))| is_carried(*number, entry, told, untaken));
        self.entries = carried.map(|(_, entry)| entry).collect();
        self.recorded.clear();
        self.numbers = Numbers { first: next, ..Numbers::default() };
        (self.input, self.held_back) = (input, false);
        self.anew[0] += 1;
    }

    /// Somebody has it do anew what it did from one of its steps on. Commands that somebody is at are answered
    /// all the same.
    fn restarts(&mut self, random: &mut Rng) -> bool {
        if self.recorded.is_empty() {
            return false;
        }
        let step = self.recorded[random.usize(..self.recorded.len())].step;
        let cancelled = self
            .entries
            .iter()
            .any(|(_, entry)| matches!(Entry::read(&mut Bytes(entry)).unwrap(), Entry::Cancelled));
        let cut = cut(&self.recorded, step, &self.numbers.restarts, cancelled).unwrap();
        cut.gone.iter().for_each(|begun| self.forgets(begun.step));
        self.entries.retain(|(_, entry)| cut.stays(entry));
        self.recorded = cut.kept;
        self.numbers.restarts = [&self.numbers.restarts[..], &[cut.restart]].concat().into();
        self.anew[2] += 1;
        true
    }

    /// Something comes to it.
    fn next(&mut self, random: &mut Rng) -> Vec<u8> {
        let mut all: Vec<(u8, u32)> = Vec::new();
        all.extend(self.commands.keys().map(|step| (0, *step)));
        all.extend(self.timers.keys().map(|step| (1, *step)));
        all.extend(self.asked.iter().map(|step| (2, *step)));
        all.extend(self.works.keys().map(|step| (3, *step)));
        let key = random.u64(..3).to_string();
        let mut entry = Vec::new();
        if all.is_empty() || random.u8(..12) == 0 {
            let event = EventId(u128::from(random.u64(..)));
            let said = codec::encode(&Said(key.parse().unwrap())).unwrap();
            Entry::Came { name: "said", key: Some(&key), event, payload: &said }.put(&mut entry);
        } else if random.u8(..40) == 0 {
            Entry::Cancelled.put(&mut entry);
        } else {
            let (kind, step) = all[random.usize(..all.len())];
            let result = codec::encode(&u64::from(step)).unwrap();
            match kind {
                0 if random.u8(..4) == 0 => {
                    self.commands.remove(&step);
                    let failure = match random.bool() {
                        true => Failure::permanent("no"),
                        false => Failure::transient("not now"),
                    };
                    Entry::Failed { step, failure, at: 7, again: false }.put(&mut entry);
                }
                1 => {
                    self.timers.remove(&step);
                    Entry::Over { step }.put(&mut entry);
                }
                _ => {
                    self.commands.remove(&step);
                    self.asked.remove(&step);
                    let result = self.works.remove(&step).unwrap_or(result);
                    Entry::Done { step, result: &result }.put(&mut entry);
                }
            }
        }
        let place = self.entries.last().map_or(0, |(place, _)| place + 1);
        self.entries.push((place, entry.clone()));
        entry
    }

    /// What a process that comes after this one makes of what is kept.
    pub(super) fn load(&self) -> Live {
        let mut live = Live::begin(
            &code(),
            (ID, self.numbers.clone()),
            &self.input,
            VecDeque::from(self.recorded.clone()),
            !self.held_back,
        );
        let entries = self.entries.iter();
        entries.for_each(|(_, entry)| live.tell(Entry::read(&mut Bytes(entry)).unwrap()));
        live
    }
}

/// One workflow to its end. Crashes one time in so many, if at all.
pub(super) fn live(program: &Program, seed: u64, crashes: Option<u8>) -> World {
    let (mut random, mut luck) = (Rng::with_seed(seed), Rng::with_seed(seed ^ 1));
    let mut world = World::of(program);
    let mut live = world.load();
    for _ in 0..4_000 {
        let crashes = crashes.is_some_and(|one_in| luck.u8(..one_in) == 0);
        // What was derived from what is kept may be lost, and comes again.
        let kept = !crashes || luck.bool();
        let mut anew = world.carry(live.take(), live.told(), kept);
        if crashes && !anew {
            live = world.load();
            anew = world.carry(live.take(), live.told(), true);
        }
        if world.end.is_some() || world.fault.is_some() {
            break;
        }
        if anew || (random.u8(..20) == 0 && world.restarts(&mut random)) {
            live = world.load();
            continue;
        }
        for _ in 0..random.usize(1..3) {
            let entry = world.next(&mut random);
            live.tell(Entry::read(&mut Bytes(&entry)).unwrap());
        }
    }
    world
}
