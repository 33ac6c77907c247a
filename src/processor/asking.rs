//! What a handler may ask others, and what it answers.

use std::time::Duration;

use super::context::{Context, Touched};
use crate::error::Outcome;
use crate::message::{EventId, Message, codec};
use crate::request::answer::Answered;
use crate::request::ask::Inside;
use crate::request::waits::Asker;
use crate::request::{Request, host_of};

impl Context {
    /// Sends a command to the processor that handles it, and waits for its reply when it is awaited. It
    /// leaves at once: it is not undone if this handler fails, and sent again if the event is delivered
    /// again. It inherits the correlation id, and the deadline of whoever waits for this handler.
    ///
    /// The future does not borrow the context, so several can be awaited together.
    ///
    /// # Errors
    ///
    /// As [`Runtime::request`](crate::Runtime::request), and
    /// [`ErrorKind::WaitsForItself`](crate::ErrorKind::WaitsForItself) if whoever would answer waits for this
    /// very handler, directly or by way of others.
    ///
    /// ```
    /// # use cueline::prelude::*;
    /// # use serde::{Deserialize, Serialize};
    /// # #[derive(Serialize, Deserialize)]
    /// # struct Cancelled { flight: u32 }
    /// # cueline::event!(Cancelled, "cancelled");
    /// # #[derive(Serialize, Deserialize)]
    /// # struct FindSeats { flight: u32 }
    /// # cueline::command!(FindSeats, "find.seats" => u32);
    /// struct Desk;
    /// impl Processor for Desk {}
    /// impl Handle<Cancelled> for Desk {
    ///     async fn handle(&mut self, event: &Cancelled, cx: &mut Context) -> Outcome {
    ///         let seats = cx.request(FindSeats { flight: event.flight }).timeout(secs(2)).await?;
    ///         println!("{seats} seats on other flights");
    ///         Ok(())
    ///     }
    /// }
    /// ```
    pub fn request<C: Message>(&mut self, command: C) -> Request<C> {
        let request = Request::new(self.link.requests.clone(), command);
        // In a hook there is no event, and nobody waits for it.
        let (origin, event) = match self.head() {
            Some((head, index)) => (head.origin_of_children(index), head.id(index)),
            None => (self.origin, EventId(0)),
        };
        let (fence, name) = (self.link.fence.clone(), &self.link.subscription.name);
        let (host, key) = (host_of(&fence), self.key());
        let asker = Asker { number: name.index, name: name.name.clone(), event, key, host };
        let (may_block, hop_limit) = (self.link.own_thread, self.link.hop_limit);
        request.on_behalf_of(Inside { asker, fence, may_block, hop_limit }, origin)
    }

    /// How long whoever sent the command in hand still waits for its answer: none if nobody does, as with an
    /// event, or a command whose requester has gone. What takes longer is not worth beginning.
    pub fn time_left(&self) -> Option<Duration> {
        let (head, index) = self.head()?;
        let until = self.link.requests.deadline_of(head.id(index))?;
        Some(until.since(self.link.broker.clock.now()))
    }

    /// The handler has succeeded with that: whoever asked is told when it is committed.
    pub(super) fn answers<C: Message>(&mut self, reply: C::Reply) -> Outcome {
        let Some((head, index)) = self.head() else { return Ok(()) };
        let (requests, command) = (self.link.requests.clone(), head.id(index));
        self.touched = Touched::More;
        if let Some(answer) = requests.step_answer(command, |into| codec::encode_into(into, &reply))
        {
            self.answer = Some(answer?);
            return Ok(());
        }
        requests.handled(command);
        self.link.is_awaited();
        self.answer = Some(Box::new(Answered::<C>::new(requests, command, reply)));
        Ok(())
    }
}
