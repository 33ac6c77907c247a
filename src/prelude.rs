//! Everything a processor needs: `use cueline::prelude::*;`. It can stand beside
//! `actix::prelude::*`; where both have a name (`Message`, `Context`, `Supervisor`), name the one
//! you mean, as in `use cueline::Context;`.

pub use crate::{
    AutoShutdown, Backoff, Context, Count, Delivered, Done, Envelope, Error, Event, EventId,
    Failure, FailureExt, Handle, Intensity, IntoChild, Key, Mediator, Message, OnExit, OnPark,
    Outcome, Pool, Processor, Reason, Refused, Restart, Retry, Runtime, Steps, Store, Strategy,
    Supervisor, Timestamp, WhenFull, Winner, Workflow, command, event, hours, millis, processor,
    processor_with, secs,
};
