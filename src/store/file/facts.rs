//! What all facts of a log add up to: the last value of each name. Pure.

use std::collections::BTreeMap;
use std::ops::Bound;

use super::bytes::{Bytes, Read};
use super::record::{FactKind, Record};
use super::workflows::{Workflow, Workflows, of_workflow};

/// Names and their values, in the order of the names.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Facts {
    all: BTreeMap<Box<[u8]>, Box<[u8]>>,
    /// Those about workflows, of which there may be very many, by their mediators.
    workflows: BTreeMap<u32, Workflows>,
}

impl Facts {
    pub(crate) fn apply(&mut self, record: &Record<'_>) {
        match record {
            Record::Put { name, value } => {
                if !self.apply_to_workflow(name, Some(value)) {
                    self.all.insert((*name).into(), (*value).into());
                }
            }
            Record::Delete { name } => {
                if !self.apply_to_workflow(name, None) {
                    self.all.remove(*name);
                }
            }
            Record::Events(_) => {}
        }
    }

    /// False if that is about something else.
    fn apply_to_workflow(&mut self, name: &[u8], value: Option<&[u8]>) -> bool {
        let Some((kind, number, id, rest)) = of_workflow(name) else { return false };
        let workflows = self.workflows.entry(number).or_default();
        let of = workflows.entry(id).or_default();
        if of.apply(kind, rest, value) && of.is_empty() {
            workflows.swap_remove(&id);
        }
        true
    }

    /// All that is known of a mediator's workflows: whoever has asked for it has it.
    pub(crate) fn take_workflows(&mut self, number: u32) -> Workflows {
        self.workflows.remove(&number).unwrap_or_default()
    }

    /// The numbers of all mediators that have workflows.
    pub(crate) fn mediators(&self) -> impl Iterator<Item = u32> + '_ {
        self.workflows.iter().filter(|(_, all)| !all.is_empty()).map(|(number, _)| *number)
    }

    /// All workflows of all mediators.
    pub(crate) fn workflows(&self) -> impl Iterator<Item = &Workflow> {
        self.workflows.values().flat_map(Workflows::values)
    }

    pub(crate) fn get(&self, name: &[u8]) -> Option<&[u8]> {
        self.all.get(name).map(|value| &**value)
    }

    /// Forgets all that is said of a subscription: whoever has asked for it has it.
    pub(crate) fn forget_subscription(&mut self, number: u32) {
        let kinds = FactKind::ALL.into_iter().filter(|kind| kind.is_of_a_subscription());
        for kind in kinds {
            let name = |number| Box::<[u8]>::from(name_of(kind, number));
            let all = name(number)..name(number + 1);
            self.all.extract_if(all, |_, _| true).for_each(drop);
        }
        self.workflows.remove(&number);
    }

    /// All of one kind; their names without what says the kind.
    pub(crate) fn of(&self, kind: FactKind) -> impl Iterator<Item = (Bytes<'_>, &[u8])> {
        let (from, to) = ([kind as u8], [kind as u8 + 1]);
        let range = self.all.range::<[u8], _>(between(&from, &to));
        range.map(|(name, value)| (Bytes(&name[1..]), &value[..]))
    }

    /// All of one kind whose names begin with that number.
    pub(crate) fn under(
        &self,
        kind: FactKind,
        number: u32,
    ) -> impl Iterator<Item = (Bytes<'_>, &[u8])> {
        let from = name_of(kind, number);
        let to = name_of(kind, number + 1);
        let range = self.all.range::<[u8], _>(between(&from, &to));
        range.map(|(name, value)| (Bytes(&name[5..]), &value[..]))
    }
}

fn between<'a>(from: &'a [u8], to: &'a [u8]) -> (Bound<&'a [u8]>, Bound<&'a [u8]>) {
    (Bound::Included(from), Bound::Excluded(to))
}

/// The name of a fact about something that has a number; numbers are in their order.
pub(crate) fn name_of(kind: FactKind, number: u32) -> [u8; 5] {
    let [a, b, c, d] = number.to_be_bytes();
    [kind as u8, a, b, c, d]
}

/// The name of a fact about something at a position.
pub(crate) fn name_at(kind: FactKind, number: u32, position: u64) -> [u8; 13] {
    let mut name = [0; 13];
    name[..5].copy_from_slice(&name_of(kind, number));
    name[5..].copy_from_slice(&position.to_be_bytes());
    name
}

/// A number as it stands in a name.
pub(crate) fn number_in(name: &mut Bytes<'_>) -> Read<u32> {
    Ok(name.u32()?.swap_bytes())
}

/// A position as it stands in a name.
pub(crate) fn position_in(name: &mut Bytes<'_>) -> Read<u64> {
    Ok(name.u64()?.swap_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_value_of_each_name_counts_and_numbers_are_in_order() {
        let mut facts = Facts::default();
        for number in [300u32, 2, 70_000] {
            for value in [b"old", b"new"] {
                let name = name_of(FactKind::Channel, number);
                facts.apply(&Record::Put { name: &name, value });
            }
        }
        facts.apply(&Record::Delete { name: &name_of(FactKind::Channel, 2) });
        let other = name_at(FactKind::Held, 300, 7);
        facts.apply(&Record::Put { name: &other, value: b"" });
        let all: Vec<_> = facts.of(FactKind::Channel).collect();
        let all: Vec<_> =
            all.into_iter().map(|(mut name, of)| (number_in(&mut name), of)).collect();
        assert_eq!(all, [(Ok(300), &b"new"[..]), (Ok(70_000), b"new")]);
        let held: Vec<_> = facts.under(FactKind::Held, 300).collect();
        assert_eq!(held.len(), 1);
        assert_eq!(position_in(&mut held[0].0.clone()), Ok(7));
        assert_eq!(facts.under(FactKind::Held, 299).count(), 0);
    }
}
