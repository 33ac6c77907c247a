//! Cases of OTP's supervisor that Rust's types refuse: none of these examples compiles.
#![cfg(doctest)]

/// `sup_flags`: there is no such strategy.
/// ```compile_fail
/// # use cueline::prelude::*;
/// Supervisor::new("sup").strategy("one_for_noone");
/// ```
/// An intensity of no number, and one without an end.
/// ```compile_fail
/// # use cueline::prelude::*;
/// Intensity::within(f64::INFINITY, secs(1));
/// ```
/// ```compile_fail
/// # use cueline::prelude::*;
/// Intensity::within(1, "infinity");
/// ```
pub fn otp_sup_flags() {}

/// `child_specs`: a misspelt restart type.
/// ```compile_fail
/// # use cueline::prelude::*;
/// Supervisor::new("sup").restart(Restart::Prmanent);
/// ```
/// A negative timeout.
/// ```compile_fail
/// # use cueline::prelude::*;
/// Supervisor::new("sup").stop_within(secs(-10));
/// ```
/// A child that is none.
/// ```compile_fail
/// # use cueline::prelude::*;
/// Supervisor::new("sup").child("mymod");
/// ```
/// A pool with two templates.
/// ```compile_fail
/// # use cueline::prelude::*;
/// Pool::new("pool", Supervisor::new("one"), Supervisor::new("other"));
/// ```
pub fn otp_child_specs() {}

/// `sup_start_map_faulty_specs`: without a name.
/// ```compile_fail
/// # use cueline::prelude::*;
/// # struct P; impl Processor for P {}
/// processor(|| P);
/// ```
/// Without a start.
/// ```compile_fail
/// # use cueline::prelude::*;
/// processor("child");
/// ```
pub fn otp_sup_start_map_faulty_specs() {}

/// `child_adm_simple`: a pool's child cannot be restarted or deleted.
/// ```compile_fail
/// fn f(pool: cueline::PoolHandle<()>, child: &cueline::PoolChild) { pool.restart(child); }
/// ```
/// ```compile_fail
/// fn f(pool: cueline::PoolHandle<()>, child: &cueline::PoolChild) { pool.delete(child); }
/// ```
pub fn otp_child_adm_simple() {}

/// EEP 56: a pool has no auto-shutdown, as OTP disallows it since 2024.
/// ```compile_fail
/// # use cueline::prelude::*;
/// Pool::new("pool", Supervisor::new("one")).auto_shutdown(AutoShutdown::AnySignificant);
/// ```
pub fn otp_auto_shutdown_simple() {}
