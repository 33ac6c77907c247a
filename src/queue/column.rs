//! The events of one type within a batch: no box and no `Arc` per event, one vector.

use std::any::Any;
use std::ops::Range;

use super::form::Form;
use crate::error::Outcome;
use crate::message::{Key, Message, codec};
use crate::store::file::events::{Entries, Entry};

/// At most so many bytes get their place before they are there.
const MOST_BYTES_EXPECTED: usize = 1 << 18;

/// The events of one type within a batch, known by their type only to who put them in and who
/// handles them.
pub(crate) trait Column: Any + Send + Sync {
    fn key(&self, index: usize) -> Option<Key>;
    fn encode(&self, index: usize) -> Outcome<Vec<u8>>;
    fn weight(&self, range: Range<usize>) -> u64;
    fn split_off(&mut self, at: usize) -> Box<dyn Column>;
    fn append(&mut self, other: &mut dyn Column);
    fn needs_drop(&self) -> bool;
    /// Drops the last event; its `Drop` may panic.
    fn drop_last(&mut self);
}

/// A column of a known type.
pub(crate) struct Typed<E> {
    pub(crate) events: Vec<E>,
    /// Only if some event says another weight than its size.
    weights: Vec<u64>,
}

impl<E: Message> Typed<E> {
    pub(super) fn with_capacity(events: usize) -> Self {
        let events = events.min(MOST_BYTES_EXPECTED / size_of::<E>().max(1));
        Self { events: Vec::with_capacity(events), weights: Vec::new() }
    }

    #[inline]
    pub(super) fn extend(&mut self, events: impl ExactSizeIterator<Item = E>, form: Form<'_>) {
        let (usual, count) = (size_of::<E>(), events.len());
        if let Some(weights) = form.unusual(usual, count) {
            self.weights.resize(self.events.len(), usual as u64);
            self.weights.extend(weights);
        } else if !self.weights.is_empty() {
            self.weights.resize(self.weights.len() + count, usual as u64);
        }
        self.events.extend(events);
    }
}

impl<E: Message> Column for Typed<E> {
    fn key(&self, index: usize) -> Option<Key> {
        self.events.get(index).and_then(Message::key)
    }

    fn encode(&self, index: usize) -> Outcome<Vec<u8>> {
        codec::encode(&self.events[index])
    }

    fn weight(&self, range: Range<usize>) -> u64 {
        if self.weights.is_empty() {
            return (range.len() * size_of::<E>()) as u64;
        }
        self.weights[range].iter().sum()
    }

    fn split_off(&mut self, at: usize) -> Box<dyn Column> {
        let weights = if self.weights.is_empty() { Vec::new() } else { self.weights.split_off(at) };
        Box::new(Self { events: self.events.split_off(at), weights })
    }

    fn append(&mut self, other: &mut dyn Column) {
        let Some(other) = (other as &mut dyn Any).downcast_mut::<Self>() else {
            return;
        };
        if !(self.weights.is_empty() && other.weights.is_empty()) {
            self.weights.resize(self.events.len(), size_of::<E>() as u64);
            other.weights.resize(other.events.len(), size_of::<E>() as u64);
            self.weights.append(&mut other.weights);
        }
        self.events.append(&mut other.events);
    }

    fn needs_drop(&self) -> bool {
        std::mem::needs_drop::<E>()
    }

    fn drop_last(&mut self) {
        drop(self.events.pop());
    }
}

/// Events as they were read from the log: bytes, and what is known of them without their type.
pub(crate) struct Stored {
    bytes: Vec<u8>,
    /// Where each event's bytes are, and its key before them.
    places: Vec<Place>,
}

#[derive(Debug, Clone, Copy)]
struct Place {
    key: Option<(u32, u32)>,
    payload: (u32, u32),
}

impl Stored {
    /// The next so many events; none if there are not so many.
    pub(crate) fn read(entries: &mut Entries<'_>, count: u32) -> Option<Self> {
        let mut stored = Self { bytes: Vec::new(), places: Vec::new() };
        for _ in 0..count {
            let entry = entries.next()?.ok()?;
            stored.push(entry);
        }
        Some(stored)
    }

    fn push(&mut self, Entry { key, payload }: Entry<'_>) {
        let mut put = |bytes: &[u8]| {
            let start = self.bytes.len() as u32;
            self.bytes.extend_from_slice(bytes);
            (start, self.bytes.len() as u32)
        };
        let place = Place { key: key.map(&mut put), payload: put(payload) };
        self.places.push(place);
    }

    /// Appends them as the log has them.
    pub(super) fn put(&self, into: &mut Vec<u8>) {
        for place in &self.places {
            let key = place.key.map(|key| self.at(key));
            Entry { key, payload: self.at(place.payload) }.put(into);
        }
    }

    pub(crate) fn len(&self) -> u32 {
        self.places.len() as u32
    }

    fn at(&self, (start, end): (u32, u32)) -> &[u8] {
        &self.bytes[start as usize..end as usize]
    }

    /// The bytes of one event.
    pub(crate) fn payload(&self, index: usize) -> &[u8] {
        self.places.get(index).map_or(&[], |place| self.at(place.payload))
    }
}

impl Column for Stored {
    fn key(&self, index: usize) -> Option<Key> {
        let bytes = self.at(self.places.get(index)?.key?);
        Some(String::from_utf8_lossy(bytes).into_owned().into())
    }

    fn encode(&self, index: usize) -> Outcome<Vec<u8>> {
        Ok(self.payload(index).to_vec())
    }

    fn weight(&self, range: Range<usize>) -> u64 {
        let length = |(start, end): (u32, u32)| (end - start) as usize;
        let size = |place: &Place| Entry::size(place.key.map(length), length(place.payload)) as u64;
        self.places[range].iter().map(size).sum()
    }

    fn split_off(&mut self, at: usize) -> Box<dyn Column> {
        Box::new(Self { bytes: self.bytes.clone(), places: self.places.split_off(at) })
    }

    fn append(&mut self, other: &mut dyn Column) {
        let Some(other) = (other as &mut dyn Any).downcast_mut::<Self>() else { return };
        let shift = self.bytes.len() as u32;
        let moved = |(start, end)| (start + shift, end + shift);
        self.bytes.append(&mut other.bytes);
        let places = std::mem::take(&mut other.places).into_iter();
        self.places.extend(
            places.map(|Place { key, payload }| Place {
                key: key.map(moved),
                payload: moved(payload),
            }),
        );
    }

    fn needs_drop(&self) -> bool {
        false
    }

    fn drop_last(&mut self) {}
}
