//! What the facts of a log say of each workflow. Pure.

use indexmap::IndexMap;

use super::record::FactKind;

/// The workflows of one mediator, by their ids.
/// In the order in which they are known, which is that in which they lie in memory.
pub(crate) type Workflows = IndexMap<u128, Workflow, foldhash::fast::FixedState>;

/// What is known of one workflow.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Workflow {
    pub(crate) head: Option<Box<[u8]>>,
    /// By the number of the first step of each.
    pub(crate) steps: Vec<(u32, Box<[u8]>)>,
    /// By their places.
    pub(crate) entries: Vec<(Place, Box<[u8]>)>,
    pub(crate) ended: Option<Box<[u8]>>,
}

/// A place in the one order of all that came to workflows.
pub(crate) type Place = u64;

/// A fact about a workflow: of what kind, of which mediator, of which workflow, and the rest of its name.
pub(super) fn of_workflow(name: &[u8]) -> Option<(FactKind, u32, u128, &[u8])> {
    let kind = FactKind::of(name).filter(|kind| {
        matches!(kind, FactKind::Workflow | FactKind::Steps | FactKind::Entry | FactKind::Ended)
    })?;
    let (number, rest) = name.get(1..)?.split_first_chunk()?;
    let (id, rest) = rest.split_first_chunk()?;
    Some((kind, u32::from_be_bytes(*number), u128::from_be_bytes(*id), rest))
}

/// The last value of a name counts. Nearly always it is a new one, behind all others.
fn put<N: Copy + PartialEq>(all: &mut Vec<(N, Box<[u8]>)>, name: N, value: Option<&[u8]>) {
    let known = all.iter().rposition(|(of, _)| *of == name);
    match (known, value) {
        (Some(known), Some(value)) => all[known].1 = value.into(),
        (Some(known), None) => drop(all.remove(known)),
        (None, Some(value)) => {
            if all.is_empty() {
                all.reserve_exact(1);
            }
            all.push((name, value.into()));
        }
        (None, None) => {}
    }
}

impl Workflow {
    /// True if something is gone.
    pub(super) fn apply(&mut self, kind: FactKind, rest: &[u8], value: Option<&[u8]>) -> bool {
        match kind {
            FactKind::Steps => {
                if let Ok(number) = rest.try_into().map(u32::from_be_bytes) {
                    put(&mut self.steps, number, value);
                }
            }
            FactKind::Entry => {
                if let Ok(place) = rest.try_into().map(Place::from_be_bytes) {
                    put(&mut self.entries, place, value);
                }
            }
            FactKind::Ended => self.ended = value.map(Into::into),
            _ => self.head = value.map(Into::into),
        }
        value.is_none()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.head.is_none()
            && self.steps.is_empty()
            && self.entries.is_empty()
            && self.ended.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::super::facts::Facts;
    use super::super::record::Record;
    use super::*;

    fn name(kind: FactKind, rest: &[u8]) -> Vec<u8> {
        [&[kind as u8][..], &7u32.to_be_bytes(), &9u128.to_be_bytes(), rest].concat()
    }

    #[test]
    fn what_is_known_of_a_workflow_is_together_until_all_of_it_is_gone() {
        let mut facts = Facts::default();
        let place: Place = 0x0102;
        let names = [
            name(FactKind::Workflow, &[]),
            name(FactKind::Steps, &3u32.to_be_bytes()),
            name(FactKind::Entry, &place.to_be_bytes()),
        ];
        for value in [b"old", b"new"] {
            names.iter().for_each(|name| facts.apply(&Record::Put { name, value }));
        }
        let known = facts.workflows().next().cloned().unwrap_or_default();
        assert_eq!(known.head.as_deref(), Some(&b"new"[..]));
        assert_eq!(known.steps, [(3, b"new"[..].into())]);
        assert_eq!(known.entries, [(place, b"new"[..].into())]);
        let mut taken = facts.clone();
        assert_eq!(taken.take_workflows(7).len(), 1);
        assert_eq!((taken.take_workflows(7).len(), taken.take_workflows(8).len()), (0, 0));
        names.iter().for_each(|name| facts.apply(&Record::Delete { name }));
        assert_eq!(facts.workflows().count(), 0);
    }
}
