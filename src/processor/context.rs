//! What a handler sees and may do: its event's envelope, publishing, kept state.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::link::Link;
use super::outcome::Ended;
use crate::clock::Moment;
use crate::error::Failure;
use crate::message::envelope::{Head, Origin};
use crate::message::{Envelope, Event, Key, Seq};
use crate::queue::answer::Answer;
use crate::queue::batch::{Batch, Events};
use crate::queue::kept::Kept;
use crate::store::memory::{StateKey, Value};
use crate::supervise::Reason;

/// The event in hand.
pub(crate) enum InHand {
    /// Nothing: a `started` or `stopping` hook.
    Nothing,
    /// An event of a batch.
    Batch { batch: Arc<Batch>, run: u32, head: Head },
    /// A held event.
    Kept { kept: Kept, seq: Seq },
}

/// What a handler did that must be settled with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) enum Touched {
    #[default]
    Nothing,
    /// It published, and no more.
    Outbox,
    /// It kept state, publishes later, or is refused.
    More,
}

/// What a handler may do with the runtime. Everything it does here leaves together with the
/// acknowledgement of its event, or not at all.
///
/// What is outside stays outside: values in `self`, memory shared through the factory, the
/// handler's own I/O. They may happen again when the event is delivered again, with the same id.
pub struct Context {
    pub(crate) link: Rc<Link>,
    pub(crate) hand: InHand,
    /// The event's place in its run.
    pub(crate) index: u32,
    /// How often the event has failed.
    failures: u32,
    /// What publications inherit, worked out once a run: only the ids differ from event to event.
    pub(super) origin: Origin,
    pub(super) touched: Touched,
    pub(super) states: Vec<(StateKey, Box<dyn Value>)>,
    delayed: Vec<(Moment, Events, &'static str)>,
    /// What whoever asked is told, if the handler succeeds.
    pub(super) answer: Option<Box<dyn Answer>>,
    refused: Option<Ended>,
    /// The child is to end, if the handler succeeds.
    ends: Option<Reason>,
    /// The handler took the acknowledgement along.
    takes_along: bool,
    /// The hook says that there is nothing to do.
    pub(super) ignores: bool,
}

impl Context {
    pub(crate) fn new(link: Rc<Link>) -> Self {
        Self {
            link,
            hand: InHand::Nothing,
            index: 0,
            failures: 0,
            origin: Origin::OUTSIDE,
            touched: Touched::Nothing,
            states: Vec::new(),
            delayed: Vec::new(),
            answer: None,
            refused: None,
            ends: None,
            takes_along: false,
            ignores: false,
        }
    }

    pub(super) fn head(&self) -> Option<(&Head, u32)> {
        match &self.hand {
            InHand::Nothing => None,
            InHand::Batch { head, .. } => Some((head, self.index)),
            InHand::Kept { kept, .. } => Some((&kept.head, 0)),
        }
    }

    /// Takes something else in hand.
    pub(crate) fn take(&mut self, hand: InHand, index: u32, failures: u32) {
        self.hand = hand;
        self.index = index;
        self.failures = failures;
        self.origin = Origin::OUTSIDE;
    }

    /// Whatever the handler returns, its outcome is refused for that.
    #[cold]
    fn refuse(&mut self, why: Ended) {
        self.touched = Touched::More;
        self.refused = Some(why);
    }

    /// The handler takes the acknowledgement along.
    pub(super) fn takes_along(&mut self) {
        (self.touched, self.takes_along) = (Touched::More, true);
    }

    /// Works out what publications inherit: once a run, and the ids for each event.
    #[inline]
    fn trace_origin(&mut self) {
        let (head, index) = match &self.hand {
            InHand::Nothing => return,
            InHand::Batch { head, .. } => (head, self.index),
            InHand::Kept { kept, .. } => (&kept.head, 0),
        };
        if self.origin.parent.is_none() {
            self.origin = head.origin_of_children(index);
        } else {
            self.origin.parent = Some((head.id(index), head.correlation(index)));
        }
    }

