//! What a workflow may do.

use std::cell::{RefCell, RefMut};
use std::ops::RangeInclusive;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Workflow;
use super::core::{Begin, Core, Waits};
use super::effect::{Effect, Fault, Work};
use super::history::{Begun, Kind};
use super::id::WorkflowId;
use super::step::{Call, Step, What};
use crate::error::{Failure, Outcome};
use crate::message::{Event, Key, Message, codec};
use crate::queue::loose::loose;

/// What a workflow may do: all that it waits for, and all that it does to others. Each of these is kept in
/// its history, and done once however often its process ends.
///
/// A step begins when it is first awaited. One whose future is dropped before it has ended is abandoned: its
/// result is not told, and what it did is made up for if there is an
/// [`undo_with`](Call::undo_with).
#[derive(Clone)]
pub struct Steps(Rc<RefCell<Core>>);

/// Who was first; from [`Steps::race`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Winner<A, B> {
    /// The first one, with its result.
    First(A),
    /// The second one, with its result.
    Second(B),
}

impl Steps {
    pub(super) fn new(core: Rc<RefCell<Core>>) -> Self {
        Self(core)
    }

    pub(super) fn core(&self) -> RefMut<'_, Core> {
        self.0.borrow_mut()
    }

    pub(super) fn try_core(&self) -> Option<RefMut<'_, Core>> {
        self.0.try_borrow_mut().ok()
    }

    /// The workflow's id.
    pub fn id(&self) -> WorkflowId {
        self.core().id
    }

    /// Somebody has cancelled the workflow: all steps return that, and what is owed is made up for when it
    /// ends.
    pub fn is_cancelled(&self) -> bool {
        self.core().cancelled
    }

    /// Sends a command to the processor that handles it, and waits for its reply. What the handler commits
    /// happens once; the command's id is the same if it is sent again.
    pub fn call<C: Message>(&self, command: C) -> Call<C> {
        Call::new(self.clone(), command)
    }

    /// Publishes an event, together with all else that this turn of the workflow does.
    ///
    /// # Errors
    ///
    /// If the event cannot be encoded, or is too large.
    pub fn publish<E: Event>(&self, event: E) -> Outcome {
        let event = loose(event)?;
        let digest = crc32c::crc32c(event.payload());
        let mut core = self.core();
        let step = core.number();
        let begun = Begun {
            turn: core.turn,
            step,
            kind: Kind::Publish,
            name: E::NAME.into(),
            digest,
            key: None,
            due: None,
        };
        if let Begin::New = core.begin(begun, Waits::default()) {
            core.effects.push(Effect::Publish { step, event });
        }
        Ok(())
    }

    /// Waits so long: seconds or months, also while no process runs.
    pub fn sleep(&self, wait: Duration) -> Step<()> {
        Step::new(
            self.clone(),
            |_| Ok(()),
            Some(|| ()),
            move |_| {
                let (name, key, wait) = ("sleep".into(), None, Some(wait));
                Ok((What { kind: Kind::Sleep, name, digest: 0, key, wait }, Waits::default(), None))
            },
        )
    }

    /// Waits for an event of that type about `key`. The workflow must declare the type
    /// ([`Workflow::Expects`]). Events about its own key ([`Workflow::key`], or the key of the event that
    /// began it) are kept for it from its start; those about another key from the moment that it waits.
    pub fn wait_for<E: Event>(&self, key: impl Into<Key>) -> Step<E> {
        let key = key.into();
        let expected = self.core().expects(E::NAME);
        Step::new(self.clone(), codec::decode, None, move |_| {
            expected?;
            let digest = crc32c::crc32c(key.as_str().as_bytes());
            let waits = Waits { event: Some((E::NAME, key.clone())), ..Waits::default() };
            let (name, key) = (E::NAME.into(), Some(key));
            Ok((What { kind: Kind::WaitFor, name, digest, key, wait: None }, waits, None))
        })
    }

    /// Takes an event that has come already, if one has.
    ///
    /// # Errors
    ///
    /// If its bytes are no such event, or the workflow does not declare the type.
    pub fn received<E: Event>(&self, key: impl Into<Key>) -> Outcome<Option<E>> {
        let key = key.into();
        let mut core = self.core();
        core.expects(E::NAME)?;
        let found = core.received(E::NAME, &key);
        let step = core.number();
        let begun = Begun {
            turn: core.turn,
            step,
            kind: Kind::Received,
            name: E::NAME.into(),
            digest: u32::from(found.is_some()),
            key: None,
            due: None,
        };
        core.begin(begun, Waits::default());
        drop(core);
        found.map(|payload| codec::decode(&payload)).transpose()
    }

    /// Runs something once and keeps its result: the time, chance, a call to the world outside. It is run
    /// again if the process ends before its result is kept.
    ///
    /// ```
    /// # use cueline::prelude::*;
    /// # async fn run(steps: Steps) -> Outcome {
    /// let now = steps.run("now", || async { Ok(Timestamp::now()) }).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn run<T, F>(&self, name: &'static str, run: impl FnOnce() -> F + 'static) -> Step<T>
    where
        T: Serialize + DeserializeOwned + 'static,
        F: Future<Output = Outcome<T>> + 'static,
    {
        Step::new(self.clone(), codec::decode, None, move |_| {
            let work: Work = Box::pin(async move { codec::encode(&run().await?) });
            let waits = Waits { work: Some(work), ..Waits::default() };
            let (name, key) = (name.into(), None);
            Ok((What { kind: Kind::Run, name, digest: 0, key, wait: None }, waits, None))
        })
    }

    /// Starts another workflow, of this mediator or another one, and waits for what it comes to. If it is
    /// abandoned, that one is cancelled.
    pub fn child<W: Workflow>(&self, input: W::Input) -> Step<W::Output> {
        Step::new(self.clone(), codec::decode, None, move |step| {
            let input = codec::encode(&input)?;
            let (name, digest) = (W::NAME.into(), crc32c::crc32c(&input));
            let what = What { kind: Kind::Child, name, digest, key: None, wait: None };
            Ok((what, Waits::default(), Some(Effect::Child { step, workflow: W::NAME, input })))
        })
    }

    /// Puts a question on the list of those that wait for a person, and waits for the answer:
    /// [`Runtime::tasks`](crate::Runtime::tasks) shows it.
    pub fn ask_person<T: DeserializeOwned + 'static>(
        &self,
        question: impl Into<String>,
    ) -> Step<T> {
        let question = question.into();
        Step::new(self.clone(), codec::decode, None, move |_| {
            let what =
                What { kind: Kind::Ask, name: question.into(), digest: 0, key: None, wait: None };
            Ok((what, Waits::default(), None))
        })
    }

    /// Waits for the first of two, which may be steps or several of them; the other one is dropped. Which
    /// one it was follows from the history, so it is the same after a crash: with `select!` it is not.
    pub async fn race<A: Future, B: Future>(
        &self,
        first: A,
        second: B,
    ) -> Winner<A::Output, B::Output> {
        let (mut first, mut second) = (pin!(first), pin!(second));
        std::future::poll_fn(|task| {
            if let Poll::Ready(won) = first.as_mut().poll(task) {
                return Poll::Ready(Winner::First(won));
            }
            second.as_mut().poll(task).map(Winner::Second)
        })
        .await
    }

    /// Which branch of a change this workflow takes: the highest of `versions` if it comes here for the first
    /// time, and the one that it took before if it did; the lowest if it was here before there was that
    /// branch.
    ///
    /// ```
    /// # use cueline::prelude::*;
    /// # async fn run(steps: Steps) -> Outcome {
    /// if steps.version("bags first", 1..=2) == 2 {
    ///     // as it is done since then
    /// } else {
    ///     // as it was done before
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn version(&self, name: &'static str, versions: RangeInclusive<u32>) -> u32 {
        let mut core = self.core();
        let known = match core.recorded.front() {
            None if core.is_known_turn() => return *versions.start(),
            None => *versions.end(),
            Some(known) if known.kind == Kind::Version && known.name == name => known.digest,
            Some(_) => return *versions.start(),
        };
        let step = core.number();
        let (turn, kind) = (core.turn, Kind::Version);
        let begun =
            Begun { turn, step, kind, name: name.into(), digest: known, key: None, due: None };
        core.begin(begun, Waits::default());
        if !versions.contains(&known) {
            let text = format!(
                "it took branch {known} of `{name}`, and its code has only {} to {}: give that branch back",
                versions.start(),
                versions.end()
            );
            core.fault.get_or_insert(Fault::Diverged(text));
        }
        known
    }

    /// Ends the workflow and begins it anew under the same id, with another input and an empty history: what
    /// goes on for ever does not grow. Events that it has not taken are taken along; what would have to be
    /// made up for has succeeded by that.
    ///
    /// ```
    /// # use cueline::prelude::*;
    /// # struct Watch;
    /// # impl Workflow for Watch {
    /// #     const NAME: &'static str = "watch";
    /// #     type Input = u32;
    /// #     type Output = ();
    /// #     type Expects = ();
    /// async fn run(&self, day: u32, steps: Steps) -> Outcome {
    ///     steps.sleep(hours(24)).await?;
    ///     steps.continue_with::<Self>(day + 1)
    /// }
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Always: return it.
    pub fn continue_with<W: Workflow>(&self, input: W::Input) -> Outcome<W::Output> {
        let input = codec::encode(&input)?;
        self.core().continues = Some(input);
        Err(Failure::permanent("it goes on with another history").reason("continued"))
    }

    /// Shows where the workflow is, to whoever asks ([`Runtime::workflow`](crate::Runtime::workflow)).
    ///
    /// # Errors
    ///
    /// If the value cannot be encoded.
    pub fn show<T: Serialize>(&self, value: &T) -> Outcome {
        let shown = codec::encode(value)?;
        self.core().shows = Some(shown);
        Ok(())
    }
}
