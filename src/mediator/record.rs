//! What the log has of a mediator's workflows, as facts: what began each, the steps that it began, what came
//! to it, how it ended. Pure.

use crate::error::Failure;
use crate::message::{EventId, Key, interned};
use crate::store::file::bytes::{Bytes, Malformed, Read, put_bytes, put_number};
use crate::store::file::facts::{Facts, name_of};
use crate::store::file::record::{FactKind, put_deleted, put_fact};
use crate::store::file::workflows::Place;
use crate::workflow::WorkflowId;
use crate::workflow::anew::Restart;
use crate::workflow::core::Numbers;
use crate::workflow::effect::End;

/// What began a workflow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) workflow: &'static str,
    pub(crate) version: u32,
    pub(crate) input: Box<[u8]>,
    /// What it is about.
    pub(crate) key: Option<Key>,
    pub(crate) correlation: EventId,
    /// In milliseconds since 1970.
    pub(crate) started: u64,
    /// Whose step waits for its end.
    pub(crate) parent: Option<(WorkflowId, u32)>,
    /// There is to be one of its key: that it was there is known when it has ended.
    pub(crate) only_one: bool,
    /// How often it has begun anew, and how its steps are numbered since.
    pub(crate) run: u32,
    pub(crate) numbers: Numbers,
    /// It was not let go once, because something had come that it had not taken.
    pub(crate) held_back: bool,
}

mod flag {
    pub(super) const KEY: u8 = 1;
    pub(super) const PARENT: u8 = 2;
    pub(super) const ONLY_ONE: u8 = 4;
    pub(super) const HELD_BACK: u8 = 8;
    pub(super) const RESTARTED: u8 = 16;
}

fn small(read: &mut Bytes<'_>) -> Read<u32> {
    read.length(u32::MAX as usize).map(|number| number as u32)
}

fn text<'a>(read: &mut Bytes<'a>) -> Read<&'a str> {
    str::from_utf8(read.bytes()?).map_err(|_| Malformed)
}

fn put_id(into: &mut Vec<u8>, id: u128) {
    into.extend(id.to_le_bytes());
}

fn id(read: &mut Bytes<'_>) -> Read<u128> {
    Ok(u128::from(read.u64()?) | u128::from(read.u64()?) << 64)
}

impl Head {
    pub(crate) fn write(&self) -> Vec<u8> {
        let mut into = Vec::with_capacity(64 + self.input.len());
        let flags = self.key.as_ref().map_or(0, |_| flag::KEY)
            | self.parent.map_or(0, |_| flag::PARENT)
            | if self.only_one { flag::ONLY_ONE } else { 0 }
            | if self.held_back { flag::HELD_BACK } else { 0 }
            | if self.numbers.restarts.is_empty() { 0 } else { flag::RESTARTED };
        into.push(flags);
        put_bytes(&mut into, self.workflow.as_bytes());
        for number in [self.version, self.run, self.numbers.first] {
            put_number(&mut into, u64::from(number));
        }
        put_id(&mut into, self.correlation.0);
        put_number(&mut into, self.started);
        if let Some(key) = &self.key {
            put_bytes(&mut into, key.as_str().as_bytes());
        }
        if let Some((parent, step)) = self.parent {
            put_id(&mut into, parent.0);
            put_number(&mut into, u64::from(step));
        }
        if let restarts @ [_, ..] = &*self.numbers.restarts {
            put_number(&mut into, restarts.len() as u64);
            for Restart { at, to, turn } in restarts {
                let turn = turn.map_or(0, |turn| u64::from(turn) + 1);
                [u64::from(*at), u64::from(*to), turn]
                    .into_iter()
                    .for_each(|number| put_number(&mut into, number));
            }
        }
        into.extend_from_slice(&self.input);
        into
    }

    pub(crate) fn read(bytes: &[u8]) -> Read<Self> {
        let read = &mut Bytes(bytes);
        let flags = read.byte()?;
        let workflow = interned(text(read)?);
        let [version, run, first] = [small(read)?, small(read)?, small(read)?];
        let (correlation, started) = (EventId(id(read)?), read.number()?);
        let key = if flags & flag::KEY == 0 { None } else { Some(Key::from(text(read)?)) };
        let parent = match flags & flag::PARENT {
            0 => None,
            _ => Some((WorkflowId(id(read)?), small(read)?)),
        };
        let restarts = match flags & flag::RESTARTED {
            0 => 0,
            _ => read.length(read.0.len())?,
        };
        let restart = |_| {
            let (at, to, turn) = (small(read)?, small(read)?, read.number()?);
            let turn = turn.checked_sub(1).and_then(|turn| u32::try_from(turn).ok());
            Ok(Restart { at, to, turn })
        };
        let restarts = (0..restarts).map(restart).collect::<Read<_>>()?;
        Ok(Self {
            workflow,
            version,
            input: read.0.into(),
            key,
            correlation,
            started,
            parent,
            only_one: flags & flag::ONLY_ONE != 0,
            run,
            numbers: Numbers { first, restarts },
            held_back: flags & flag::HELD_BACK != 0,
        })
    }
}

#[cfg(test)]
impl Head {
    /// Some workflow's.
    pub(super) fn of_some() -> Self {
        Self {
            workflow: "rebook",
            version: 1,
            input: Box::default(),
            key: None,
            correlation: EventId(1),
            started: 0,
            parent: None,
            only_one: false,
            run: 0,
            numbers: Numbers::default(),
            held_back: false,
        }
    }
}

