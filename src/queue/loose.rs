//! One message on its own, whose type only it knows: made in one place, published in another.

use super::batch::Events;
use super::form::Form;
use crate::clock::Timestamp;
use crate::error::{Failure, Outcome};
use crate::message::envelope::{Origin, TopicId};
use crate::message::{Declared, EventId, Key, Message, codec, weight_of};
use crate::store::LARGEST_EVENT;
use crate::store::file::events::Entry;

/// A message that somebody is about to publish.
pub(crate) trait Loose {
    fn declared(&self) -> Declared;

    /// Its bytes, as they are stored.
    fn payload(&self) -> &[u8];

    /// In bytes: as what it is, or as what the log gets.
    fn weight(&self, stored: bool) -> u64;

    /// The same once more.
    fn another(&self) -> Outcome<Box<dyn Loose>>;

    /// Puts it behind others; to be stored, if it is to be.
    fn push(self: Box<Self>, into: &mut Events, place: Place<'_>);
}

/// As what it is published.
pub(crate) struct Place<'a> {
    pub(crate) topic: TopicId,
    pub(crate) id: EventId,
    pub(crate) origin: &'a Origin,
    pub(crate) now: Timestamp,
    pub(crate) stored: bool,
}

struct Single<E> {
    message: E,
    payload: Vec<u8>,
    key: Option<Key>,
    weight: u64,
}

/// A message on its own. `Serialize`, `key` and `weight` are code of the application.
pub(crate) fn loose<E: Message>(message: E) -> Outcome<Box<dyn Loose>> {
    let payload = codec::encode(&message)?;
    if payload.len() > LARGEST_EVENT {
        let most = LARGEST_EVENT >> 20;
        let text =
            format!("`{}` is of more than {most} MiB: send where it is, not what it is", E::NAME);
        return Err(Failure::permanent(text).reason("too_large"));
    }
    let (key, weight) = (message.key(), weight_of(&message));
    Ok(Box::new(Single { message, payload, key, weight }))
}

impl<E: Message> Single<E> {
    fn key_bytes(&self) -> Option<&[u8]> {
        self.key.as_ref().map(|key| key.as_str().as_bytes())
    }
}

impl<E: Message> Loose for Single<E> {
    fn declared(&self) -> Declared {
        Declared::of::<E>()
    }

    fn payload(&self) -> &[u8] {
        &self.payload
    }

    fn weight(&self, stored: bool) -> u64 {
        match stored {
            true => Entry::size(self.key_bytes().map(<[u8]>::len), self.payload.len()) as u64,
            false => self.weight,
        }
    }

    fn another(&self) -> Outcome<Box<dyn Loose>> {
        let message: E = codec::decode(&self.payload)?;
        let (payload, key) = (self.payload.clone(), self.key.clone());
        Ok(Box::new(Self { message, payload, key, weight: self.weight }))
    }

    fn push(self: Box<Self>, into: &mut Events, place: Place<'_>) {
        let Place { topic, id, origin, now, stored } = place;
        let mut bytes = Vec::new();
        let form = match stored {
            true => {
                Entry { key: self.key_bytes(), payload: &self.payload }.put(&mut bytes);
                Form::Stored { bytes: &bytes, ends: &[], cut: 0 }
            }
            false => Form::Values { each: self.weight },
        };
        into.push(topic, std::iter::once(self.message), form, id, origin, || now);
    }
}
