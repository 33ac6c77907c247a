//! The persistent log. Everything durable is a record in it, one commit is one checksummed frame,
//! and the state of a runtime is what its records add up to.
//!
//! From the bytes up: [`bytes`], [`layout`] (heads of segments and frames), [`record`] (what a frame
//! holds), [`scan`] (what is in a segment).

pub(crate) mod bytes;
pub(crate) mod checkpoint;
#[cfg(test)]
mod checkpoints;
mod compact;
#[cfg(test)]
mod compactions;
#[cfg(test)]
pub(crate) mod crash;
#[cfg(test)]
mod crashes;
#[cfg(test)]
mod damages;
pub(crate) mod disk;
pub(crate) mod events;
pub(crate) mod facts;
#[cfg(test)]
mod failures;
mod fresh;
pub(crate) mod keeper;
pub(crate) mod layout;
pub(crate) mod lock;
pub(crate) mod log;
pub(crate) mod needed;
pub(crate) mod reader;
#[cfg(test)]
mod readings;
pub(crate) mod record;
pub(crate) mod recovery;
pub(crate) mod retained;
pub(crate) mod scan;
pub(crate) mod segment;
pub(crate) mod spares;
pub(crate) mod tidy;
pub(crate) mod workflows;
mod worth;
pub(crate) mod writer;
