//! What a workflow owes if it does not come to its end: to make up for what its steps did, or perhaps did.
//! Pure.

use crate::error::Outcome;
use crate::message::{EventId, Message, codec};
use crate::queue::loose::{Loose, loose};

/// What is known of a step that something is owed for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Known {
    /// Its command was sent: perhaps it was done.
    Unknown,
    /// It was done, and that was the reply.
    Done(Vec<u8>),
}

type Make = Box<dyn FnOnce(EventId, Option<&[u8]>) -> Outcome<Box<dyn Loose>>>;

/// What makes up for one step.
pub(crate) struct Owed {
    pub(crate) step: u32,
    pub(crate) known: Known,
    /// Nobody waits for the step any more: it is made up for in any case.
    pub(crate) abandoned: bool,
    make: Option<Make>,
}

impl Owed {
    pub(crate) fn new<C: Message, U: Message>(
        step: u32,
        make: impl FnOnce(EventId, Option<&C::Reply>) -> U + 'static,
    ) -> Self {
        let make = move |id: EventId, reply: Option<&[u8]>| {
            let reply: Option<C::Reply> = reply.map(codec::decode).transpose()?;
            loose(make(id, reply.as_ref()))
        };
        Self { step, known: Known::Unknown, abandoned: false, make: Some(Box::new(make)) }
    }

    pub(crate) fn is_done(&mut self, reply: &[u8]) {
        self.known = Known::Done(reply.to_vec());
    }

    /// The command that makes up for what that one did. User code.
    pub(crate) fn into_command(mut self, id: EventId) -> Option<Outcome<Box<dyn Loose>>> {
        let reply = match &self.known {
            Known::Unknown => None,
            Known::Done(reply) => Some(&**reply),
        };
        self.make.take().map(|make| make(id, reply))
    }
}
