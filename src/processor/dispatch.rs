//! From an event to its handler. A processor's message types are a list of types, `(On<B>,
//! (On<A>, ()))`; finding the handler walks the list once a run, not once an event, and the
//! handlers' futures live inside the driver's own: no box.

use std::future::poll_fn;
use std::marker::PhantomData;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;

use super::context::Context;
use super::link::Link;
use super::outcome::Ended;
use super::{Handle, Processor};
use crate::error::{Failure, Outcome};
use crate::guard::Quiet;
use crate::message::envelope::Head;
use crate::message::{Declared, Event, EventId, Message, Seq, codec};
use crate::queue::Cursor;
use crate::queue::batch::Batch;
use crate::signal::{During, Signals};

/// Which events of a type a subscription wants.
pub(crate) type Filter<E> = Quiet<Box<dyn Fn(&E) -> bool + Send + Sync>>;

/// One message type of a processor, with its filter; what [`on`](crate::ProcessorSpec::on) and
/// [`on_if`](crate::ProcessorSpec::on_if) add to a processor's type.
pub struct On<E>(pub(crate) Option<Filter<E>>);

/// One command type of a processor; what [`serves`](crate::ProcessorSpec::serves) adds to a processor's
/// type.
pub struct Serves<C>(pub(crate) PhantomData<fn(&C)>);

/// How a processor takes one message type of its list.
pub(crate) trait Takes<P>: Send + Sync + 'static {
    type Message: Message;

    fn declared(&self) -> Declared;

    fn wants(&self, message: &Self::Message) -> bool;

    fn handle(
        &self,
        processor: &mut P,
        message: &Self::Message,
        cx: &mut Context,
    ) -> impl Future<Output = Outcome>;
}

impl<P: Handle<E>, E: Event> Takes<P> for On<E> {
    type Message = E;

    fn declared(&self) -> Declared {
        Declared::of::<E>()
    }

    #[inline]
    fn wants(&self, event: &E) -> bool {
        self.0.as_ref().is_none_or(|filter| filter(event))
    }

    #[inline]
    fn handle(
        &self,
        processor: &mut P,
        event: &E,
        cx: &mut Context,
    ) -> impl Future<Output = Outcome> {
        processor.handle(event, cx)
    }
}

impl<P: Handle<C>, C: Message> Takes<P> for Serves<C> {
    type Message = C;

    fn declared(&self) -> Declared {
        Declared::served::<C>()
    }

    fn wants(&self, _: &C) -> bool {
        true
    }

    async fn handle(&self, processor: &mut P, command: &C, cx: &mut Context) -> Outcome {
        let reply = processor.handle(command, cx).await?;
        cx.answers::<C>(reply)
    }
}

/// A stretch of one run.
pub(crate) struct Stretch<'a> {
    pub(crate) batch: &'a Arc<Batch>,
    pub(crate) run: u32,
    pub(crate) from: u32,
    pub(crate) to: u32,
    /// First deliveries were asked for, or need not be.
    pub(crate) asked: bool,
    /// How often the first event of the stretch failed before.
    pub(crate) failures: u32,
    /// The head of the run, if it is not as the batch says: a person vouched for the event.
    pub(crate) head: Option<Head>,
    pub(crate) budget: &'a mut u32,
    pub(crate) tick: u64,
}

/// How far a driver came in a stretch.
pub(crate) enum Ran {
    Through,
    /// Others have their turn; go on at that index.
    Yield(u32),
    /// Exceptions have come up: ask about the event at that index first.
    Ask(u32),
    /// The event at that index did not succeed.
    Ended(u32, Box<Ended>),
}

