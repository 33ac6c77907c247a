//! How a workflow ends, and how it begins anew: with another input, with what came in another order, or from
//! one of its steps on.

use super::changes::Change;
use super::pump::Pump;
use super::record::{Ended, Head, Place};
use crate::clock::Timestamp;
use crate::message::EventId;
use crate::store::file::bytes::Bytes;
use crate::workflow::WorkflowId;
use crate::workflow::effect::End;
use crate::workflow::history::{Entry, read_begun};
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
        let kept = self.with_record(id, |record| {
            let mut carried: Vec<(Place, Vec<u8>)> = Vec::new();
            // What it has not taken, or not even been told, and is not about a step.
            let is_carried = |number: usize, entry: &[u8]| match Entry::read(&mut Bytes(entry)) {
                Ok(Entry::Came { event, .. }) => {
                    untaken.contains(&event) || number >= told as usize
                }
                Ok(Entry::Cancelled | Entry::Compensate) => number >= told as usize,
                _ => false,
            };
            let continues = matches!(end, End::Continued(_));
            self.link.stage_facts(|facts| {
                if !continues {
                    names.delete_head(facts);
                }
                record.facts.iter().for_each(|first| names.delete_steps(facts, *first));
                for (number, (place, entry)) in record.entries().flatten().enumerate() {
                    if !(continues && is_carried(number, entry)) {
                        names.delete_entry(facts, place);
                    }
                }
            });
            if continues {
                let all = record.entries().flatten().enumerate();
                let all = all.filter(|(number, (_, entry))| is_carried(*number, entry));
                carried.extend(all.map(|(_, (place, entry))| (place, entry.to_vec())));
            }
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
            let head = Head { input, run, first, held_back: false, ..head.clone() };
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
            let all: Vec<(Place, Vec<u8>)> =
                record.entries().flatten().map(|(place, entry)| (place, entry.to_vec())).collect();
            let (mut before, since) = (all[..at as usize].to_vec(), &all[at as usize..]);
            let trigger = before.pop();
            let order = trigger.as_ref().map_or(0, |(place, _)| place.order);
            let (mut moved, mut rest) = (Vec::new(), Vec::new());
            for (place, entry) in since {
                let within = u8::try_from(moved.len()).unwrap_or(u8::MAX - 1).min(u8::MAX - 1);
                match Entry::is_event(entry) {
                    true => {
                        let to = Place { order, within };
                        self.link.stage_facts(|facts| {
                            names.delete_entry(facts, *place);
                            names.put_entry(facts, to, entry);
                        });
                        moved.push((to, entry.clone()));
                    }
                    false => rest.push((*place, entry.clone())),
                }
            }
            before.extend(moved);
            before.extend(trigger);
            before.extend(rest);
            let head = Head { held_back: true, ..(*record.head).clone() };
            (head, record.steps.clone(), record.facts.clone(), record.came, before)
        });
        let Some((head, steps, facts, came, entries)) = anew else { return };
        self.link.stage_facts(|facts| names.put_head(facts, &head));
        self.changes.push(Change::Anew { id, head, steps, facts, came, entries });
    }

    /// All from that step on is done anew.
    pub(super) fn restart_from(&mut self, id: WorkflowId, step: u32) {
        let names = self.domain.names(id);
        let anew = self.with_record(id, |record| {
            let begun = read_begun(&record.steps).unwrap_or_default();
            let cut = begun.iter().find(|begun| begun.step >= step).map(|begun| begun.turn);
            let kept: Vec<_> =
                begun.into_iter().filter(|begun| cut.is_none_or(|cut| begun.turn < cut)).collect();
            let is_kept = |step: u32| kept.iter().any(|begun| begun.step == step);
            let stays = |entry: &[u8]| match Entry::read(&mut Bytes(entry)) {
                Ok(
                    Entry::Done { step, .. } | Entry::Failed { step, .. } | Entry::Over { step },
                ) => is_kept(step),
                Ok(Entry::Came { .. }) => true,
                Ok(Entry::Cancelled | Entry::Compensate) | Err(_) => false,
            };
            let mut steps = Vec::new();
            kept.iter().for_each(|begun| begun.put(&mut steps));
            let first = kept.first().map(|begun| begun.step);
            let all = record.entries().flatten().map(|(place, entry)| (place, entry.to_vec()));
            let (entries, gone): (Vec<_>, Vec<_>) = all.partition(|(_, entry)| stays(entry));
            self.link.stage_facts(|facts| {
                record.facts.iter().for_each(|first| names.delete_steps(facts, *first));
                gone.iter().for_each(|(place, _)| names.delete_entry(facts, *place));
                if let Some(first) = first {
                    names.put_steps(facts, first, &[&[0], &steps[..]].concat());
                }
            });
            let facts = first.into_iter().collect();
            ((*record.head).clone(), steps, facts, record.came, entries)
        });
        let Some((head, steps, facts, came, entries)) = anew else { return };
        self.changes.push(Change::Anew { id, head, steps, facts, came, entries });
    }
}
