//! Erlang/OTP's own supervisor cases, each a test of its name: what a user of OTP knows holds here.
//!
//! Without back-off and with every failure counted, which is how OTP does it ([`support::otp`]);
//! where we deliberately do better, a second test named `better_…` says how. `multiple_restarts`,
//! which takes an hour, and the cases of scale, which count steps, are tests of the pure tree in
//! `src/supervise/tree/otp.rs`. Cases that Rust's types refuse are `compile_fail` examples of those
//! names in `src/supervise/refused.rs`.
//!
//! Without any counterpart:
//!
//! * `sup_start_ignore_init`: a supervisor is a value, and no code that could say "ignore"; whoever
//!   has no use for one does not declare it.
//! * `extra_return`: a child's start answers nothing; what it has to say it publishes.
//! * `child_unlink`: nothing that a child does takes it out of its supervisor's sight.
//! * the first half of `do_not_save_start_parameters_…` and `…_child_specs_for_temporary_children`
//!   measures Erlang's process heap; the second half is `otp_child_specs_of_temporary_children`.

#![allow(missing_docs, clippy::unwrap_used, clippy::missing_panics_doc)]

mod administration;
mod counts;
mod ends;
mod loops;
mod pools;
mod significant;
mod starts;
mod stops;
mod strategies;
mod support;
mod trees;
