//! From an event to its handler. A processor's message types are a list of types, `(On<B>,
//! (On<A>, ()))`; finding the handler walks the list once a run, not once an event, and the
//! handlers' futures live inside the driver's own: no box.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use super::context::Context;
use super::link::Link;
use super::outcome::Ended;
use super::{Handle, Processor};
use crate::error::Failure;
use crate::message::{Declared, Event, codec};
use crate::queue::Cursor;
use crate::queue::batch::Batch;

/// Which events of a type a subscription wants.
pub(crate) type Filter<E> = Box<dyn Fn(&E) -> bool + Send + Sync>;

/// One message type of a processor, with its filter.
pub struct On<E>(pub(crate) Option<Filter<E>>);

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
impl<P, E, Rest> HandlerList<P> for (On<E>, Rest)
where
    P: Handle<E>,
    E: Event,
    Rest: HandlerList<P>,
{
    const LENGTH: u16 = Rest::LENGTH + 1;

    fn declare(&self, into: &mut Vec<Declared>) {
        self.1.declare(into);
        into.push(Declared::of::<E>());
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
        let Stretch { batch, run, from, to, asked, budget, tick, .. } = stretch;
        let Some(events) = batch.events.typed::<E>(&batch.events.runs()[run as usize]) else {
            return Ran::Through;
        };
        let link = cx.link.clone();
        for index in from..to {
            if !(asked || link.clear.get()) {
                return Ran::Ask(index);
            }
            cx.index = index;
            let event = &events[index as usize];
            let ended = attempt(processor, event, self.0.0.as_ref(), cx, &link).await;
            if let Some(ended) = ended.or_else(|| cx.refuses()) {
                return Ran::Ended(index, ended);
            }
            link.reached(Cursor { run, index: index + 1 });
            *budget -= 1;
            if *budget == 0 || link.broker.clock.tick() > tick + 1 {
                return Ran::Yield(index + 1);
            }
        }
        Ran::Through
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
        let event: E = match codec::decode(bytes) {
            Ok(event) => event,
            Err(failure) => return Some(Box::new(Ended::Undecodable(failure))),
        };
        let link = cx.link.clone();
        let ended = attempt(processor, &event, self.0.0.as_ref(), cx, &link).await;
        ended.or_else(|| cx.refuses())
    }
}

/// Runs one handler to its end; none if it succeeded.
///
/// Nothing is caught here: the driver catches a panic around the whole stretch, and knows from the
/// context which event was in hand.
#[inline]
async fn attempt<P: Handle<E>, E: Event>(
    processor: &mut P,
    event: &E,
    filter: Option<&Filter<E>>,
    cx: &mut Context,
    link: &Link,
) -> Option<Box<Ended>> {
    let mut pending = false;
    let mut handler = pin!(async move {
        if let Some(filter) = filter
            && !filter(event)
        {
            cx.link.count_filtered();
            return Ok(());
        }
        processor.handle(event, cx).await
    });
    poll_fn(|task| match handler.as_mut().poll(task) {
        Poll::Ready(Ok(())) => Poll::Ready(None),
        Poll::Ready(Err(failure)) => Poll::Ready(Some(Box::new(Ended::Failed(failure)))),
        Poll::Pending => link.wait(&mut pending, task).map(|ended| Some(Box::new(ended))),
    })
    .await
}
