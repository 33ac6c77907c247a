//! Supervision: who restarts what, and how patiently. [`policy`] decides, as plain values; the
//! [`Supervisor`] is an actor on the control thread, where no user code runs, and carries the
//! decision out; [`child`] is what it needs to know of a processor.

pub(crate) mod child;
pub(crate) mod policy;
mod supervisor;

pub(crate) use supervisor::{ChildFailed, SupervisorActor, into_child};
pub use supervisor::{IntoChild, Supervisor};
