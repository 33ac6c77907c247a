//! What the log says of a mediator's workflows, put back where it was.

use std::time::Duration;

use super::domain::Domain;
use super::record::{Ended, Head};
use super::table::{Record, Shard, Status, Timer, open_of};
use crate::clock::{Moment, Timestamp};
use crate::store::file::bytes::{Bytes, Read};
use crate::store::file::workflows::{Workflow, Workflows};
use crate::workflow::WorkflowId;
use crate::workflow::effect::Fault;
use crate::workflow::history::{Did, Entry};

impl Shard {
    /// The steps that wait are worked out again.
    pub(crate) fn reopen(&mut self, id: WorkflowId, now: Moment) {
        let Some(record) = self.records.get_mut(&id) else { return };
        self.timers.extend(record.reopens(id, (now, Timestamp::now())));
    }
}

impl Record {
    /// Its steps that wait are worked out; these have a time.
    fn reopens(&mut self, id: WorkflowId, (now, wall): (Moment, Timestamp)) -> Vec<Timer> {
        let wall = wall.as_millis();
        let moment = |due: u64| {
            let (left, past) = (due.saturating_sub(wall), wall.saturating_sub(due));
            now.after(Duration::from_millis(left)).before(Duration::from_millis(past))
        };
        let did = Did::read(&self.steps).unwrap_or_default();
        let mut over = did.gone;
        over.extend(self.entries().flatten().filter_map(|(_, entry)| self::over(entry)));
        let since = self.head.started;
        let mut timers = Vec::new();
        for begun in did.begun.into_iter().filter(|begun| !over.contains(&begun.step)) {
            let due = begun.due.map(moment);
            timers.extend(due.map(|due| (due, id, begun.step)));
            self.opens(open_of(&begun, due, since));
        }
        timers
    }
}

/// The step that is over by that.
fn over(entry: &[u8]) -> Option<u32> {
    match Entry::read(&mut Bytes(entry)) {
        Ok(Entry::Done { step, .. } | Entry::Over { step }) => Some(step),
        _ => None,
    }
}

/// The steps of one fact: how much had come by then, and their bytes.
fn steps(value: &[u8]) -> Read<(u32, &[u8])> {
    let mut value = Bytes(value);
    let told = value.length(u32::MAX as usize)? as u32;
    Ok((told, value.0))
}

/// What the facts say of one workflow that has not ended.
fn record(kept: &Workflow) -> Option<Box<Record>> {
    let mut record = Record::new(Head::read(kept.head.as_deref()?).ok()?);
    let parts = kept.steps.iter().map(|(first, value)| {
        let (told, bytes) = steps(value)?;
        // Of one part alone it does not matter.
        let turn = match kept.steps.len() {
            1 => 0,
            _ => Did::read(bytes)?.turn,
        };
        Ok((turn, *first, told, bytes))
    });
    let mut parts: Vec<_> = match parts.collect::<Read<_>>() {
        Ok(parts) => parts,
        Err(_) => {
            record.status = damaged();
            return Some(record);
        }
    };
    parts.sort_by_key(|(turn, ..)| *turn);
    record.steps.reserve_exact(parts.iter().map(|(.., bytes)| bytes.len()).sum());
    record.facts.reserve_exact(parts.len());
    for (_, first, told, bytes) in parts {
        record.steps.extend_from_slice(bytes);
        record.facts.push(first);
        record.told = record.told.max(Some(told));
    }
    if let Some(restart) = record.head.numbers.restarts.last() {
        let did = Did::read(&record.steps).unwrap_or_default();
        if !did.begun.iter().any(|begun| begun.step >= restart.to) {
            record.told = None; // nothing has been done anew yet
        }
    }
    let mut entries: Vec<_> = kept.entries.iter().map(|(place, entry)| (*place, entry)).collect();
    entries.sort_by_key(|(place, _)| *place);
    for (place, entry) in entries {
        if Entry::read(&mut Bytes(entry)).is_err() {
            record.status = damaged();
        }
        record.push(place, entry);
    }
    Some(record)
}

impl Domain {
    /// Takes up what the log knows of its workflows.
    pub(crate) fn restore(&self, workflows: Workflows, now: Moment) {
        let now = (now, Timestamp::now());
        let each = workflows.len() / self.threads().max(1);
        self.tables().for_each(|mut shard| shard.records.reserve(each));
        // Put in order together, when all are there.
        let mut timers = vec![Vec::new(); self.threads()];
        for (id, kept) in workflows {
            let id = WorkflowId(id);
            let at = self.place_of(id);
            let Some(mut shard) = self.table(at) else { continue };
            if let Some(ended) = kept.ended.as_deref().and_then(|ended| Ended::read(ended).ok()) {
                shard.ended.remember(id, ended);
            }
            let Some(mut record) = record(&kept) else {
                // It has ended, and this came too late.
                shard.late.extend(kept.entries.iter().map(|(place, _)| (id, *place)));
                continue;
            };
            if self.code(record.head.workflow, Some(record.head.version)).is_none() {
                record.status = Status::NoCode;
            }
            if let Some(key) = &record.head.key {
                self.index.lock().adds(record.head.workflow, key, id);
            }
            timers[at].extend(record.reopens(id, now));
            self.waits(id, &record.open);
            shard.records.insert(id, record);
        }
        for (mut shard, timers) in self.tables().zip(timers) {
            shard.timers = timers.into_iter().collect();
            shard.ended.sort();
        }
    }
}

fn damaged() -> Status {
    let text = "what the log has of it cannot be read: restore it from a backup, or cancel it";
    Status::Faulted(Fault::BadInput(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workflow::anew::Restart;
    use crate::workflow::core::Numbers;
    use crate::workflow::history::{Begun, Kind};

    fn kept(steps: &[u32]) -> Workflow {
        let restart = Restart { at: 1, to: 2, turn: Some(0) };
        let numbers = Numbers { first: 0, restarts: [restart].into() };
        let head = Head { numbers, ..Head::of_some() };
        let part = |step: &u32| {
            let (turn, kind, name) = (*step, Kind::Sleep, "sleep".into());
            let begun = Begun { turn, step: *step, kind, name, digest: 0, key: None, due: None };
            let mut value = vec![0];
            begun.put(&mut value);
            (*step, value.into())
        };
        let steps = steps.iter().map(part).collect();
        Workflow { head: Some(head.write().into()), steps, ..Workflow::default() }
    }

    /// The process may have ended before it went on.
    #[test]
    fn one_that_was_restarted_is_loaded_until_it_has_done_something_anew() {
        let has_to_be_loaded = |steps: &[u32]| {
            let id = WorkflowId(7);
            let mut shard = Shard::default();
            shard.records.extend(record(&kept(steps)).map(|record| (id, record)));
            shard.reopen(id, Moment::default());
            shard.records[&id].has_to_be_loaded()
        };
        assert!(has_to_be_loaded(&[0]));
        assert!(!has_to_be_loaded(&[0, 2]));
    }
}
