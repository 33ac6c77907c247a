//! What a processor handles, as it is declared.

use std::marker::PhantomData;

use super::dispatch::{HandlerList, On, Serves};
use super::spec::ProcessorSpec;
use super::{Handle, Processor};
use crate::guard::Quiet;
use crate::message::{Event, Message};

impl<P: Processor, L: HandlerList<P>> ProcessorSpec<P, L> {
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
        ProcessorSpec {
            name: self.name,
            factory: self.factory,
            argument: self.argument,
            own: self.own,
            handlers: (takes, self.handlers),
            retry: self.retry,
            timeout: self.timeout,
            ticks: self.ticks,
            emits: self.emits,
            settings: self.settings,
            blocking: self.blocking,
            count: self.count,
            options: self.options,
        }
    }
}
