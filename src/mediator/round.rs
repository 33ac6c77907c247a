//! What one of a mediator's threads is to do next, taken out of the table.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::pump::{Pump, TOGETHER};
use super::record::Head;
use super::table::{Ordered, Shard, Starts};
use crate::clock::{Moment, Timestamp};
use crate::error::Failure;
use crate::store::file::workflows::Place;
use crate::workflow::WorkflowId;

/// What is to be told to a workflow.
pub(super) struct Job {
    pub(super) id: WorkflowId,
    pub(super) head: Arc<Head>,
    /// What came since it was told last, or all of it.
    pub(super) entries: std::ops::Range<usize>,
    /// The steps that it began, if it is not loaded.
    pub(super) steps: Option<Vec<u8>>,
}

/// What a thread is to do next.
#[derive(Default)]
pub(super) struct Round {
    pub(super) jobs: Vec<Job>,
    /// The entries of all jobs.
    pub(super) bytes: Vec<u8>,
    pub(super) over: Vec<(WorkflowId, u32)>,
    pub(super) orders: VecDeque<Ordered>,
    pub(super) starts: VecDeque<Starts>,
    pub(super) late: Vec<(WorkflowId, Place)>,
    /// How long it took to get the result of one of the commands.
    pub(super) took: Option<Duration>,
    pub(super) forgotten: Vec<WorkflowId>,
    pub(super) ran: Vec<(WorkflowId, u32, Result<Vec<u8>, Failure>)>,
}

impl Round {
    pub(super) fn is_empty(&self) -> bool {
        self.jobs.is_empty()
            && self.over.is_empty()
            && self.orders.is_empty()
            && self.starts.is_empty()
            && self.late.is_empty()
            && self.forgotten.is_empty()
            && self.ran.is_empty()
    }
}

impl Pump {
    pub(super) fn take(&mut self, shard: &mut Shard, now: Moment, round: &mut Round) {
        round.late = std::mem::take(&mut shard.late);
        round.took = shard.answered.take().map(|sent| now.since(sent));
        let (most, within) = self.domain.limits.remember;
        let before = Timestamp::now().as_millis().saturating_sub(within.as_millis() as u64);
        while round.forgotten.len() < TOGETHER
            && let Some(id) = shard.ended.forgets(most, before)
        {
            round.forgotten.push(id);
        }
        while round.over.len() < TOGETHER
            && let Some((due, id, step)) =
                shard.timers.first().copied().filter(|(due, ..)| *due <= now)
        {
            shard.timers.remove(&(due, id, step));
            round.over.push((id, step));
        }
        while round.jobs.len() < TOGETHER
            && let Some(id) = shard.next_ready()
        {
            let Some(record) = shard.records.get(&id) else { continue };
            // One that was there before may stand in the queue as well.
            let is_taken = round.jobs.iter().any(|job| job.id == id);
            if is_taken || self.held.contains_key(&id) || !record.status.goes_on() {
                continue;
            }
            let loaded = self.loaded.get_mut(&id);
            let told = loaded.as_ref().map_or(0, |loaded| loaded.told);
            let from = round.bytes.len();
            round.bytes.extend_from_slice(record.entries_from(told));
            let entries = from..round.bytes.len();
            let steps = if loaded.is_none() { Some(record.steps.clone()) } else { None };
            round.jobs.push(Job { id, head: record.head.clone(), entries, steps });
        }
    }
}