    /// The name of the processor.
    pub fn processor(&self) -> &str {
        self.link.subscription.name.as_str()
    }

    /// What the runtime knows about the event in hand: its id, what it descends from, its key, its
    /// attempt. None in `started` and `stopping`.
    pub fn envelope(&self) -> Option<Envelope> {
        let (head, index) = self.head()?;
        let seq = self.seq()?;
        Some(Envelope {
            id: head.id(index),
            seq,
            correlation: head.correlation(index),
            causation: head.causation(index),
            key: self.key(),
            at: head.at,
            attempt: self.attempt(),
            hops: head.hops,
        })
    }

    /// The event's place in the order.
    pub(super) fn seq(&self) -> Option<Seq> {
        match &self.hand {
            InHand::Nothing => None,
            InHand::Batch { batch, run, .. } => {
                Some(batch.seq(&batch.events.runs()[*run as usize], self.index))
            }
            InHand::Kept { seq, .. } => Some(*seq),
        }
    }

    /// Which delivery of the event this is, counted from 1.
    pub fn attempt(&self) -> u32 {
        self.failures + 1
    }

    pub(crate) fn key(&self) -> Option<Key> {
        match &self.hand {
            InHand::Nothing => None,
            InHand::Batch { batch, run, .. } => {
                let run = &batch.events.runs()[*run as usize];
                batch.events.column(run).key((run.start + self.index) as usize)
            }
            InHand::Kept { kept, .. } => kept.key.clone(),
        }
    }

    /// Publishes an event when the handler succeeds. Never waits: its room comes from the reserve
    /// of the subscriptions; if that is used up, the handler's whole outcome is refused and retried
    /// later.
    ///
    /// It inherits the correlation id; its causation is the event in hand.
    ///
    /// ```
    /// # use cueline::prelude::*;
    /// # use serde::{Deserialize, Serialize};
    /// # #[derive(Serialize, Deserialize)]
    /// # struct Cancelled { seats: u32 }
    /// # cueline::event!(Cancelled, "cancelled");
    /// # #[derive(Serialize, Deserialize)]
    /// # struct Stranded { people: u32 }
    /// # cueline::event!(Stranded, "stranded");
    /// struct Desk;
    /// impl Processor for Desk {}
    /// impl Handle<Cancelled> for Desk {
    ///     async fn handle(&mut self, event: &Cancelled, cx: &mut Context) -> Outcome {
    ///         cx.publish(Stranded { people: event.seats * 8 / 10 });
    ///         Ok(()) // with an `Err` here, nobody would ever hear of them
    ///     }
    /// }
    /// ```
    #[inline]
    pub fn publish<E: Event>(&mut self, event: E) {
        self.touched = self.touched.max(Touched::Outbox);
        self.trace_origin();
        if self.origin.hops > self.link.hop_limit {
            self.refuse(Ended::TooManyHops(self.link.hop_limit));
            return;
        }
        if let Err(failure) = self.link.publish(event, &self.origin) {
            self.refuse(Ended::Misused(failure));
        }
    }

    /// Publishes an event some time after the handler succeeded: a reminder, a deadline. Its room
    /// is asked for when its time has come; while there is none it waits. What is not yet due when
    /// the runtime stops comes back from [`Runtime::shutdown`](crate::Runtime::shutdown).
    pub fn publish_after<E: Event>(&mut self, wait: Duration, event: E) {
        self.touched = Touched::More;
        self.trace_origin();
        if self.origin.hops > self.link.hop_limit {
            self.refuse(Ended::TooManyHops(self.link.hop_limit));
            return;
        }
        match self.link.one_event(event, &self.origin) {
            Ok(events) => {
                let due = self.link.broker.clock.now().after(wait);
                self.delayed.push((due, events, E::NAME));
                if !self.link.has_room_for_delayed(self.delayed.iter().map(|(_, of, _)| of)) {
                    let most = self.link.subscription.settings.most_held;
                    self.refuse(Ended::TooManyDelayed(most));
                }
            }
            Err(failure) => self.refuse(Ended::Misused(failure)),
        }
    }

