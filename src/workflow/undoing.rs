//! What is owed is paid in reverse, again and again, and it is known how often that failed.

#![allow(clippy::unwrap_used)]

use std::collections::VecDeque;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::core::Numbers;
use super::effect::{Effect, End};
use super::history::Entry;
use super::id::WorkflowId;
use super::replay::{Advance, Live};
use super::{Code, Given, Steps, Workflow};
use crate::error::{Failure, Outcome};
use crate::message::codec;

#[derive(Serialize, Deserialize)]
struct Do(u32);
crate::command!(Do, "do" => u32);
#[derive(Serialize, Deserialize)]
struct Undo(u32);
crate::command!(Undo, "undo" => u32);

struct Fails;
impl Workflow for Fails {
    const NAME: &'static str = "fails";
    type Input = ();
    type Output = ();
    type Expects = ();
    async fn run(&self, (): (), steps: Steps) -> Outcome {
        for what in 0..2 {
            steps.call(Do(what)).undo_with(move |_, _| Undo(what)).await?;
        }
        Err(Failure::permanent("in vain"))
    }
}

/// What it sends, or sends again, under which step.
fn sends(advance: &Advance) -> Vec<(u32, &'static str, bool)> {
    let sends = |effect: &Effect| match effect {
        Effect::Send { step, command, .. } => Some((*step, command.declared().name, false)),
        Effect::SendAgain { step, command, .. } => Some((*step, command.declared().name, true)),
        _ => None,
    };
    advance.effects.iter().filter_map(sends).collect()
}

#[test]
fn again_and_again_and_counted() {
    let code: Arc<dyn Code> = Arc::new(Given::new(Fails));
    let (id, none) = (WorkflowId(1 << 79), VecDeque::new());
    let mut live =
        Live::begin(&code, (id, Numbers::default()), &codec::encode(&()).unwrap(), none, true);
    let result = codec::encode(&7u32).unwrap();
    let done = |step| Entry::Done { step, result: &result };
    assert_eq!(sends(&live.take()), [(0, "do", false)]);
    live.tell(done(0));
    assert_eq!(sends(&live.take()), [(1, "do", false)]);
    live.tell(done(1));
    let undoes = live.take();
    assert_eq!((sends(&undoes), undoes.compensates), (vec![(2, "undo", false)], true));
    for times in 1..=6 {
        // Whatever its handler calls it: it is owed.
        let failure = Failure::permanent("not now");
        live.tell(Entry::Failed { step: 2, failure, at: 0, again: false });
        let again = live.take();
        assert_eq!((sends(&again), again.stuck), (vec![(2, "undo", true)], times));
        assert!(again.end.is_none());
    }
    live.tell(done(2));
    let next = live.take();
    assert_eq!((sends(&next), next.stuck), (vec![(3, "undo", false)], 0));
    live.tell(done(3));
    assert!(matches!(live.take().end, Some((End::Failed(_), _))));
}
