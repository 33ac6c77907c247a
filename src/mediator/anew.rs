//! How a workflow ends, and how it begins anew: with another input, with what came in another order, or from
//! one of its steps on.

use super::changes::Change;
use super::pump::Pump;
use super::record::{Ended, Head};
use super::table::Open;
use crate::clock::Timestamp;
use crate::message::EventId;
use crate::store::file::bytes::Bytes;
use crate::workflow::WorkflowId;
use crate::workflow::anew::{cut, events_first, is_carried};
use crate::workflow::core::Numbers;
use crate::workflow::effect::End;
use crate::workflow::history::{Did, Entry};
use crate::workflow::id::MOST_STEPS;

impl Pump {
    /// It has ended, or begins anew.
    pub(super) fn ends(
        &mut self,
        id: WorkflowId,
        head: &Head,
        end: End,
        untaken: &[EventId],
        (told, next): (u32, u32),
    ) {
        self.forget(id);
        let names = self.domain.names(id);
        let continues = matches!(end, End::Continued(_));
        let kept = self.with_record(id, |record| {
            let is_untaken = |event| untaken.contains(&event);
            let is_carried =
                |number, entry| continues && is_carried(number, entry, told, is_untaken);
            let all = || record.entries().flatten().enumerate();
            self.link.stage_facts(|facts| {
                if !continues {
                    names.delete_head(facts);
                }
                record.facts.iter().for_each(|first| names.delete_steps(facts, *first));
                let gone = all().filter(|(number, (_, entry))| !is_carried(*number, entry));
                gone.for_each(|(_, (place, _))| names.delete_entry(facts, place));
            });
            let carried = all().filter(|(number, (_, entry))| is_carried(*number, entry));
            let carried = carried.map(|(_, (place, entry))| (place, entry.to_vec())).collect();
            (record.came, carried)
        });
        // Steps that were begun in this very turn have their fact in this commit.
        let staged: Vec<u32> = self
            .changes
            .iter()
            .filter_map(|change| match change {
                Change::Began { id: of, first: Some(first), .. } if *of == id => Some(*first),
                _ => None,
            })
            .collect();
        self.link
            .stage_facts(|facts| staged.iter().for_each(|first| names.delete_steps(facts, *first)));
        let Some((came, entries)) = kept else { return };
        if let End::Continued(input) = end {
            let first = if next > MOST_STEPS / 2 { 0 } else { next };
            let (input, run) = (input.into(), head.run + 1);
            let numbers = Numbers { first, ..Numbers::default() };
            let head = Head { input, run, numbers, held_back: false, ..head.clone() };
            self.link.stage_facts(|facts| names.put_head(facts, &head));
            let (steps, facts) = (Vec::new(), Vec::new());
            self.changes.push(Change::Anew { id, head, steps, facts, came, entries });
            return;
        }
        let ended = Ended::of(&end, Timestamp::now().as_millis(), head.only_one);
        if head.only_one {
            self.link.stage_facts(|facts| names.put_ended(facts, &ended));
        }
        if let Some((parent, step)) = head.parent
            && let Some(mediator) = self.seat.requests.mediators.of(parent.mediator())
        {
            let result = ended.how.clone().map(|output| output.to_vec());
            self.answers.push(mediator.answer(parent, step, result));
        }
        self.says_end(id, head, &ended, untaken.len());
        self.changes.push(Change::Ends { id, came, ended });
    }

    /// It may not end yet: what came is told to it before what it was told then.
    pub(super) fn holds_back(&mut self, id: WorkflowId, at: u32) {
        let names = self.domain.names(id);
        let anew = self.with_record(id, |record| {
            let all = record.entries().flatten().map(|(place, entry)| (place, entry.to_vec()));
            let entries = events_first(all.collect(), at);
            self.link.stage_facts(|facts| {
                let moved = at.saturating_sub(1) as usize;
                entries[moved..].iter().for_each(|(to, entry)| names.put_entry(facts, *to, entry));
            });
            let head = Head { held_back: true, ..(*record.head).clone() };
            (head, record.steps.clone(), record.facts.clone(), record.came, entries)
        });
        let Some((head, steps, facts, came, entries)) = anew else { return };
        self.link.stage_facts(|facts| names.put_head(facts, &head));
        self.changes.push(Change::Anew { id, head, steps, facts, came, entries });
    }

    /// All from that step on is done anew.
    pub(super) fn restart_from(&mut self, id: WorkflowId, step: u32) {
        let names = self.domain.names(id);
        let anew = self.with_record(id, |record| {
            let numbers = &record.head.numbers;
            let begun = Did::read(&record.steps).ok()?.begun;
            let cancelled = record.entries().flatten().any(|(_, entry)| is_cancelled(entry));
            let cut = cut(&begun, step, &numbers.restarts, cancelled)?;
            let mut restarts = numbers.restarts.to_vec();
            restarts.push(cut.restart);
            let numbers = Numbers { restarts: restarts.into(), ..*numbers };
            let head = Head { numbers, ..(*record.head).clone() };
            let mut steps = Vec::new();
            cut.kept.iter().for_each(|begun| begun.put(&mut steps));
            let all = record.entries().flatten().map(|(place, entry)| (place, entry.to_vec()));
            let (entries, gone): (Vec<_>, Vec<_>) = all.partition(|(_, entry)| cut.stays(entry));
            let first = cut.kept.first().map(|begun| begun.step);
            self.link.stage_facts(|facts| {
                names.put_head(facts, &head);
                record.facts.iter().for_each(|first| names.delete_steps(facts, *first));
                gone.iter().for_each(|(place, _)| names.delete_entry(facts, *place));
                if let Some(first) = first {
                    names.put_steps(facts, first, &[&[0], &steps[..]].concat());
                }
            });
            let facts = first.into_iter().collect();
            let of_cut = |open: &&Open| cut.gone.iter().any(|begun| begun.step == open.step);
            let gone: Vec<Open> = record.open.iter().filter(of_cut).cloned().collect();
            Some((Change::Anew { id, head, steps, facts, came: record.came, entries }, gone))
        });
        let Some((anew, gone)) = anew.flatten() else {
            // There is no such step any more: it goes on as it is.
            self.domain.shard(id).into_iter().for_each(|mut shard| shard.queue(id));
            return;
        };
        gone.iter().for_each(|open| self.abandons(id, open.step, open.kind, &open.name));
        self.changes.push(anew);
    }
}

fn is_cancelled(entry: &[u8]) -> bool {
    matches!(Entry::read(&mut Bytes(entry)), Ok(Entry::Cancelled | Entry::Compensate))
}