/// The message types of a processor.
#[doc(hidden)]
#[allow(private_interfaces, private_bounds, async_fn_in_trait)]
pub trait HandlerList<P: Processor>: Send + Sync + 'static {
    const LENGTH: u16;

    fn declare(&self, into: &mut Vec<Declared>);

    async fn stretch(
        &self,
        which: u16,
        processor: &mut P,
        cx: &mut Context,
        stretch: Stretch<'_>,
    ) -> Ran;

    async fn kept(
        &self,
        which: u16,
        processor: &mut P,
        cx: &mut Context,
        bytes: &[u8],
    ) -> Option<Box<Ended>>;
}

#[allow(private_interfaces)]
impl<P: Processor> HandlerList<P> for () {
    const LENGTH: u16 = 0;

    fn declare(&self, _: &mut Vec<Declared>) {}

    async fn stretch(&self, _: u16, _: &mut P, _: &mut Context, _: Stretch<'_>) -> Ran {
        Ran::Through
    }

    async fn kept(&self, _: u16, _: &mut P, _: &mut Context, _: &[u8]) -> Option<Box<Ended>> {
        let gone = Failure::permanent("the processor no longer handles this type");
        Some(Box::new(Ended::Undecodable(gone)))
    }
}

#[allow(private_interfaces)]
impl<P, T, Rest> HandlerList<P> for (T, Rest)
where
    P: Processor,
    T: Takes<P>,
    Rest: HandlerList<P>,
{
    const LENGTH: u16 = Rest::LENGTH + 1;

    fn declare(&self, into: &mut Vec<Declared>) {
        self.1.declare(into);
        into.push(self.0.declared());
    }

    async fn stretch(
        &self,
        which: u16,
        processor: &mut P,
        cx: &mut Context,
        stretch: Stretch<'_>,
    ) -> Ran {
        if which != Rest::LENGTH {
            return self.1.stretch(which, processor, cx, stretch).await;
        }
        let Stretch { batch, run, from, mut to, asked, budget, tick, .. } = stretch;
        let link = cx.link.clone();
        let mut decoded = Decoded::none(&link.broker.signals);
        let mut undecodable = None;
        let (events, base) =
            match batch.events.typed::<T::Message>(&batch.events.runs()[run as usize]) {
                Some(events) => (events, 0),
                None => {
                    (to, undecodable) =
                        decoded.decode(batch, run, from, to.min(from + (*budget).max(1)));
                    (&*decoded.events, from)
                }
            };
        let mut before = link.broker.clock.tick();
        let first = batch.seq(&batch.events.runs()[run as usize], 0);
        for index in from..to {
            if !(asked || link.clear.get()) {
                return Ran::Ask(index);
            }
            cx.index = index;
            let seq = Seq(first.0 + u64::from(index));
            link.pulse.hold(seq);
            let event = &events[(index - base) as usize];
            if link.is_mine(event) && self.0.wants(event) {
                let traced = cx.begin_span();
                let ended = {
                    let handler = pin!(self.0.handle(processor, event, cx));
                    match traced {
                        false => drive(handler, &link, Some(seq)).await,
                        true => drive_in_span(handler, &link, Some(seq)).await,
                    }
                };
                before = cx.ended_at(before);
                if let Some(ended) = ended.or_else(|| cx.refuses()) {
                    return Ran::Ended(index, ended);
                }
            } else {
                link.count_filtered();
            }
            link.reached(Cursor { run, index: index + 1 });
            *budget -= 1;
            if *budget == 0 || before > tick + 1 || link.heavy.get() {
                return Ran::Yield(index + 1);
            }
        }
        match undecodable {
            Some(failure) => {
                cx.index = to;
                Ran::Ended(to, Box::new(Ended::Undecodable(failure)))
            }
            None => Ran::Through,
        }
    }

    async fn kept(
        &self,
        which: u16,
        processor: &mut P,
        cx: &mut Context,
        bytes: &[u8],
    ) -> Option<Box<Ended>> {
        if which != Rest::LENGTH {
            return self.1.kept(which, processor, cx, bytes).await;
        }
        let event: T::Message = match codec::decode(bytes) {
            Ok(event) => event,
            Err(failure) => return Some(Box::new(Ended::Undecodable(failure))),
        };
        let link = cx.link.clone();
        let seq = cx.seq();
        if let Some(seq) = seq {
            link.pulse.hold(seq);
        }
        let mut decoded = Decoded::none(&link.broker.signals);
        decoded.first = cx.head().map(|(head, index)| head.id(index));
        decoded.events.push(event);
        let event = decoded.events.first()?;
        if !(link.is_mine(event) && self.0.wants(event)) {
            link.count_filtered();
            return None;
        }
        let before = link.broker.clock.tick();
        cx.begin_span();
        let ended = {
            let handler = pin!(self.0.handle(processor, event, cx));
            drive_in_span(handler, &link, seq).await
        };
        cx.ended_at(before);
        // The handler has had its say; a panic here is not its failure.
        drop(decoded);
        ended.or_else(|| cx.refuses())
    }
}

