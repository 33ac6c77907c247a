//! Generated workflows under generated interleavings and crashes: what they come to is the same as without
//! crashes, and a step says the same however often it is begun.

#![allow(clippy::unwrap_used)]

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use fastrand::Rng;
use futures_util::future::{join, join_all};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};

use super::effect::{Effect, End, Fault};
use super::history::{Begun, Entry, Kind};
use super::id::WorkflowId;
use super::replay::{Advance, Live};
use super::{Code, Given, Steps, Winner, Workflow};
use crate::error::{Failure, Outcome};
use crate::message::{EventId, Key, codec};
use crate::queue::backoff::Retry;
use crate::store::file::bytes::Bytes;

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Do(u64);
crate::command!(Do, "do" => u64);
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Undo(EventId, Option<u64>);
crate::command!(Undo, "undo" => u64);
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Said(u64);
crate::event!(Said, "said", key: |said| said.0);

/// What a generated workflow does.
#[derive(Debug, Clone, Serialize, Deserialize)]
enum Program {
    Call { what: u64, undo: bool, timeout: bool, retry: bool, ignore: bool },
    Sleep,
    Wait { key: u64, until: bool },
    Received(u64),
    Run(u64),
    Publish(u64),
    Ask,
    Version(u32),
    Fail,
    Sequence(Vec<Program>),
    Both(Box<Program>, Box<Program>),
    TokioBoth(Box<Program>, Box<Program>),
    All(Vec<Program>),
    Race(Box<Program>, Box<Program>),
    Continue(Box<Program>),
}

fn program() -> impl Strategy<Value = Program> {
    let call = (0u64..9, any::<[bool; 4]>()).prop_map(|(what, [undo, timeout, retry, ignore])| {
        Program::Call { what, undo, timeout, retry, ignore }
    });
    let leaf = prop_oneof![
        6 => call,
        1 => Just(Program::Sleep),
        2 => (0u64..3, any::<bool>()).prop_map(|(key, until)| Program::Wait { key, until }),
        1 => (0u64..3).prop_map(Program::Received),
        1 => (0u64..9).prop_map(Program::Run),
        1 => (0u64..9).prop_map(Program::Publish),
        1 => Just(Program::Ask),
        1 => (1u32..4).prop_map(Program::Version),
        1 => Just(Program::Fail),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        let two = (inner.clone(), inner.clone()).prop_map(|(a, b)| (Box::new(a), Box::new(b)));
        prop_oneof![
            4 => prop::collection::vec(inner.clone(), 1..5).prop_map(Program::Sequence),
            2 => two.clone().prop_map(|(a, b)| Program::Both(a, b)),
            2 => two.clone().prop_map(|(a, b)| Program::TokioBoth(a, b)),
            1 => prop::collection::vec(inner.clone(), 1..4).prop_map(Program::All),
            2 => two.prop_map(|(a, b)| Program::Race(a, b)),
            1 => inner.prop_map(|next| Program::Continue(Box::new(next))),
        ]
    })
}

type Trace = Rc<RefCell<Vec<String>>>;

