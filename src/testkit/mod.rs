//! What every engine must do: one suite of cases, run against a store. An engine that is new gets its
//! test in six lines; what a case promises is promised in memory and on disk alike.
//!
//! ```
//! use cueline::testkit::{Engine, conform};
//! use cueline::Store;
//!
//! conform(&Engine::new(Store::memory));
//! ```

#![allow(clippy::unwrap_used)] // these are tests

mod acknowledging;
mod histories;
mod order;
mod publishing;
mod repair;
mod stage;

use std::panic::{AssertUnwindSafe, catch_unwind};

pub use stage::Engine;
use stage::Stage;

/// A case: what it promises, whether only an engine that survives a restart can, and the test.
type Case = (&'static str, bool, fn(&mut Stage));

/// All cases, in the order in which they are run.
const CASES: &[Case] = &[
    ("events are handled in their order over all types", false, order::over_all_types),
    ("events of one key keep their order with many instances", false, order::of_a_key),
    ("what was handled is not handled again", true, order::goes_on),
    ("what was not handled is handled later", true, order::catches_up),
    ("a failed event comes again, the same, and counts its attempts", false, repair::again),
    ("attempts are counted across restarts", true, repair::attempts_last),
    ("kept state is as at the last commit", false, repair::state_is_committed),
    ("kept state is there again", true, repair::state_lasts),
    ("publications leave with their commit", false, repair::publications_commit),
    ("a parked event holds its key and no other", false, repair::parks_its_key),
    ("parked events and who waits behind them keep their order", true, repair::parking_lasts),
    ("what is discarded is gone", false, repair::discards),
    ("all that is parked is shown, whatever its id", false, repair::shows_all),
    ("who is full refuses nobody silently", false, publishing::bounds),
    ("a channel takes as many as its limit says", false, publishing::limits),
    ("a channel takes as many bytes as its limit says", false, publishing::limits_bytes),
    ("what was left by then counts after a restart", true, publishing::limits_last),
    ("a key is published once", false, publishing::dedup),
    ("a key is known after a restart", true, publishing::dedup_lasts),
    ("keys are forgotten by their window", false, publishing::dedup_window),
    ("a batch is whole, in one piece, or not there", false, publishing::batches),
    ("batches that cross each other get through", false, publishing::batches_cross),
    ("acknowledged before it is handled, it is handled at most once", false, acknowledging::before),
    ("acknowledged before, it does not come again", true, acknowledging::before_lasts),
    ("acknowledged by hand, it waits for the hand", false, acknowledging::by_hand),
    ("an acknowledgement counts within its lease only", false, acknowledging::leases),
    ("an acknowledgement may come before its handler returns", false, acknowledging::early),
    ("who took it along and is gone holds nothing", true, acknowledging::by_hand_lasts),
    ("who comes and goes meanwhile gets one unbroken stretch", false, histories::guests),
    ("what was retained can be read from the beginning", true, histories::replay),
    ("what was to be retained no longer is not waited for", true, histories::begins_now),
    ("what leaves later leaves later", false, histories::delayed),
    ("what leaves later leaves after a restart", true, histories::delayed_lasts),
];

/// Runs every case that the engine can be asked for.
///
/// # Panics
///
/// With the names of the cases that failed; each has said why before.
pub fn conform(engine: &Engine) {
    let mut failed = Vec::new();
    for (promise, needs_restart, case) in CASES {
        if *needs_restart && !engine.survives {
            continue;
        }
        let run = || {
            let mut stage = Stage::new(engine);
            case(&mut stage);
            stage.stop();
        };
        if catch_unwind(AssertUnwindSafe(run)).is_err() {
            failed.push(*promise);
        }
    }
    assert!(failed.is_empty(), "the engine does not keep: {failed:#?}");
}
