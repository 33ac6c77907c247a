//! An embeddable, actor-model event runtime. An application writes event processors as plain async
//! Rust; the runtime gives them one order, supervision, retries and parking with order kept,
//! bounds, and metrics. It starts its own threads, and there is no server to install.
//!
//! ```
//! use cueline::prelude::*;
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Serialize, Deserialize)]
//! struct DoorOpened {
//!     door: u32,
//! }
//! cueline::event!(DoorOpened, "door.opened", key: |event| event.door);
//!
//! struct Counter;
//! impl Processor for Counter {}
//! impl Handle<DoorOpened> for Counter {
//!     async fn handle(&mut self, event: &DoorOpened, cx: &mut Context) -> Outcome {
//!         *cx.state::<u64>(event.door)? += 1; // kept with the acknowledgement, or not at all
//!         Ok(())
//!     }
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let house = Supervisor::new("house").child(processor("counter", || Counter).on::<DoorOpened>());
//! let runtime = Runtime::builder("example").supervise(house).start()?;
//! runtime.publish(DoorOpened { door: 7 }).wait()?;
//! runtime.idle().wait();
//! assert_eq!(runtime.state::<u64>("counter", 7), Some(1));
//! runtime.shutdown(secs(1)).wait()?;
//! # Ok(())
//! # }
//! ```
//!
//! # The flow of an event
//!
//! ```text
//! publish ─> broker/door ─> intake ─> sequencer ─> lane ─> queue ─> processor/executor ─> your handler
//!            Ack: done      Retry: back-off, again      Park: a person resubmits or discards
//! ```
//!
//! [`Runtime::publish`] is admitted at the door while every blocking subscription of its topic has
//! room, gets its id and lies in the intake. The broker gives it its place and hands the whole
//! batch once to each thread that has subscriptions. A driver there runs the handler in place; what
//! the handler publishes and keeps leaves together with the acknowledgement. What becomes of a
//! failed event is decided by one pure state machine per subscription.
//!
//! # The flow of a workflow
//!
//! ```text
//! initiating event ─> the mediator's queue ─> the workflow's code, told one thing after the other ─> effects
//!            ─> one commit (history + commands) ─> processor ─> reply ─> the mediator's inbox ─> … ─> the end
//! ```
//!
//! A [`Workflow`] is an `async fn` over [`Steps`]; a [`Mediator`] owns those of one domain. What it has done is
//! kept with the commands that it sends, so that its code, run again from its beginning, goes on where it was.
//!
//! # The flow of a failure
//!
//! ```text
//! panic, timeout, failed start ─> executor ─> the event is charged; the child perhaps ─> policy ─> tree
//!                                 rebuild, after a back-off      or      give up: the supervisor above
//! ```
//!
//! Supervisors form a tree ([`Supervisor`], [`Pool`]); each decides as a pure state machine, and an
//! actor on a thread without user code carries the decisions out. A thread that a handler blocks is
//! given up, and its processors go on elsewhere. [`Runtime::tree`] shows all of it.

#![deny(missing_docs)]

/// What the README shows compiles and runs.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;

pub(crate) mod broker;
mod clock;
#[cfg(feature = "console")]
mod console;
mod error;
mod guard;
mod inflight;
mod mediator;
mod message;
mod metrics;
pub mod prelude;
mod processor;
mod pulse;
mod queue;
mod request;
mod runtime;
mod signal;
mod slice;
mod store;
mod supervise;
#[cfg(any(test, feature = "testkit"))]
pub mod testkit;
#[cfg(feature = "tools")]
#[doc(hidden)]
pub mod tools;
mod workflow;

pub use broker::publish::Publish;
pub use broker::publish_all::PublishAll;
pub use broker::publish_batch::{Batch, PublishBatch};
pub use broker::topics::TopicReport;
pub use clock::{Timestamp, hours, millis, secs};
pub use error::{Error, ErrorKind, Failure, FailureExt, Outcome, Refused};
pub use guard::redact_panics;
pub use mediator::Mediator;
pub use mediator::report::{Task, WaitingStep, WorkflowReport};
pub use message::{Done, Envelope, Event, EventId, Key, Message, Payload, Seq};
pub use metrics::{CATALOG, Kind, Metric};
pub use processor::acknowledgement::Acknowledgement;
pub use processor::actor::{ActorSpec, actor, actor_with};
pub use processor::dispatch::{On, Serves};
pub use processor::recipient::{Delivered, Forward, recipient};
pub use processor::spec::{ProcessorSpec, processor, processor_with};
pub use processor::start::{IntoStart, Start};
pub use processor::{Context, Handle, Processor};
pub use queue::backoff::{Backoff, Retry};
pub use queue::report::ParkedEvent;
pub use queue::state::OnPark;
pub use queue::{Acknowledge, StartFrom, Unsettled, WhenFull};
pub use request::{Gather, Request, RequestsReport};
pub use runtime::{
    Asked, Idle, PoolChild, PoolHandle, ProcessorReport, Runtime, RuntimeBuilder, Shutdown,
    SubscriptionReport, SupervisorHandle, Undone, Watching, WorkflowHandle,
};
pub use signal::{
    Cause, DropReason, During, Hook, Missed, Observer, ProcessorName, RequestOutcome, RestartCause,
    Sample, Signal, WorkflowOutcome, WorkflowState,
};
pub use store::channel::{AtLimit, Channel, Durability, Retention};
pub use store::memory::KeptState;
pub use store::{Directory, Store};
pub use supervise::{
    AutoShutdown, ChildCounts, ChildKind, ChildReport, ChildState, Count, Intensity, IntoChild,
    OnExit, Pool, Reason, Restart, Strategy, Supervisor,
};
pub use workflow::{Call, Expects, History, OrAfter, Step, Steps, Winner, Workflow, WorkflowId};