fn perform(program: Program, steps: Steps, trace: Trace) -> Pin<Box<dyn Future<Output = Outcome>>> {
    Box::pin(async move {
        let go = |program: Program| perform(program, steps.clone(), trace.clone());
        let said = match program {
            Program::Call { what, undo, timeout, retry, ignore } => {
                let mut call = steps.call(Do(what));
                if undo {
                    call = call.undo_with(|id, reply| Undo(id, reply.copied()));
                }
                if timeout {
                    call = call.timeout(Duration::from_secs(what));
                }
                if retry {
                    call = call.retry(Retry::attempts(3));
                }
                let called = call.await;
                let said = format!("call {called:?}");
                if !ignore {
                    called?;
                }
                said
            }
            Program::Sleep => format!("slept {:?}", steps.sleep(Duration::from_secs(9)).await?),
            Program::Wait { key, until: false } => {
                format!("came {:?}", steps.wait_for::<Said>(key).await?)
            }
            Program::Wait { key, until: true } => {
                let came = steps.wait_for::<Said>(key).or_after(Duration::from_secs(5)).await?;
                format!("came or not {came:?}")
            }
            Program::Received(key) => format!("received {:?}", steps.received::<Said>(key)?),
            Program::Run(what) => {
                format!("ran {}", steps.run("run", move || async move { Ok(what + 1) }).await?)
            }
            Program::Publish(what) => format!("published {:?}", steps.publish(Said(what))?),
            Program::Ask => format!("told {}", steps.ask_person::<u64>("what now?").await?),
            Program::Version(most) => format!("branch {}", steps.version("branch", 1..=most)),
            Program::Fail => return Err(Failure::transient("it fails")),
            Program::Sequence(all) => {
                for one in all {
                    go(one).await?;
                }
                return Ok(());
            }
            Program::Both(a, b) => {
                let (a, b) = join(go(*a), go(*b)).await;
                return a.and(b);
            }
            Program::TokioBoth(a, b) => {
                let (a, b) = tokio::join!(go(*a), go(*b));
                return a.and(b);
            }
            Program::All(all) => {
                return join_all(all.into_iter().map(go)).await.into_iter().collect();
            }
            Program::Race(a, b) => {
                let (first, won) = match steps.race(go(*a), go(*b)).await {
                    Winner::First(won) => ("first", won),
                    Winner::Second(won) => ("second", won),
                };
                won?;
                first.to_owned()
            }
            Program::Continue(next) => {
                return steps.continue_with::<Generated>(*next).map(drop);
            }
        };
        trace.borrow_mut().push(said);
        Ok(())
    })
}

struct Generated;
impl Workflow for Generated {
    const NAME: &'static str = "generated";
    type Input = Program;
    type Output = Vec<String>;
    type Expects = (Said,);
    async fn run(&self, program: Program, steps: Steps) -> Outcome<Vec<String>> {
        let trace = Trace::default();
        let done = perform(program, steps.clone(), trace.clone()).await;
        let seen = trace.take();
        steps.show(&seen)?;
        done.map(|()| seen)
    }
}

fn code() -> Arc<dyn Code> {
    Arc::new(Given::new(Generated))
}

/// Its steps are not numbered from zero.
const FIRST: u32 = 1_000;
const ID: WorkflowId = WorkflowId(0xabc << 20 | 1 << 79);

/// All around a workflow: what is kept of it, and what it waits for.
#[derive(Default)]
struct World {
    input: Vec<u8>,
    entries: Vec<Vec<u8>>,
    recorded: Vec<Begun>,
    /// What somebody is at.
    commands: BTreeMap<u32, u32>,
    timers: BTreeMap<u32, Duration>,
    asked: BTreeSet<u32>,
    works: BTreeMap<u32, Vec<u8>>,
    again: BTreeMap<u32, usize>,
    /// What each step said, whenever it was begun.
    said: HashMap<u32, (Kind, String, u32)>,
    sent: HashMap<u32, Vec<u8>>,
    shown: Option<Vec<u8>>,
    end: Option<String>,
    fault: Option<Fault>,
}

