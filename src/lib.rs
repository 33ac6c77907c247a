//! cueline

#![deny(missing_docs)]

pub(crate) mod broker;
mod clock;
#[cfg(feature = "console")]
mod console;
mod error;
mod guard;
mod message;
mod metrics;
pub mod prelude;
mod processor;
mod queue;
mod runtime;
mod signal;
mod store;
mod supervise;

pub use broker::publish::{Publish, PublishAll};
pub use broker::topics::TopicReport;
pub use clock::{Timestamp, hours, millis, secs};
pub use error::{Error, ErrorKind, Failure, FailureExt, Outcome, Refused};
pub use message::{Envelope, Event, EventId, Key, Message, Seq};
pub use metrics::{CATALOG, Kind, Metric};
pub use processor::dispatch::On;
pub use processor::outcome::Retry;
pub use processor::recipient::{Delivered, Forward, recipient};
pub use processor::spec::{ProcessorSpec, processor};
pub use processor::{Context, Handle, Processor};
pub use queue::backoff::Backoff;
pub use queue::report::ParkedEvent;
pub use queue::state::OnPark;
pub use queue::{Unsettled, WhenFull};
pub use runtime::{Idle, ProcessorReport, Runtime, RuntimeBuilder, Shutdown, Undone};
pub use signal::{Cause, DropReason, Observer, ProcessorName, RestartCause, Sample, Signal};
pub use store::Store;
pub use store::memory::KeptState;
pub use supervise::{IntoChild, Supervisor};
