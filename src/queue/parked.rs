//! Events that wait for a person, by their ids. A million may: of one that a log has, only what is said
//! of it is here.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::report::{BriefReport, Report, ReportText};
use crate::message::{EventId, Seq};

/// An event that waits for a person.
#[derive(Debug)]
struct Parked {
    seq: Seq,
    /// What is said of it, if it is not kept itself.
    shelved: Option<BriefReport>,
}

/// All events of a subscription that wait for a person.
#[derive(Debug, Default)]
pub(crate) struct ParkedEvents {
    by_id: BTreeMap<EventId, Parked>,
    /// What was said last: many say the same.
    said: Option<Arc<ReportText>>,
}

impl ParkedEvents {
    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    pub(crate) fn contains(&self, id: EventId) -> bool {
        self.by_id.contains_key(&id)
    }

    /// Where an event is in the order.
    pub(crate) fn seq(&self, id: EventId) -> Option<Seq> {
        self.by_id.get(&id).map(|parked| parked.seq)
    }

    /// One that is kept itself, with its report.
    pub(crate) fn insert(&mut self, id: EventId, seq: Seq) {
        self.by_id.insert(id, Parked { seq, shelved: None });
    }

    /// One that only a log has.
    pub(crate) fn shelve(&mut self, id: EventId, seq: Seq, report: &Report) {
        let shelved = Some(BriefReport::of(report, &mut self.said));
        self.by_id.insert(id, Parked { seq, shelved });
    }

    /// It is kept itself from now on: what was said of it.
    pub(crate) fn unshelve(&mut self, id: EventId) -> Option<Report> {
        let shelved = self.by_id.get_mut(&id)?.shelved.take()?;
        Some(shelved.report())
    }

    /// It waits no longer. False if it did not.
    pub(crate) fn remove(&mut self, id: EventId) -> bool {
        self.by_id.remove(&id).is_some()
    }

    /// It waits no longer: what was said of it, if it is not kept itself.
    pub(crate) fn take(&mut self, id: EventId) -> Option<BriefReport> {
        self.by_id.remove(&id)?.shelved
    }

    /// Those that are kept themselves.
    pub(crate) fn kept(&self) -> impl Iterator<Item = Seq> {
        self.by_id.values().filter(|of| of.shelved.is_none()).map(|of| of.seq)
    }

    /// Those that only a log has, and what is said of them.
    pub(crate) fn shelved(&self) -> impl Iterator<Item = (Seq, &BriefReport)> {
        self.by_id.values().filter_map(|of| Some((of.seq, of.shelved.as_ref()?)))
    }
}
