//! What the log says of a mediator's workflows, put back where it was.

use std::collections::BTreeMap;

use super::domain::Domain;
use super::record::{Ended, Head, Place, place, whose};
use super::table::{Record, Shard, Status, open_of};
use crate::clock::{Moment, Timestamp};
use crate::store::file::bytes::{Bytes, Read};
use crate::store::file::facts::Facts;
use crate::store::file::record::FactKind;
use crate::workflow::WorkflowId;
use crate::workflow::effect::Fault;
use crate::workflow::history::{Entry, read_begun};

impl Shard {
    /// The steps that wait are worked out again.
    pub(crate) fn reopen(&mut self, id: WorkflowId, now: Moment) {
        let wall = Timestamp::now().as_millis();
        let Some(record) = self.records.get(&id) else { return };
        let over = |entry: &[u8]| match Entry::read(&mut Bytes(entry)) {
            Ok(Entry::Done { step, .. } | Entry::Over { step }) => Some(step),
            _ => None,
        };
        let over: Vec<u32> =
            record.entries().flatten().filter_map(|(_, entry)| over(entry)).collect();
        let begun = read_begun(&record.steps).unwrap_or_default();
        let since = record.head.started;
        for begun in begun.iter().filter(|begun| !over.contains(&begun.step)) {
            let due = begun
                .due
                .map(|due| now.after(std::time::Duration::from_millis(due.saturating_sub(wall))));
            if let Some(open) = open_of(begun, due, since) {
                self.opens(id, open);
            }
        }
    }
}

/// The steps of one fact: how much had come by then, and their bytes.
fn steps(value: &[u8]) -> Read<(u32, &[u8])> {
    let mut value = Bytes(value);
    let told = value.length(u32::MAX as usize)? as u32;
    Ok((told, value.0))
}

impl Domain {
    /// Takes up what the log knows by that number.
    pub(crate) fn restore(&self, facts: &Facts, number: u32, now: Moment) {
        let mut records: BTreeMap<WorkflowId, Box<Record>> = BTreeMap::new();
        for (mut name, value) in facts.under(FactKind::Workflow, number) {
            if let (Ok(id), Ok(head)) = (whose(&mut name), Head::read(value)) {
                records.insert(id, Record::new(head));
            }
        }
        let mut parts: BTreeMap<WorkflowId, Vec<(u32, u32, u32, &[u8])>> = BTreeMap::new();
        for (mut name, value) in facts.under(FactKind::Steps, number) {
            let Ok(id) = whose(&mut name) else { continue };
            let Ok(first) = name.u32().map(u32::swap_bytes) else { continue };
            let part = steps(value).and_then(|(told, bytes)| {
                let turn = read_begun(bytes)?.first().map_or(0, |begun| begun.turn);
                Ok((turn, first, told, bytes))
            });
            match part {
                Ok(part) => parts.entry(id).or_default().push(part),
                Err(_) => damaged(&mut records, id),
            }
        }
        for (id, mut parts) in parts {
            let Some(record) = records.get_mut(&id) else { continue };
            parts.sort_by_key(|(turn, ..)| *turn);
            for (_, first, told, bytes) in parts {
                record.steps.extend_from_slice(bytes);
                record.facts.push(first);
                record.told = Some(told);
            }
        }
        let mut late: Vec<(WorkflowId, Place)> = Vec::new();
        for (mut name, value) in facts.under(FactKind::Entry, number) {
            let Ok(id) = whose(&mut name) else { continue };
            let Ok(place) = place(&mut name) else { continue };
            match records.get_mut(&id) {
                Some(record) if Entry::read(&mut Bytes(value)).is_ok() => record.push(place, value),
                Some(_) => damaged(&mut records, id),
                None => late.push((id, place)),
            }
        }
        for (id, record) in records {
            let Some(shard) = self.shard(id) else { continue };
            let shard = &mut *shard.lock();
            if let Some(key) = &record.head.key {
                self.index.lock().adds(&record.head.workflow, key, id);
            }
            shard.records.insert(id, record);
            shard.reopen(id, now);
            let record = &shard.records[&id];
            for open in &record.open {
                if let Some(key) = &open.key {
                    self.index.lock().waits(&open.name, key, id);
                }
            }
        }
        for (mut name, value) in facts.under(FactKind::Ended, number) {
            if let (Ok(id), Ok(ended)) = (whose(&mut name), Ended::read(value))
                && let Some(shard) = self.shard(id)
            {
                shard.lock().remember(id, ended);
            }
        }
        for (id, place) in late {
            self.shard(id).into_iter().for_each(|shard| shard.lock().late.push((id, place)));
        }
    }
}

fn damaged(records: &mut BTreeMap<WorkflowId, Box<Record>>, id: WorkflowId) {
    if let Some(record) = records.get_mut(&id) {
        let text = "what the log has of it cannot be read: restore it from a backup, or cancel it";
        record.status = Status::Faulted(Fault::BadInput(text.to_owned()));
    }
}
