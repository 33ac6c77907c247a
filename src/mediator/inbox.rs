//! What came for the workflows of one thread, and is not in their table yet. Whoever gives it (the thread that
//! writes the log, as a rule) puts it here and goes on: it never waits for somebody who works with the table,
//! so one domain's work is no other one's delay.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::task::Waker;

use parking_lot::{Mutex, MutexGuard};

use super::record::Head;
use super::table::{Ordered, Record, Shard, Starts};
use crate::store::file::workflows::Place;
use crate::workflow::WorkflowId;

/// Something that came, and is kept if anything is.
pub(crate) enum Arrival {
    /// A workflow begins.
    Begins { id: WorkflowId, attempt: u64, head: Head },
    /// Something is told to one. It may be counted among what that has to take before it may end.
    Told { id: WorkflowId, place: Place, entry: Vec<u8>, counted: bool },
}

/// Told to a workflow that has not begun yet.
pub(crate) type Early = (WorkflowId, Place, Vec<u8>);

/// All that came.
#[derive(Default)]
pub(crate) struct Came {
    pub(crate) arrivals: Vec<Arrival>,
    pub(crate) orders: VecDeque<Ordered>,
    pub(crate) starts: VecDeque<Starts>,
    /// Whoever sees to all this.
    pub(crate) waker: Option<Waker>,
    /// It is counted as busy.
    pub(crate) busy: bool,
}

impl Came {
    pub(crate) fn is_empty(&self) -> bool {
        self.arrivals.is_empty() && self.orders.is_empty() && self.starts.is_empty()
    }
}

/// Where it is put.
#[derive(Default)]
pub(crate) struct Inbox {
    came: Mutex<Came>,
    filled: AtomicBool,
}

impl Inbox {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Came> {
        self.came.lock()
    }

    /// Puts something there. Whether there was nothing to do before, and whom to wake.
    pub(crate) fn put(&self, put: impl FnOnce(&mut Came)) -> (bool, Option<Waker>) {
        let mut came = self.came.lock();
        put(&mut came);
        self.filled.store(true, SeqCst);
        (!std::mem::replace(&mut came.busy, true), came.waker.take())
    }

    /// Nobody sees to what somebody wants any more: what that is.
    pub(crate) fn close(&self) -> (VecDeque<Ordered>, VecDeque<Starts>) {
        let mut came = self.came.lock();
        (std::mem::take(&mut came.orders), std::mem::take(&mut came.starts))
    }

    /// Gives what came in exchange for room for what comes.
    pub(crate) fn exchange(&self, room: &mut Vec<Arrival>) {
        if self.filled.load(SeqCst) && self.filled.swap(false, SeqCst) {
            std::mem::swap(&mut self.came.lock().arrivals, room);
        }
    }
}

impl Shard {
    /// Takes in what came; if what comes too late lies in the log, it is to be deleted there.
    pub(crate) fn takes_in(&mut self, inbox: &Inbox, kept: bool) {
        let mut arrivals = std::mem::take(&mut self.room);
        inbox.exchange(&mut arrivals);
        for arrival in arrivals.drain(..) {
            match arrival {
                Arrival::Begins { id, attempt, head } => {
                    self.starting.ends(id, attempt);
                    self.records.insert(id, Record::new(head));
                    self.queue(id);
                    let its = |early: &mut Early| early.0 == id;
                    let early: Vec<_> = self.early.extract_if(.., its).collect();
                    for (id, place, entry) in early {
                        self.arrives(id, place, &entry);
                    }
                }
                Arrival::Told { id, place, entry, .. }
                    if self.starting.contains(id) && !self.records.contains_key(&id) =>
                {
                    self.early.push((id, place, entry)); // it is about to begin
                }
                Arrival::Told { id, place, entry, counted } => {
                    if counted && let Some(record) = self.records.get_mut(&id) {
                        record.arriving = record.arriving.saturating_sub(1);
                    }
                    if !self.arrives(id, place, &entry) && kept {
                        self.late.push((id, place));
                    }
                }
            }
        }
        self.room = arrivals;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::EventId;
    use crate::workflow::history::Entry;

    fn told(id: WorkflowId) -> Arrival {
        let mut entry = Vec::new();
        Entry::Cancelled.put(&mut entry);
        Arrival::Told { id, place: 1, entry, counted: false }
    }

    #[test]
    fn what_comes_before_its_workflow_waits_for_it_and_what_comes_behind_it_is_late() {
        let (mut shard, inbox, id) = (Shard::default(), Inbox::default(), WorkflowId(7));
        let Some(attempt) = shard.starting.begins(id, "rebook", EventId(1)) else { return };
        inbox.put(|came| came.arrivals.push(told(id)));
        shard.takes_in(&inbox, true);
        assert!(shard.late.is_empty() && shard.records.is_empty(), "it has not begun yet");
        inbox
            .put(|came| came.arrivals.push(Arrival::Begins { id, attempt, head: Head::of_some() }));
        shard.takes_in(&inbox, true);
        assert_eq!(shard.records.get(&id).map(|record| record.came), Some(1));
        shard.removes(id);
        inbox.put(|came| came.arrivals.push(told(id)));
        shard.takes_in(&inbox, true);
        assert_eq!(shard.late.len(), 1, "it is to be deleted in the log");
    }

    #[test]
    fn timers_that_somebody_took_and_did_nothing_about_are_there_again() {
        let (mut shard, inbox, id) = (Shard::default(), Inbox::default(), WorkflowId(7));
        inbox.put(|came| {
            came.arrivals.push(Arrival::Begins { id, attempt: 1, head: Head::of_some() });
        });
        shard.takes_in(&inbox, true);
        let due = crate::clock::Moment(9);
        let open = super::super::table::Open {
            step: 3,
            kind: crate::workflow::history::Kind::Sleep,
            name: "sleep".into(),
            key: None,
            due: Some(due),
            since: 0,
            sent: None,
        };
        shard.opens(id, open);
        assert_eq!(shard.timers.pop_first(), Some((due, id, 3)));
        shard.sets_timers();
        assert_eq!(shard.timers.first(), Some(&(due, id, 3)));
    }

    #[test]
    fn commands_count_from_when_they_are_sent_until_nobody_waits_for_them() {
        let (mut shard, inbox) = (Shard::default(), Inbox::default());
        let (ids, now) = ([WorkflowId(7), WorkflowId(8)], crate::clock::Moment(9));
        for id in ids {
            inbox.put(|came| {
                came.arrivals.push(Arrival::Begins { id, attempt: 1, head: Head::of_some() });
            });
        }
        shard.takes_in(&inbox, true);
        for (id, step, sent) in [(ids[0], 0, Some(now)), (ids[0], 1, None), (ids[1], 0, Some(now))]
        {
            let (kind, name) = (crate::workflow::history::Kind::Call, "call".into());
            let (key, due, since) = (None, None, 0);
            let open = super::super::table::Open { step, kind, name, key, due, since, sent };
            shard.opens(id, open);
        }
        assert_eq!(shard.busy_with(now), (2, 2), "one was sent by an earlier process");
        shard.closes(ids[0], 1);
        shard.closes(ids[0], 0);
        assert_eq!(shard.busy_with(now), (2, 1));
        shard.removes(ids[1]);
        assert_eq!(shard.busy_with(now).1, 0);
    }
}
