//! Everything a processor needs: `use cueline::prelude::*;`. It can stand beside
//! `actix::prelude::*`; where both have a name (`Message`, `Context`, `Supervisor`), name the one
//! you mean, as in `use cueline::Context;`.

pub use crate::{
    Backoff, Context, Delivered, Envelope, Error, Event, EventId, Failure, FailureExt, Handle, Key,
    Message, OnPark, Outcome, Processor, Refused, Retry, Runtime, Store, Supervisor, WhenFull,
    event, hours, millis, processor, secs,
};
