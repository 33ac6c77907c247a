//! What a workflow has done, as it is kept: the steps that it has begun, each turn's in their order, and
//! what has come to it since, in the one order in which it is told. Pure.

use std::borrow::Cow;

use super::id::MOST_STEPS;
use crate::error::Failure;
use crate::message::{EventId, Key, interned};
use crate::store::file::bytes::{Bytes, Malformed, Read, put_bytes, put_number};

/// What kind of step that is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Call = 1,
    /// Makes up for what another step did.
    Undo = 2,
    Publish = 3,
    Sleep = 4,
    WaitFor = 5,
    /// Looks whether an event has come.
    Received = 6,
    Run = 7,
    Child = 8,
    Version = 9,
    Ask = 10,
}

impl Kind {
    const ALL: [Self; 10] = [
        Self::Call,
        Self::Undo,
        Self::Publish,
        Self::Sleep,
        Self::WaitFor,
        Self::Received,
        Self::Run,
        Self::Child,
        Self::Version,
        Self::Ask,
    ];

    /// As it is called in a workflow's code.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Call => "call",
            Self::Undo => "undo",
            Self::Publish => "publish",
            Self::Sleep => "sleep",
            Self::WaitFor => "wait_for",
            Self::Received => "received",
            Self::Run => "run",
            Self::Child => "child",
            Self::Version => "version",
            Self::Ask => "ask_person",
        }
    }

    /// Whether something is to come to it, sooner or later.
    pub(crate) fn waits(self) -> bool {
        !matches!(self, Self::Publish | Self::Received | Self::Version)
    }
}

/// A step that was begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Begun {
    /// In which turn.
    pub(crate) turn: u32,
    pub(crate) step: u32,
    pub(crate) kind: Kind,
    /// The name of what it sends or waits for, or the name that it was given.
    pub(crate) name: Cow<'static, str>,
    /// Of all else that it says.
    pub(crate) digest: u32,
    /// What the event must be about that it waits for.
    pub(crate) key: Option<Key>,
    /// When its time is over, in milliseconds since 1970.
    pub(crate) due: Option<u64>,
}

mod flag {
    pub(super) const KEY: u8 = 1;
    pub(super) const DUE: u8 = 2;
}

impl Begun {
    /// Whether code that comes to `other` does what it did then.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        (self.turn, self.step, self.kind, self.digest)
            == (other.turn, other.step, other.kind, other.digest)
            && self.name == other.name
    }

    /// As a person reads it.
    pub(crate) fn said(&self) -> String {
        format!("step {}: {} `{}`", self.step, self.kind.name(), self.name)
    }

    pub(crate) fn put(&self, into: &mut Vec<u8>) {
        let key = self.key.as_ref().map_or(0, |_| flag::KEY);
        let due = self.due.map_or(0, |_| flag::DUE);
        put_number(into, u64::from(self.turn));
        put_number(into, u64::from(self.step));
        into.extend([self.kind as u8, key | due]);
        put_bytes(into, self.name.as_bytes());
        into.extend(self.digest.to_le_bytes());
        if let Some(key) = &self.key {
            put_bytes(into, key.as_str().as_bytes());
        }
        if let Some(due) = self.due {
            put_number(into, due);
        }
    }

    fn read((turn, step, kind): (u32, u32, u8), read: &mut Bytes<'_>) -> Read<Self> {
        let flags = read.byte()?;
        let kind = Kind::ALL.into_iter().find(|of| *of as u8 == kind).ok_or(Malformed)?;
        let name = text(read.bytes()?)?;
        let name = match kind {
            // A question may be any.
            Kind::Ask => Cow::Owned(name.to_owned()),
            _ => match interned(name) {
                known if known == name => Cow::Borrowed(known),
                _ => Cow::Owned(name.to_owned()),
            },
        };
        let digest = read.u32()?;
        let key = if flags & flag::KEY == 0 { None } else { Some(Key::from(text(read.bytes()?)?)) };
        let due = if flags & flag::DUE == 0 { None } else { Some(read.number()?) };
        Ok(Self { turn, step, kind, name, digest, key, due })
    }
}

fn text(bytes: &[u8]) -> Read<&str> {
    str::from_utf8(bytes).map_err(|_| Malformed)
}