    /// Ends the processor in order, once the handler has succeeded: the event in hand is settled,
    /// what else is in hand is finished, the `stopping` hooks run. Whether it starts again is a
    /// matter of its [`restart`](crate::IntoChild::restart); its events wait.
    ///
    /// ```
    /// # use cueline::prelude::*;
    /// # use serde::{Deserialize, Serialize};
    /// # #[derive(Serialize, Deserialize)]
    /// # struct Line { text: String }
    /// # cueline::event!(Line, "line");
    /// struct Import;
    /// impl Processor for Import {}
    /// impl Handle<Line> for Import {
    ///     async fn handle(&mut self, line: &Line, cx: &mut Context) -> Outcome {
    ///         if line.text == "END" {
    ///             cx.stop(Reason::Normal);
    ///         }
    ///         Ok(())
    ///     }
    /// }
    /// let import = processor("import", || Import).on::<Line>().restart(Restart::Transient);
    /// ```
    pub fn stop(&mut self, reason: Reason) {
        self.touched = Touched::More;
        self.ends = Some(reason);
    }

    /// Says in [`started`](crate::Processor::started) that there is nothing to do, as a factory does
    /// with [`Start::Ignore`](crate::Start::Ignore): the processor is down, as if it had been
    /// stopped. Without effect elsewhere.
    pub fn ignore(&mut self) {
        self.ignores = true;
    }

    /// The handler succeeded. What it did is staged, unless something about it is refused.
    #[inline]
    pub(crate) fn refuses(&mut self) -> Option<Box<Ended>> {
        match self.touched {
            Touched::Nothing => None,
            Touched::Outbox if self.link.admit_publications().is_ok() => {
                self.touched = Touched::Nothing;
                None
            }
            _ => self.stage(),
        }
    }

    fn stage(&mut self) -> Option<Box<Ended>> {
        if let Some(refused) = self.refused.take() {
            return Some(Box::new(refused));
        }
        let does_more = !(self.states.is_empty() && self.delayed.is_empty());
        if std::mem::take(&mut self.takes_along) && (does_more || self.link.has_published()) {
            return Some(Box::new(Ended::Misused(Failure::permanent(
                "it took its acknowledgement along, and published or kept something by its context: \
                 that would happen again with each delivery; publish by the runtime when it is done",
            ))));
        }
        let mut stored = Vec::new();
        if self.link.broker.journal.is_some() {
            for (_, value) in &self.states {
                match value.encode() {
                    Ok(of) => stored.push(of),
                    Err(failure) => return Some(Box::new(Ended::Misused(failure))),
                }
            }
        }
        if let Err(ended) = self.link.admit_publications() {
            return Some(Box::new(ended));
        }
        self.touched = Touched::Nothing;
        let (states, delayed) = (&mut self.states, &mut self.delayed);
        if !(states.is_empty() && delayed.is_empty()) {
            let mut stored = stored.into_iter();
            let states = states.drain(..).map(|(name, value)| (name, value, stored.next()));
            self.link.stage(states, delayed.drain(..));
        }
        if let Some(answer) = self.answer.take() {
            self.link.stage_answer(answer);
        }
        if let Some(reason) = self.ends.take() {
            self.link.end(reason);
        }
        None
    }

    /// The handler did not succeed: what it did is dropped.
    pub(crate) fn forget(&mut self) {
        if std::mem::take(&mut self.touched) == Touched::Nothing {
            return;
        }
        (self.refused, self.ends, self.takes_along) = (None, None, false);
        let states = std::mem::take(&mut self.states);
        let delayed = std::mem::take(&mut self.delayed);
        let answer = self.answer.take();
        self.link.drop_publications();
        drop((states, delayed, answer));
    }
}
