//! What a commit changes in the table: all of it, when the commit is sure to be carried out.

use std::ops::Range;

use super::domain::Domain;
use super::record::{Ended, Head};
use super::table::{Open, Shard, Status};
use crate::clock::Moment;
use crate::store::file::workflows::Place;
use crate::workflow::WorkflowId;

/// One change of one workflow.
pub(crate) enum Change {
    /// It began steps, those bytes of all, having been told so much.
    Began {
        id: WorkflowId,
        steps: Range<usize>,
        first: Option<u32>,
        told: u32,
    },
    Opens {
        id: WorkflowId,
        open: Open,
    },
    Closes {
        id: WorkflowId,
        step: u32,
    },
    Status {
        id: WorkflowId,
        status: Status,
    },
    Shows {
        id: WorkflowId,
        shows: Vec<u8>,
    },
    TriedAgain {
        id: WorkflowId,
        step: u32,
    },
    /// It has ended; so much of what came to it was known then.
    Ends {
        id: WorkflowId,
        came: u32,
        ended: Ended,
    },
    /// It is told other things, or in another order, from its beginning.
    Anew {
        id: WorkflowId,
        head: Head,
        steps: Vec<u8>,
        facts: Vec<u32>,
        came: u32,
        entries: Vec<(Place, Vec<u8>)>,
    },
}

impl Domain {
    /// Carries out what belongs to one thread's commit.
    pub(super) fn apply(&self, changes: Vec<Change>, steps: &[u8], now: Moment) {
        for change in changes {
            let id = change.id();
            let Some(mut shard) = self.shard(id) else { continue };
            self.apply_one(&mut shard, change, steps, now);
        }
    }

    /// These steps wait for events.
    pub(super) fn waits(&self, id: WorkflowId, steps: &[Open]) {
        for (name, key) in steps.iter().filter_map(Open::event) {
            self.index.lock().waits(name, key, id);
        }
    }

    /// And these do so no more.
    fn waits_no_more(&self, id: WorkflowId, steps: &[Open]) {
        for (name, key) in steps.iter().filter_map(Open::event) {
            self.index.lock().waits_no_more(name, key, id);
        }
    }

    fn apply_one(&self, shard: &mut Shard, change: Change, all: &[u8], now: Moment) {
        match change {
            Change::Began { id, steps, first, told } => {
                if let Some(record) = shard.records.get_mut(&id) {
                    record.steps.extend_from_slice(&all[steps]);
                    record.facts.extend(first);
                    record.told = Some(told);
                    record.lacks_room = false;
                }
            }
            Change::Opens { id, open } => {
                self.waits(id, std::slice::from_ref(&open));
                shard.opens(id, open);
            }
            Change::Closes { id, step } => {
                self.waits_no_more(id, shard.closes(id, step).as_slice());
            }
            Change::Status { id, status } => {
                let Some(record) = shard.records.get_mut(&id) else { return };
                let resumes = status == Status::Running;
                record.status = status;
                if resumes {
                    shard.queue(id);
                }
            }
            Change::Shows { id, shows } => {
                if let Some(record) = shard.records.get_mut(&id) {
                    record.shows = Some(shows.into());
                }
            }
            Change::TriedAgain { id, step } => {
                if let Some(record) = shard.records.get_mut(&id) {
                    record.tried_again(step);
                }
            }
            Change::Ends { id, came, ended } => {
                let Some(record) = shard.removes(id) else { return };
                let late =
                    record.entries().flatten().skip(came as usize).map(|(place, _)| (id, place));
                shard.late.extend(late);
                if let Some(key) = &record.head.key {
                    self.index.lock().removes(record.head.workflow, key, id);
                }
                self.waits_no_more(id, &record.open);
                shard.tell_who_waits(id, &ended);
                shard.ended.remember(id, ended);
            }
            Change::Anew { id, head, steps, facts, came, mut entries } => {
                let Some(before) = shard.removes(id) else { return };
                self.waits_no_more(id, &before.open);
                let since = before.entries().flatten().skip(came as usize);
                entries.extend(since.map(|(place, entry)| (place, entry.to_vec())));
                let mut record = super::table::Record::new(head);
                (record.steps, record.facts, record.arriving) = (steps, facts, before.arriving);
                record.queued = before.queued;
                record.set_entries(&entries);
                shard.records.insert(id, record);
                shard.reopen(id, now);
                self.waits(id, &shard.records[&id].open);
                shard.queue(id);
            }
        }
    }
}

impl Change {
    fn id(&self) -> WorkflowId {
        match self {
            Self::Began { id, .. }
            | Self::Opens { id, .. }
            | Self::Closes { id, .. }
            | Self::Status { id, .. }
            | Self::Shows { id, .. }
            | Self::TriedAgain { id, .. }
            | Self::Ends { id, .. }
            | Self::Anew { id, .. } => *id,
        }
    }
}
