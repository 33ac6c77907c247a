//! The broker: it has no opinion, only an order. What is published lies in the [`intake`] until
//! the broker [`actor`] has it put in order: the [`sequencer`] gives it its place and hands each
//! batch once to every thread that has subscriptions ([`lane`]). Who may publish is decided at the [`door`], before anything has a
//! place; after that nothing waits. [`routes`] and [`topics`] know who wants and who says what.

pub(crate) mod actor;
mod channels;
pub(crate) mod command;
pub(crate) mod dedup;
pub(crate) mod door;
pub(crate) mod durability;
pub(crate) mod encoded;
pub(crate) mod handle;
pub(crate) mod holders;
pub(crate) mod intake;
pub(crate) mod journal;
pub(crate) mod journalist;
pub(crate) mod lane;
mod leases;
pub(crate) mod needs;
pub(crate) mod offer;
pub(crate) mod publish;
pub(crate) mod publish_all;
pub(crate) mod publish_batch;
pub(crate) mod reading;
pub(crate) mod rest;
pub(crate) mod routes;
pub(crate) mod sequencer;
mod together;
pub(crate) mod topics;
mod turn_of_the_log;
