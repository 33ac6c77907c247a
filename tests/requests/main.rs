//! What request-reply promises: one behaviour a file.

#![allow(missing_docs, clippy::unwrap_used)]

mod a_command_has_one_processor;
mod a_command_that_fails_says_so;
mod a_deadline_is_carried_along;
mod a_reply_finds_whoever_asked;
mod a_reply_that_nobody_waits_for_is_dropped;
mod a_temporary_queue_is_gone_with_its_request;
mod handlers_ask_as_long_as_they_live;
mod nobody_waits_for_itself;
mod replies_are_on_disk;
mod several_are_asked_at_once;
#[allow(dead_code)]
#[path = "../promises/support.rs"]
mod support;
mod whoever_handles_it_may_come_later;
mod world;
