//! Plain actix actors as processors: each event is sent to a `Recipient`, and settled when the
//! `send` resolves.

use std::ops::Deref;
use std::sync::Arc;

use actix::Recipient;

use super::context::{Context, InHand};
use super::dispatch::On;
use super::spec::{ProcessorSpec, processor};
use super::{Handle, Processor};
use crate::error::{Failure, Outcome};
use crate::message::{Envelope, Event, Message, codec};
use crate::queue::Cursor;
use crate::queue::batch::Batch;
use crate::queue::kept::{Body, Kept};

enum Source<E> {
    Batch(Arc<Batch>, Cursor),
    Own(Box<E>),
}

/// An event on its way to a plain actix actor. Reads as the event itself.
///
/// The actor answers with an [`Outcome`]: `Ok` settles the event, a failure is retried or parked as
/// if a processor had returned it.
pub struct Delivered<E: Message> {
    source: Source<E>,
    envelope: Envelope,
}

impl<E: Message> Delivered<E> {
    pub(crate) fn in_batch(batch: Arc<Batch>, at: Cursor, envelope: Envelope) -> Option<Self> {
        let run = batch.events.runs().get(at.run as usize)?;
        batch.events.typed::<E>(run)?.get(at.index as usize)?;
        Some(Self { source: Source::Batch(batch, at), envelope })
    }

    /// What the runtime knows about the event.
    pub fn envelope(&self) -> &Envelope {
        &self.envelope
    }
}

impl<E: Message> Deref for Delivered<E> {
    type Target = E;

    fn deref(&self) -> &E {
        match &self.source {
            Source::Own(event) => event,
            Source::Batch(batch, at) => {
                let run = &batch.events.runs()[at.run as usize];
                let events = batch.events.typed::<E>(run).unwrap_or_default();
                &events[at.index as usize]
            }
        }
    }
}

impl<E: Message> actix::Message for Delivered<E> {
    type Result = Outcome;
}

/// A processor that sends each event on to an actor; made by [`recipient`].
pub struct Forward<E: Event> {
    recipient: Recipient<Delivered<E>>,
}

/// Declares a processor that is a plain actix actor: each event is sent to it as [`Delivered`], and
/// settled when the `send` resolves.
///
/// ```
/// use actix::prelude::*;
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Serialize, Deserialize)]
/// # struct DoorOpened { door: u32 }
/// # cueline::event!(DoorOpened, "door.opened");
/// use cueline::{Delivered, Outcome};
///
/// struct Bell;
/// impl Actor for Bell {
///     type Context = actix::Context<Self>;
/// }
/// impl Handler<Delivered<DoorOpened>> for Bell {
///     type Result = Outcome;
///     fn handle(&mut self, event: Delivered<DoorOpened>, _: &mut Self::Context) -> Outcome {
///         println!("door {}", event.door);
///         Ok(())
///     }
/// }
/// fn declare(bell: Addr<Bell>) -> impl cueline::IntoChild {
///     cueline::recipient("bell", bell.recipient())
/// }
/// ```
pub fn recipient<E: Event>(
    name: impl AsRef<str>,
    recipient: Recipient<Delivered<E>>,
) -> ProcessorSpec<Forward<E>, (On<E>, ())> {
    processor(name, move || Forward { recipient: recipient.clone() }).on::<E>()
}

impl<E: Event> Processor for Forward<E> {}

impl<E: Event> Handle<E> for Forward<E> {
    async fn handle(&mut self, _: &E, cx: &mut Context) -> Outcome {
        let sent = match cx.delivered::<E>() {
            Some(delivered) => self.recipient.send(delivered).await,
            None => {
                let (InHand::Kept { kept, .. }, Some(envelope)) = (&cx.hand, cx.envelope()) else {
                    return Err(Failure::permanent("there is no event in hand"));
                };
                let Body::Bytes(bytes) = &kept.body else {
                    return Err(Failure::permanent("the event in hand has no bytes"));
                };
                let source = Source::Own(Box::new(codec::decode(bytes)?));
                self.recipient.send(Delivered { source, envelope }).await
            }
        };
        sent.map_err(|error| Failure::transient(format!("the actor did not answer: {error}")))?
    }
}

impl Context {
    /// The event in hand as a value that can be sent on.
    pub(crate) fn delivered<E: Message>(&self) -> Option<Delivered<E>> {
        let envelope = self.envelope()?;
        let (batch, at) = match &self.hand {
            InHand::Batch { batch, run, .. } => (batch, Cursor { run: *run, index: self.index }),
            InHand::Kept {
                kept: Kept { body: Body::Pinned { batch, run, index }, .. }, ..
            } => (batch, Cursor { run: *run, index: *index }),
            _ => return None,
        };
        Delivered::in_batch(batch.clone(), at, envelope)
    }
}
