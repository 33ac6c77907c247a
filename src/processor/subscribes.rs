//! What a processor handles, as it is declared.

use std::cell::RefCell;
use std::marker::PhantomData;
use std::rc::Rc;
use std::time::Duration;

use super::dispatch::{HandlerList, On, Serves};
use super::spec::{Alone, ProcessorSpec};
use super::{Handle, Processor};
use crate::guard::Quiet;
use crate::message::id::IdSource;
use crate::message::{Event, Message};
use crate::queue::backoff::Retry;
use crate::supervise::child::Seat;

impl<P: Processor> ProcessorSpec<P, ()> {
    /// All its messages are handled by that.
    pub(crate) fn handled_by<L: HandlerList<P>>(self, handlers: L) -> ProcessorSpec<P, L> {
        self.with_handlers(|()| handlers)
    }
}

impl<P: Processor, L: HandlerList<P>> ProcessorSpec<P, L> {
    /// Runs that on each of its threads beside the handlers, as long as its host does.
    pub(crate) fn beside(
        mut self,
        run: impl Fn(Rc<Seat>, Rc<RefCell<IdSource>>, (Duration, Retry)) -> Alone
        + Send
        + Sync
        + 'static,
    ) -> Self {
        self.beside = Some(Box::new(run));
        self
    }

    /// Subscribes to an event type. All types of one processor share one place in the order.
    pub fn on<E: Event>(self) -> ProcessorSpec<P, (On<E>, L)>
    where
        P: Handle<E>,
    {
        self.with(On(None))
    }

    /// Subscribes to those events of a type for which `filter` says yes. Events left out count as
    /// handled. The filter runs on the processor's thread.
    pub fn on_if<E: Event>(
        self,
        filter: impl Fn(&E) -> bool + Send + Sync + 'static,
    ) -> ProcessorSpec<P, (On<E>, L)>
    where
        P: Handle<E>,
    {
        self.with(On(Some(Quiet::new(Box::new(filter)))))
    }

    /// Handles the commands of a type, and answers each: what the handler returns goes to whoever asked
    /// ([`Runtime::request`](crate::Runtime::request)), together with all else that it commits. Of a runtime
    /// only one processor serves a command; its instances compete.
    ///
    /// A command that fails is delivered again as an event is. When its attempts are used up and somebody
    /// still waits for the answer, that one is told the failure, and the command leaves; else it is parked.
    ///
    /// ```
    /// # use cueline::prelude::*;
    /// # use serde::{Deserialize, Serialize};
    /// # #[derive(Serialize, Deserialize)]
    /// # struct FindSeats { flight: u32 }
    /// # cueline::command!(FindSeats, "find.seats" => u32);
    /// struct Seats;
    /// impl Processor for Seats {}
    /// impl Handle<FindSeats> for Seats {
    ///     async fn handle(&mut self, find: &FindSeats, _: &mut Context) -> Outcome<u32> {
    ///         Ok(find.flight % 7)
    ///     }
    /// }
    /// # fn main() -> Result<(), Error> {
    /// let seats = processor("seats", || Seats).serves::<FindSeats>();
    /// let runtime = Runtime::builder("airline").supervise(Supervisor::new("desk").child(seats)).start()?;
    /// assert_eq!(runtime.request(FindSeats { flight: 9 }).wait()?, 2);
    /// # runtime.shutdown(secs(1)).wait()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn serves<C: Message>(self) -> ProcessorSpec<P, (Serves<C>, L)>
    where
        P: Handle<C>,
    {
        self.with(Serves(PhantomData))
    }

    fn with<T>(self, takes: T) -> ProcessorSpec<P, (T, L)> {
        self.with_handlers(|handlers| (takes, handlers))
    }

    fn with_handlers<M>(self, make: impl FnOnce(L) -> M) -> ProcessorSpec<P, M> {
        ProcessorSpec {
            name: self.name,
            factory: self.factory,
            argument: self.argument,
            own: self.own,
            handlers: make(self.handlers),
            retry: self.retry,
            timeout: self.timeout,
            ticks: self.ticks,
            emits: self.emits,
            settings: self.settings,
            blocking: self.blocking,
            count: self.count,
            beside: self.beside,
            options: self.options,
        }
    }
}