impl World {
    /// Takes over what followed; if the process ends right now, nothing of it is kept.
    fn carry(&mut self, advance: Advance, kept: bool) {
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
            if !kept {
                continue;
            }
            match effect {
                Effect::Send { step, .. } => {
                    self.commands.insert(step, 0);
                }
                Effect::SendAgain { step, failures, .. } => {
                    self.commands.insert(step, failures);
                    let entry = self.again.get(&step).copied().unwrap();
                    Entry::was_tried_again(&mut self.entries[entry]);
                }
                Effect::Within { step, wait } => {
                    self.timers.insert(step, wait);
                }
                Effect::Run { step, mut work } => {
                    let mut task = Context::from_waker(Waker::noop());
                    let Poll::Ready(done) = work.as_mut().poll(&mut task) else {
                        panic!("it waits")
                    };
                    self.works.insert(step, done.unwrap());
                }
                Effect::Forget { step } => {
                    self.timers.remove(&step);
                    self.asked.remove(&step);
                    self.works.remove(&step);
                }
                Effect::Publish { .. } | Effect::Child { .. } => {}
            }
        }
        if kept {
            self.recorded.extend(advance.begun);
            self.shown = advance.shows.or(self.shown.take());
            self.end = advance.end.map(|(end, untaken)| match end {
                End::Completed(output) => format!("completed {output:?} {untaken:?}"),
                End::Failed(failure) => format!("failed {:?}", failure.chain()),
                End::Cancelled(failure) => format!("cancelled {:?}", failure.chain()),
                End::Continued(input) => format!("continued {input:?} {untaken:?}"),
            });
            self.fault = advance.fault;
        }
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
                    self.again.insert(step, self.entries.len());
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
        self.entries.push(entry.clone());
        entry
    }

    /// What a process that comes after this one makes of what is kept.
    fn load(&self) -> Live {
        let mut live = Live::begin(
            &code(),
            (ID, FIRST),
            &self.input,
            VecDeque::from(self.recorded.clone()),
            false,
        );
        self.entries.iter().for_each(|entry| live.tell(Entry::read(&mut Bytes(entry)).unwrap()));
        live
    }
}

/// One workflow to its end. Crashes one time in so many, if at all.
fn live(program: &Program, seed: u64, crashes: Option<u8>) -> World {
    let (mut random, mut luck) = (Rng::with_seed(seed), Rng::with_seed(seed ^ 1));
    let mut world = World { input: codec::encode(program).unwrap(), ..World::default() };
    let mut live = world.load();
    for _ in 0..2_000 {
        let crashes = crashes.is_some_and(|one_in| luck.u8(..one_in) == 0);
        // What was derived from what is kept may be lost, and comes again.
        let kept = !crashes || luck.bool();
        world.carry(live.take(), kept);
        if crashes {
            live = world.load();
            world.carry(live.take(), true);
        }
        if world.end.is_some() || world.fault.is_some() {
            break;
        }
        let entry = world.next(&mut random);
        live.tell(Entry::read(&mut Bytes(&entry)).unwrap());
    }
    world
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn crashes_change_nothing(program in program(), seed: u64, one_in in 1u8..8) {
        let without = live(&program, seed, None);
        let with = live(&program, seed, Some(one_in));
        prop_assert_eq!(&without.fault, &None);
        prop_assert!(without.end.is_some(), "it comes to an end");
        prop_assert_eq!(&with.fault, &None);
        prop_assert_eq!(without.end, with.end);
        prop_assert_eq!(without.recorded, with.recorded);
        prop_assert_eq!(without.sent, with.sent);
        prop_assert_eq!(without.entries, with.entries);
        prop_assert_eq!(without.shown, with.shown);
    }

    /// The checker sees it: another program with the same history is found out, or does the same.
    #[test]
    fn other_code_is_found_out(program in program(), other in program(), seed: u64) {
        let mut world = live(&program, seed, None);
        if world.recorded.is_empty() {
            return Ok(());
        }
        world.input = codec::encode(&other).unwrap();
        let found = world.load().take();
        if found.fault.is_none() {
            // It differs where nothing stands in the history yet.
            let again = world.load().take();
            prop_assert_eq!(again.begun, found.begun);
        } else {
            let nothing = found.effects.is_empty() && found.begun.is_empty() && found.end.is_none();
            prop_assert!(nothing, "it does nothing more");
        }
    }
}

fn cases() -> u32 {
    std::env::var("CUELINE_WORKFLOWS").ok().and_then(|cases| cases.parse().ok()).unwrap_or(400)
}

/// Its key is of no use to it.
#[test]
fn a_key_is_what_it_says() {
    assert_eq!(Said(3).0.to_string(), Key::from(3u64).as_str());
}
