//! What mediators and workflows promise: one behaviour a file.
//!
//! Of the cases that others test (Restate's, Temporal's, Oban's and River's suites) these have no counterpart here:
//! *kill tree* (a workflow is cancelled, and makes up for what it did; nothing is killed without that), *updates*
//! and their validation (a workflow is told events, and asks persons; nothing is validated before it is kept),
//! *ownership transfer* (a mediator lives in one process), *rescue by age* (who died is known, so that nothing has
//! to be taken for dead by its age). Order by key, kept state that is as at the last commit, and commands that
//! nobody can decode are promises of processors: `tests/promises/`, `tests/durable/`.

#![allow(missing_docs, clippy::unwrap_used)]

mod a_crash_changes_nothing;
mod a_mediator_is_no_single_point_of_failure;
mod a_step_that_fails_says_so;
mod a_workflow_comes_to_its_end;
mod it_is_cancelled;
mod it_is_restarted;
mod it_makes_up_for_what_it_did;
mod it_waits_for_events;
mod mediators_hand_on;
mod steps_of_all_kinds;
#[allow(dead_code)]
#[path = "../promises/support.rs"]
mod support;
mod they_are_counted;
mod timers_fire_once;
mod what_cannot_go_on_is_shown;
mod what_is_handed_out_early_is_not_lost;
#[allow(dead_code)]
mod world;
