//! How each fact is logged: ids only, never payloads.

use tracing::{debug, error, info, warn};

use super::{DropReason, RequestOutcome, Signal};

pub(super) fn log(signal: &Signal<'_>) {
    match signal {
        Signal::Published { .. }
        | Signal::Handled { .. }
        | Signal::Written { .. }
        | Signal::Checkpointed { .. }
        | Signal::Requested { outcome: RequestOutcome::Answered, .. }
        | Signal::WorkflowStep { .. }
        | Signal::Damaged { .. } => {} // each stretch was told when it was found
        Signal::WorkflowBegan { mediator, workflow } => {
            debug!(%mediator, workflow, "a workflow began");
        }
        Signal::WorkflowEnded { mediator, workflow, id, outcome, took } => {
            let (outcome, took) = (outcome.as_str(), took.as_millis() as u64);
            debug!(%mediator, workflow, %id, outcome, took_ms = took, "a workflow ended");
        }
        Signal::WorkflowIs { mediator, workflow, id, state, why } if state.needs_a_person() => {
            error!(%mediator, workflow, %id, state = state.as_str(), why, "a workflow does not go on");
        }
        Signal::WorkflowIs { mediator, workflow, id, state, why } => {
            info!(%mediator, workflow, %id, state = state.as_str(), why, "a workflow is in another state");
        }
        Signal::WorkflowMissed { mediator, what, count } => {
            debug!(%mediator, what = what.as_str(), count, "came to nobody");
        }
        Signal::Forgone { processor, event, cause, error } => {
            warn!(%processor, %event, %cause, error, "an event failed that counted as handled already: it is gone");
        }
        Signal::Requested { command, outcome, .. } => {
            info!(command, outcome = outcome.as_str(), "a request ended without its reply");
        }
        Signal::ReplyDropped { command, event } => {
            debug!(command, %event, "answered, and nobody waits for it any more");
        }
        Signal::CommandFailed { command: _, processor, event, attempts, cause } => {
            let cause = cause.as_str();
            warn!(%processor, %event, attempts, cause, "a command failed for good: whoever asked is told");
        }
        Signal::Duplicate { topic, .. } => {
            debug!(topic, "it had been published under its key before");
        }
        Signal::Refused { topic, dropped, .. } => {
            debug!(topic, dropped, "no room for an event");
        }
        Signal::Retried { processor, event, attempt, cause, wait } => {
            let (cause, wait) = (cause.as_str(), wait.as_millis() as u64);
            info!(%processor, %event, attempt, cause, wait_ms = wait, "will be delivered again");
        }
        Signal::Parked { processor, event, attempts, cause } => {
            warn!(%processor, %event, attempts, cause = cause.as_str(), "parked");
        }
        Signal::Orphaned { processor, events } => {
            warn!(%processor, events, "gone; what it had not handled is parked as orphaned");
        }
        Signal::Resubmitted { processor, event } => {
            info!(%processor, %event, "resubmitted");
        }
        Signal::Dropped { processor, events, reason: DropReason::Lost } => {
            error!(%processor, events, "held events are not in the log any more: they are lost");
        }
        Signal::Dropped { processor, events, reason } => {
            debug!(%processor, events, reason = reason.as_str(), "dropped");
        }
        Signal::Restarted { processor, cause, event, took } => {
            let (cause, took) = (cause.as_str(), took.as_micros() as u64);
            let event = event.map(tracing::field::display);
            warn!(%processor, cause, event, took_us = took, "restarted");
        }
        Signal::StartFailed { processor, cause, wait, error } => {
            let (cause, wait) = (cause.as_str(), wait.map(|wait| wait.as_millis() as u64));
            error!(%processor, cause, wait_ms = wait, error, "could not start");
        }
        Signal::PanicContained { during, event } => {
            let event = event.map(tracing::field::display);
            error!(during = during.as_str(), event, "panic contained");
        }
        Signal::HookFailed { processor, hook, error } => {
            error!(%processor, hook = hook.as_str(), error, "a hook failed");
        }
        Signal::GaveUp { supervisor, child, cause } => {
            error!(supervisor, child, cause, "gave up");
        }
        Signal::Restarts { supervisor, child, wait } => {
            warn!(supervisor, child, wait_ms = wait.as_millis() as u64, "restarts a child");
        }
        Signal::Recovered { supervisor, child, took } => {
            info!(supervisor, child, took_us = took.as_micros() as u64, "a child runs again");
        }
        Signal::ThreadLost { processor, stuck } => {
            let (processor, stuck) = (processor.map(tracing::field::display), stuck.as_millis());
            error!(processor, stuck_ms = stuck as u64, "a thread is stuck, and was given up");
        }
        Signal::LogFailed { error, times: 1 } => {
            error!(error, "the log could not be written: it is done anew in another segment");
        }
        Signal::LogFailed { error, times } => {
            error!(error, times, "the log cannot be written: nothing is acknowledged until it can");
        }
        Signal::Space { short: true, used } => {
            error!(used, "the disk is full, or the log at its limit: nothing new is taken in");
        }
        Signal::Space { short: false, used } => {
            info!(used, "there is room on disk again: new events are taken in");
        }
        Signal::Held { processor, stopped: true } => {
            error!(%processor, "too many events are held: takes no new ones");
        }
        Signal::Held { processor, stopped: false } => {
            info!(%processor, "takes new events again");
        }
    }
}