/// How a workflow ended, for whoever asks later.
#[derive(Debug, Clone)]
pub(crate) struct Ended {
    /// In milliseconds since 1970.
    pub(crate) at: u64,
    /// Its output, or why there is none.
    pub(crate) how: Result<Box<[u8]>, Failure>,
    pub(crate) cancelled: bool,
    /// The log knows it.
    pub(crate) kept: bool,
}

impl Ended {
    pub(crate) fn of(end: &End, at: u64, kept: bool) -> Self {
        let how = match end {
            End::Completed(output) | End::Continued(output) => Ok(output.as_slice().into()),
            End::Failed(failure) | End::Cancelled(failure) => Err(failure.clone()),
        };
        Self { at, how, cancelled: matches!(end, End::Cancelled(_)), kept }
    }

    pub(crate) fn write(&self) -> Vec<u8> {
        let mut into = Vec::new();
        put_number(&mut into, self.at);
        match &self.how {
            Ok(output) => {
                into.push(0);
                into.extend_from_slice(output);
            }
            Err(failure) => {
                into.push(if self.cancelled { 2 } else { 1 });
                failure.chain().iter().for_each(|said| put_bytes(&mut into, said.as_bytes()));
            }
        }
        into
    }

    pub(crate) fn read(bytes: &[u8]) -> Read<Self> {
        let read = &mut Bytes(bytes);
        let at = read.number()?;
        let kind = read.byte()?;
        if kind == 0 {
            return Ok(Self { at, how: Ok(read.0.into()), cancelled: false, kept: true });
        }
        let mut chain = Vec::new();
        while !read.is_empty() {
            chain.push(text(read)?.to_owned());
        }
        let how = Err(Failure::restored(true, None, chain));
        Ok(Self { at, how, cancelled: kind == 2, kept: true })
    }
}

/// The names of one workflow's facts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Names {
    pub(crate) mediator: u32,
    pub(crate) id: WorkflowId,
}

impl Names {
    fn name(self, kind: FactKind, rest: &[u8]) -> Vec<u8> {
        [&name_of(kind, self.mediator)[..], &self.id.0.to_be_bytes(), rest].concat()
    }

    fn entry(self, place: Place) -> Vec<u8> {
        self.name(FactKind::Entry, &place.to_be_bytes())
    }

    pub(crate) fn put_head(self, into: &mut Vec<u8>, head: &Head) {
        put_fact(into, &self.name(FactKind::Workflow, &[]), &head.write());
    }

    pub(crate) fn put_steps(self, into: &mut Vec<u8>, number: u32, steps: &[u8]) {
        put_fact(into, &self.name(FactKind::Steps, &number.to_be_bytes()), steps);
    }

    pub(crate) fn put_entry(self, into: &mut Vec<u8>, place: Place, entry: &[u8]) {
        put_fact(into, &self.entry(place), entry);
    }

    pub(crate) fn delete_entry(self, into: &mut Vec<u8>, place: Place) {
        put_deleted(into, &self.entry(place));
    }

    pub(crate) fn delete_steps(self, into: &mut Vec<u8>, number: u32) {
        put_deleted(into, &self.name(FactKind::Steps, &number.to_be_bytes()));
    }

    pub(crate) fn delete_head(self, into: &mut Vec<u8>) {
        put_deleted(into, &self.name(FactKind::Workflow, &[]));
    }

    pub(crate) fn put_ended(self, into: &mut Vec<u8>, ended: &Ended) {
        put_fact(into, &self.name(FactKind::Ended, &[]), &ended.write());
    }

    pub(crate) fn delete_ended(self, into: &mut Vec<u8>) {
        put_deleted(into, &self.name(FactKind::Ended, &[]));
    }
}

/// The place of the next answer, behind all that a log knows.
pub(crate) fn next_place(facts: &Facts) -> Place {
    let entries = facts.workflows().flat_map(|workflow| &workflow.entries);
    entries.map(|(place, _)| place + 1).max().unwrap_or(0)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_began_a_workflow_comes_back(
            name: String, input: Vec<u8>, key: Option<String>, numbers: [u32; 3], flags: [bool; 2], of: Option<(u128, u32)>,
            restarts: Vec<(u32, u32, Option<u32>)>,
        ) {
            let restarts = restarts.into_iter().map(|(at, to, turn)| Restart { at, to, turn }).collect();
            let head = Head {
                workflow: interned(&name),
                version: numbers[0],
                input: input.into(),
                key: key.map(Key::from),
                correlation: EventId(u128::from(numbers[2]) << 70),
                started: u64::from(numbers[1]) << 20,
                parent: of.map(|(id, step)| (WorkflowId(id), step)),
                only_one: flags[0],
                run: numbers[1],
                numbers: Numbers { first: numbers[2], restarts },
                held_back: flags[1],
            };
            prop_assert_eq!(Head::read(&head.write()), Ok(head));
        }

        #[test]
        fn any_bytes_are_read_to_an_end(bytes: Vec<u8>) {
            let _ = (Head::read(&bytes), Ended::read(&bytes));
        }
    }

    #[test]
    fn how_it_ended_comes_back() {
        let failed = Ended::of(&End::Cancelled(Failure::permanent("no")), 9, true);
        let read = Ended::read(&failed.write()).unwrap();
        assert!(read.cancelled && read.at == 9 && read.how.unwrap_err().chain() == ["no"]);
        let done = Ended::of(&End::Completed(vec![1, 2]), 9, true);
        assert_eq!(Ended::read(&done.write()).unwrap().how.unwrap()[..], [1, 2]);
    }
}
