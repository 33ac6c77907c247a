//! Metrics: the [`catalog`] names every one of them once; the [`recorder`] observes the runtime's
//! signals and counts. Counts are exact and added once a batch; durations are sampled.

pub(crate) mod catalog;
mod causes;
mod command;
mod log;
mod processor;
mod recorder;
mod workflow;

pub use catalog::{CATALOG, Kind, Metric};
pub(crate) use log::LogGauges;
pub(crate) use processor::Gauges;
pub(crate) use recorder::Recorder;
pub(crate) use workflow::MediatorGauges;
