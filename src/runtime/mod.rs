//! The whole: a [`builder`] that says what there is, [`wiring`] that checks it and puts it on
//! threads, the [`handle`] an application holds, and [`shutdown`]. The [`control`] thread carries the tree
//! of supervisors; [`leaves`] are its processors, on their [`threads`]; [`supervisors`] is what an
//! application asks of it.

mod asked;
mod asking;
pub(crate) mod builder;
pub(crate) mod control;
pub(crate) mod core;
mod damage;
mod first;
pub(crate) mod handle;
mod keeping;
mod leaves;
mod parked;
mod plan;
mod pools;
pub(crate) mod shutdown;
mod storage;
mod subscriptions;
mod supervisors;
mod table;
mod threads;
mod tree;
mod watch;
pub(crate) mod wiring;
mod workflows;

pub use asked::{Asked, Watching};
pub use builder::RuntimeBuilder;
pub use handle::{Idle, Runtime};
pub use pools::{PoolChild, PoolHandle};
pub use shutdown::{Shutdown, Undone};
pub use subscriptions::SubscriptionReport;
pub use supervisors::SupervisorHandle;
pub use watch::ProcessorReport;
pub use workflows::WorkflowHandle;
