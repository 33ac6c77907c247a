//! What a log on disk promises: one behaviour a file.

#![allow(missing_docs, clippy::unwrap_used)]

mod a_disk_that_fails_for_a_while_is_waited_for;
mod a_full_disk_stops_publishers_only;
mod a_new_subscription_begins_where_it_says;
mod a_restart_goes_on_where_it_was;
mod a_slow_disk_slows_publishers_only;
mod an_event_that_kills_the_process_is_parked;
mod channels_are_kept_as_it_was_said;
mod faults_of_events;
mod faults_of_the_place;
mod ledger;
mod nothing_acknowledged_is_lost;
mod support;
mod the_last_process_is_charged_to_whom_it_died_of;
mod what_is_held_costs_little;
mod what_is_too_large_is_refused;
mod what_waits_for_its_time_waits_in_the_log;
mod who_is_gone_is_forgotten;
mod who_waits_for_what_is_rare_keeps_nothing;