/// Something that came to a workflow. Each is told alone, and the workflow does all that follows from it
/// before the next one.
#[derive(Debug, Clone)]
pub(crate) enum Entry<'a> {
    /// A step has its result.
    Done { step: u32, result: &'a [u8] },
    /// A step failed, at that time in milliseconds since 1970. If it is to be tried again, that has been
    /// seen to, or not yet.
    Failed { step: u32, failure: Failure, at: u64, again: bool },
    /// A step's time is over.
    Over { step: u32 },
    /// An event came that it expects.
    Came { name: &'a str, key: Option<&'a str>, event: EventId, payload: &'a [u8] },
    /// Somebody wants it to end.
    Cancelled,
    /// Somebody wants it to make up for what it did, and to do nothing else.
    Compensate,
}

mod entry {
    pub(super) const DONE: u8 = 1;
    pub(super) const FAILED: u8 = 2;
    pub(super) const FAILED_AGAIN: u8 = 3;
    pub(super) const OVER: u8 = 4;
    pub(super) const CAME: u8 = 5;
    pub(super) const CANCELLED: u8 = 6;
    pub(super) const COMPENSATE: u8 = 7;
}

impl<'a> Entry<'a> {
    pub(crate) fn put(&self, into: &mut Vec<u8>) {
        match self {
            Self::Done { step, result } => {
                into.push(entry::DONE);
                put_number(into, u64::from(*step));
                into.extend_from_slice(result);
            }
            Self::Failed { step, failure, at, again } => {
                into.push(if *again { entry::FAILED_AGAIN } else { entry::FAILED });
                put_number(into, u64::from(*step));
                put_number(into, *at);
                into.push(u8::from(failure.is_permanent()));
                put_bytes(into, failure.named_reason().unwrap_or_default().as_bytes());
                put_number(into, failure.chain().len() as u64);
                failure.chain().iter().for_each(|said| put_bytes(into, said.as_bytes()));
            }
            Self::Over { step } => {
                into.push(entry::OVER);
                put_number(into, u64::from(*step));
            }
            Self::Came { name, key, event, payload } => {
                into.push(entry::CAME);
                put_bytes(into, name.as_bytes());
                into.push(u8::from(key.is_some()));
                if let Some(key) = key {
                    put_bytes(into, key.as_bytes());
                }
                into.extend(event.0.to_le_bytes());
                put_bytes(into, payload);
            }
            Self::Cancelled => into.push(entry::CANCELLED),
            Self::Compensate => into.push(entry::COMPENSATE),
        }
    }

    pub(crate) fn read(read: &mut Bytes<'a>) -> Read<Self> {
        let kind = read.byte()?;
        let step = |read: &mut Bytes<'a>| read.length(MOST_STEPS as usize).map(|step| step as u32);
        Ok(match kind {
            entry::DONE => {
                let step = step(read)?;
                Self::Done { step, result: read.take(read.0.len())? }
            }
            entry::FAILED | entry::FAILED_AGAIN => {
                let (step, at) = (step(read)?, read.number()?);
                let permanent = read.byte()? != 0;
                let reason = text(read.bytes()?)?;
                let reason = (!reason.is_empty()).then(|| interned(reason));
                let said = read.length(read.0.len())?;
                let chain = (0..said).map(|_| Ok(text(read.bytes()?)?.to_owned()));
                let failure = Failure::restored(permanent, reason, chain.collect::<Read<_>>()?);
                Self::Failed { step, failure, at, again: kind == entry::FAILED_AGAIN }
            }
            entry::OVER => Self::Over { step: step(read)? },
            entry::CAME => {
                let name = text(read.bytes()?)?;
                let key = if read.byte()? == 0 { None } else { Some(text(read.bytes()?)?) };
                let event = EventId(u128::from(read.u64()?) | u128::from(read.u64()?) << 64);
                Self::Came { name, key, event, payload: read.bytes()? }
            }
            entry::CANCELLED => Self::Cancelled,
            entry::COMPENSATE => Self::Compensate,
            _ => return Err(Malformed),
        })
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.put(&mut bytes);
        bytes
    }

    /// As [`Entry::Done`] is put, its result to be put behind it.
    pub(crate) fn put_done(into: &mut Vec<u8>, step: u32) {
        Self::Done { step, result: &[] }.put(into);
    }

    /// An entry that failed, and has been tried again since; as bytes.
    pub(crate) fn was_tried_again(bytes: &mut [u8]) {
        if let Some(kind) = bytes.first_mut().filter(|kind| **kind == entry::FAILED) {
            *kind = entry::FAILED_AGAIN;
        }
    }

    /// Whether these bytes say that an event came.
    pub(crate) fn is_event(bytes: &[u8]) -> bool {
        bytes.first() == Some(&entry::CAME)
    }
}

/// Nobody waits for a step any more.
const GONE: u8 = 0;

/// Says that nobody waits for that step any more, after that turn; for whoever does not know the code.
pub(crate) fn put_gone(turn: u32, step: u32, into: &mut Vec<u8>) {
    put_number(into, u64::from(turn));
    put_number(into, u64::from(step));
    into.push(GONE);
}

/// What a workflow did, as it is kept.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Did {
    /// The steps that it began, in their order.
    pub(crate) begun: Vec<Begun>,
    /// Those for which it waits no more, although nothing came that says so.
    pub(crate) gone: Vec<u32>,
    /// The first turn of all that.
    pub(crate) turn: u32,
}

