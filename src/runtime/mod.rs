//! The whole: a [`builder`] that says what there is, [`wiring`] that checks it and puts it on
//! threads, the [`handle`] an application holds, and [`shutdown`].

pub(crate) mod builder;
pub(crate) mod control;
pub(crate) mod core;
pub(crate) mod handle;
pub(crate) mod shutdown;
mod watch;
pub(crate) mod wiring;

pub use builder::RuntimeBuilder;
pub use handle::{Idle, Runtime};
pub use shutdown::{Shutdown, Undone};
pub use watch::ProcessorReport;
