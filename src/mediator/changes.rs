//! What a commit changes in the table: all of it, when the commit is sure to be carried out.

use std::ops::Range;

use super::domain::Domain;
use super::record::{Ended, Head, Place};
use super::table::{Open, Shard, Status};
use crate::clock::Moment;
use crate::workflow::WorkflowId;
use crate::workflow::history::Kind;

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
            Change::Opens { id, open } => shard.opens(id, open),
            Change::Closes { id, step } => {
                if let Some(open) = shard.closes(id, step)
                    && open.kind == Kind::WaitFor
                    && let Some(key) = &open.key
                {
                    self.index.lock().waits_no_more(&open.name, key, id);
                }
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
                let mut index = self.index.lock();
                if let Some(key) = &record.head.key {
                    index.removes(record.head.workflow, key, id);
                }
                for open in record.open.iter().filter(|open| open.kind == Kind::WaitFor) {
                    open.key.iter().for_each(|key| index.waits_no_more(&open.name, key, id));
                }
                drop(index);
                shard.tell_who_waits(id, &ended);
                shard.ended.remember(id, ended);
            }
            Change::Anew { id, head, steps, facts, came, mut entries } => {
                let Some(before) = shard.removes(id) else { return };
                let since = before.entries().flatten().skip(came as usize);
                entries.extend(since.map(|(place, entry)| (place, entry.to_vec())));
                let mut record = super::table::Record::new(head);
                (record.steps, record.facts, record.arriving) = (steps, facts, before.arriving);
                record.queued = before.queued;
                record.set_entries(&entries);
                shard.records.insert(id, record);
                shard.reopen(id, now);
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
