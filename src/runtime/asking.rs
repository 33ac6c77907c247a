//! Request-reply, as the application asks.

use super::handle::Runtime;
use crate::message::Message;
use crate::request::{Gather, Request, RequestsReport};

impl Runtime {
    /// Sends a command to the one processor that handles it ([`serves`](crate::ProcessorSpec::serves)), and
    /// resolves with its reply: when the handler's outcome is committed, and with a log when that is on disk.
    /// On a plain thread: `runtime.request(command).wait()`. From any number of threads and tasks at once;
    /// replies find whoever asked by the command's id.
    ///
    /// A command is kept as an event is: with a log it is handled, once, even if the process dies meanwhile;
    /// then nobody waits for the reply any more.
    ///
    /// # Errors
    ///
    /// By its kind: [`NoHandler`](crate::ErrorKind::NoHandler) if nobody handles the command;
    /// [`TimedOut`](crate::ErrorKind::TimedOut) if there was no reply in time, which says nothing of what
    /// became of it; [`Failed`](crate::ErrorKind::Failed) if its handler failed for good, with what it said
    /// ([`Error::failure`](crate::Error::failure)); [`Closed`](crate::ErrorKind::Closed),
    /// [`NoSpace`](crate::ErrorKind::NoSpace), [`Storage`](crate::ErrorKind::Storage) as for events;
    /// [`InsideHandler`](crate::ErrorKind::InsideHandler) if a handler calls this instead of
    /// [`Context::request`](crate::Context::request).
    pub fn request<C: Message>(&self, command: C) -> Request<C> {
        Request::new(self.core.requests.clone(), command)
    }

    /// Sends several commands of one type at once, and resolves with what became of each, in their order:
    /// all of them within one timeout. For several types, await their requests together
    /// (`futures::join!`).
    ///
    /// ```
    /// # use cueline::prelude::*;
    /// # use serde::{Deserialize, Serialize};
    /// # #[derive(Serialize, Deserialize)]
    /// # struct Quote { supplier: u32 }
    /// # cueline::command!(Quote, "quote" => u32);
    /// # struct Desk;
    /// # impl Processor for Desk {}
    /// # impl Handle<Quote> for Desk {
    /// #     async fn handle(&mut self, quote: &Quote, _: &mut Context) -> Outcome<u32> {
    /// #         Ok(100 - quote.supplier)
    /// #     }
    /// # }
    /// # fn main() -> Result<(), Error> {
    /// # let desk = processor("desk", || Desk).serves::<Quote>();
    /// # let runtime = Runtime::builder("shop").supervise(Supervisor::new("all").child(desk)).start()?;
    /// let asked = (1..=3).map(|supplier| Quote { supplier });
    /// let quotes = runtime.request_all(asked).timeout(secs(2)).wait();
    /// assert_eq!(quotes.into_iter().flatten().min(), Some(97));
    /// # runtime.shutdown(secs(1)).wait()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn request_all<C: Message>(&self, commands: impl IntoIterator<Item = C>) -> Gather<C> {
        Gather::new(commands.into_iter().map(|command| self.request(command)).collect())
    }

    /// The requests that are under way, of the application and of handlers.
    pub fn requests(&self) -> RequestsReport {
        self.core.requests.report()
    }
}
