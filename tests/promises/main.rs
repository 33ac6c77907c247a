//! What the runtime promises: one behaviour a file.

#![allow(missing_docs, clippy::unwrap_used, clippy::missing_panics_doc)]

mod support;

mod a_blocked_thread_is_given_up;
mod a_host_given_up_has_no_effect;
mod a_stopped_runtime_keeps_nothing;
mod a_stuck_thread_harms_no_other;
mod a_thread_is_shared_fairly;
mod bad_programs_are_refused_at_start;
mod bounds_hold_and_pressure_stays_local;
mod children_of_other_kinds;
mod children_that_are_down;
mod drops_never_abort;
mod faults;
mod faults_of_supervision;
mod full_subscriptions_drop_by_their_rule;
mod handlers_may_await_and_are_timed;
mod handlings_are_measured;
mod kept_state_is_as_at_the_last_commit;
mod keys_keep_their_order;
mod nothing_fails_silently;
mod panics_are_contained;
mod plain_actors_subscribe;
mod processors_come_and_go;
mod publications_leave_with_the_commit;
mod restarts_wait_their_turn;
mod rings_neither_deadlock_nor_lose;
mod room_comes_back;
mod shutdown_waits_for_what_moves;
mod signals_end_the_process_in_order;
mod starts_and_stops_anywhere;
mod subscriptions_see_one_order;
mod supervisors_come_and_go;
mod threads_end_with_their_work;
mod trees_are_shown;
