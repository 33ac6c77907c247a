//! Supervision: who restarts whom, and how patiently. A [`Supervisor`] is declared by the application
//! ([`options`] are its words). [`policy`] decides for one supervisor and [`tree`] for all of them,
//! as plain values; the [`actor`] lives on the control thread, where no user code runs, and
//! carries the decisions out. [`child`] is what passes between a supervisor and a host.

pub(crate) mod actor;
pub(crate) mod child;
pub(crate) mod ledger;
pub(crate) mod options;
pub(crate) mod policy;
#[cfg(doctest)]
pub mod refused;
pub(crate) mod registry;
mod supervisor;
pub(crate) mod tree;

pub use options::{AutoShutdown, Count, Intensity, OnExit, Reason, Restart, Strategy};
pub(crate) use supervisor::{DeclaredChild, into_child};
pub use supervisor::{IntoChild, Pool, Supervisor};
pub use tree::{ChildCounts, ChildKind, ChildReport, ChildState};