/// Events of our own: their `Drop` may panic, even while a panic of their handler is under way.
struct Decoded<'a, E> {
    events: Vec<E>,
    first: Option<EventId>,
    signals: &'a Signals,
}

impl<'a, E: Message> Decoded<'a, E> {
    fn none(signals: &'a Signals) -> Self {
        Self { events: Vec::new(), first: None, signals }
    }

    /// Decodes events of a run that are there as the log has them. Up to which one, and why not further.
    #[cold]
    fn decode(&mut self, batch: &Batch, run: u32, from: u32, to: u32) -> (u32, Option<Failure>) {
        let run = &batch.events.runs()[run as usize];
        let Some((stored, start)) = batch.events.stored_column(run) else { return (from, None) };
        self.first = Some(run.head.id(from));
        self.events.reserve_exact((to - from) as usize);
        for index in from..to {
            match codec::decode(stored.payload((start + index) as usize)) {
                Ok(event) => self.events.push(event),
                Err(failure) => return (index, Some(failure)),
            }
        }
        (to, None)
    }
}

impl<E> Drop for Decoded<'_, E> {
    fn drop(&mut self) {
        if !std::mem::needs_drop::<E>() {
            return;
        }
        while let Some(event) = self.events.pop() {
            let id = self.first.map(|first| EventId(first.0 + self.events.len() as u128));
            self.signals.contain(During::EventDrop, id, move || drop(event));
        }
    }
}

/// Runs a handler or a hook to its end; none if it succeeded. When it goes pending, what was
/// settled before it is committed, and its time limit begins.
///
/// Nothing is caught here: the driver catches a panic around the whole stretch, and knows from the
/// context which event was in hand.
#[inline]
pub(super) fn drive<'a, F: Future<Output = Outcome>>(
    mut handler: Pin<&'a mut F>,
    link: &'a Link,
    seq: Option<Seq>,
) -> impl Future<Output = Option<Box<Ended>>> + use<'a, F> {
    let mut pending = false;
    poll_fn(move |task| {
        if pending && let Some(seq) = seq {
            link.pulse.hold(seq);
        }
        match handler.as_mut().poll(task) {
            Poll::Ready(Ok(())) => Poll::Ready(None),
            Poll::Ready(Err(failure)) => Poll::Ready(Some(Box::new(Ended::Failed(failure)))),
            Poll::Pending => link.wait(&mut pending, task).map(|ended| Some(Box::new(ended))),
        }
    })
}

/// As [`drive`], inside the span of the event.
#[cold]
async fn drive_in_span(
    mut handler: Pin<&mut dyn Future<Output = Outcome>>,
    link: &Link,
    seq: Option<Seq>,
) -> Option<Box<Ended>> {
    let handler = poll_fn(|task| {
        let _in_span = link.measured.enter();
        handler.as_mut().poll(task)
    });
    let ended = drive(pin!(handler), link, seq).await;
    link.measured.close_span();
    ended
}
