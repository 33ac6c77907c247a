//! Programs, made by chance, and the workflow that does what they say.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{join, join_all};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};

use crate::error::{Failure, Outcome};
use crate::message::EventId;
use crate::queue::backoff::Retry;
use crate::workflow::{Code, Given, Steps, Winner, Workflow};

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Do(u64);
crate::command!(Do, "do" => u64);
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Undo(EventId, Option<u64>);
crate::command!(Undo, "undo" => u64);
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Said(pub(super) u64);
crate::event!(Said, "said", key: |said| said.0);

/// What a generated workflow does.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum Program {
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

pub(super) fn program() -> impl Strategy<Value = Program> {
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

pub(super) fn code() -> Arc<dyn Code> {
    Arc::new(Given::new(Generated))
}