impl Did {
    pub(crate) fn read(bytes: &[u8]) -> Read<Self> {
        let (mut read, mut did) = (Bytes(bytes), Self { turn: u32::MAX, ..Self::default() });
        while !read.is_empty() {
            let turn = read.length(u32::MAX as usize)? as u32;
            let step = read.length(MOST_STEPS as usize)? as u32;
            did.turn = did.turn.min(turn);
            match read.byte()? {
                GONE => did.gone.push(step),
                kind => did.begun.push(Begun::read((turn, step, kind), &mut read)?),
            }
        }
        Ok(did)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn begun() -> impl Strategy<Value = Begun> {
        let numbers = (any::<u32>(), 0..=MOST_STEPS, 0..Kind::ALL.len(), any::<u32>());
        (numbers, "[a-z.]{0,12}", any::<Option<u64>>(), any::<Option<u64>>()).prop_map(
            |((turn, step, kind, digest), name, key, due)| Begun {
                turn,
                step,
                kind: Kind::ALL[kind],
                name: Cow::Owned(name),
                digest,
                key: key.map(Key::from),
                due,
            },
        )
    }

    proptest! {
        #[test]
        fn steps_come_back(steps in prop::collection::vec(begun(), 0..6)) {
            let mut bytes = Vec::new();
            steps.iter().for_each(|step| step.put(&mut bytes));
            let turn = steps.iter().map(|step| step.turn).min().unwrap_or(u32::MAX);
            put_gone(u32::MAX, 7, &mut bytes);
            prop_assert_eq!(Did::read(&bytes), Ok(Did { begun: steps, gone: vec![7], turn }));
        }

        #[test]
        fn entries_come_back(step in 0..=MOST_STEPS, bytes: Vec<u8>, said: Vec<String>, at: u64, id: u128) {
            let failure = Failure::restored(at % 2 == 0, None, said);
            let all = [
                Entry::Done { step, result: &bytes },
                Entry::Failed { step, failure, at, again: false },
                Entry::Over { step },
                Entry::Came { name: "a.b", key: Some("k"), event: EventId(id), payload: &bytes },
                Entry::Cancelled,
                Entry::Compensate,
            ];
            for entry in all {
                let mut put = Vec::new();
                entry.put(&mut put);
                let read = Entry::read(&mut Bytes(&put)).unwrap();
                prop_assert_eq!(format!("{read:?}"), format!("{entry:?}"));
            }
        }

        #[test]
        fn any_bytes_are_read_to_an_end(bytes: Vec<u8>) {
            let _ = Did::read(&bytes);
            let _ = Entry::read(&mut Bytes(&bytes));
        }
    }

    #[test]
    fn a_failure_that_was_seen_to_says_so() {
        let mut bytes = Vec::new();
        let failure = Failure::transient("no").reason("busy");
        Entry::Failed { step: 3, failure, at: 9, again: false }.put(&mut bytes);
        Entry::was_tried_again(&mut bytes);
        let Entry::Failed { again, failure, .. } = Entry::read(&mut Bytes(&bytes)).unwrap() else {
            panic!()
        };
        assert!(again && failure.named_reason() == Some("busy"));
    }
}
