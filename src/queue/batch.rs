//! A batch: typed runs of events that travel together. No box and no `Arc` per event: events of
//! one type lie in one vector, and consecutive ones share one head.

use std::any::Any;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use super::column::{Column, Stored, Typed};
use super::form::Form;
pub(crate) use super::load::Load;
use super::once::KeyNote;
use crate::clock::{Moment, Timestamp};
use crate::error::Error;
use crate::message::envelope::{Head, Origin, TopicId};
use crate::message::{EventId, Message, Seq};
use crate::signal::{During, Signals};
use crate::store::file::events::Entries;

/// Consecutive events of one type: a stretch of a column, with one head.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Run {
    pub(crate) head: Head,
    pub(crate) column: u32,
    /// Where the run starts in its column.
    pub(crate) start: u32,
    pub(crate) length: u32,
    /// Where the run starts among all events of the batch.
    pub(crate) offset: u32,
    /// Its events are among those that are there as bytes as well.
    pub(crate) stored: bool,
}

/// Events in order, of any types.
pub(crate) struct Events {
    columns: Vec<(TopicId, Box<dyn Column>)>,
    runs: Vec<Run>,
    length: u32,
    /// How many events are likely to come: so many get their place at once.
    expected: u32,
    /// Those that are to be stored, as bytes, one after the other as the log has them.
    stored: Vec<u8>,
    /// What was published here under a key, for the log.
    notes: Vec<KeyNote>,
    signals: Arc<Signals>,
}

/// At most so many events get their place before they are there.
const MOST_EXPECTED: u32 = 2048;
/// And at most so many bytes of what is stored.
const MOST_STORED_EXPECTED: usize = 1 << 20;

impl Events {
    pub(crate) fn new(signals: Arc<Signals>) -> Self {
        let (columns, runs, stored) = (Vec::new(), Vec::new(), Vec::new());
        Self { columns, runs, length: 0, expected: 0, stored, notes: Vec::new(), signals }
    }

    /// A fresh, empty one, likely to become as large as this one is.
    pub(crate) fn another(&self) -> Self {
        let mut another = Self::new(self.signals.clone());
        another.expected = self.length.min(MOST_EXPECTED);
        another.stored.reserve(self.stored.len().min(MOST_STORED_EXPECTED));
        another
    }

    #[inline]
    pub(crate) fn len(&self) -> u32 {
        self.length
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.length == 0
    }

    pub(crate) fn runs(&self) -> &[Run] {
        &self.runs
    }

    pub(crate) fn column(&self, run: &Run) -> &dyn Column {
        &*self.columns[run.column as usize].1
    }

    /// The events of a run, if they are of type `E`.
    pub(crate) fn typed<E: Message>(&self, run: &Run) -> Option<&[E]> {
        let column = (self.column(run) as &dyn Any).downcast_ref::<Typed<E>>()?;
        let start = run.start as usize;
        column.events.get(start..start + run.length as usize)
    }

    /// The events of a run as the log has them, and where it begins among them; none if they are
    /// there as what they are.
    pub(crate) fn stored_column(&self, run: &Run) -> Option<(&Stored, u32)> {
        let column = (self.column(run) as &dyn Any).downcast_ref::<Stored>()?;
        Some((column, run.start))
    }

    pub(crate) fn topics(&self) -> impl Iterator<Item = TopicId> + '_ {
        self.columns.iter().map(|(topic, _)| *topic)
    }

    fn column_of<E: Message>(&mut self, topic: TopicId) -> usize {
        let is_it = |column: &dyn Column| (column as &dyn Any).is::<Typed<E>>();
        let mut all = self.columns.iter();
        if let Some(found) = all.position(|(of, column)| *of == topic && is_it(&**column)) {
            return found;
        }
        self.columns.push((topic, Box::new(Typed::<E>::with_capacity(self.expected as usize))));
        self.columns.len() - 1
    }

    /// Adds events whose ids follow each other. `topic` must be the topic of `E`; `now` is asked only
    /// when a run begins.
    #[inline]
    #[allow(clippy::too_many_arguments)]
    pub(crate) fn push<E: Message>(
        &mut self,
        topic: TopicId,
        events: impl ExactSizeIterator<Item = E>,
        form: Form<'_>,
        first: EventId,
        origin: &Origin,
        now: impl FnOnce() -> Timestamp,
    ) {
        let count = events.len() as u32;
        let same = self.runs.last_mut().and_then(|run| {
            let fits = run.head.accepts(run.length, count, topic, first, origin);
            run.length += if fits { count } else { 0 };
            fits.then_some(run.column as usize)
        });
        let column = match same {
            Some(column) => column,
            None => {
                let column = self.column_of::<E>(topic);
                let start = self.column_length::<E>(column);
                let head = Head::new(topic, first, now(), origin);
                let offset = self.length;
                let (column, stored) = (column as u32, form.bytes().is_some());
                self.runs.push(Run { head, column, start, length: count, offset, stored });
                column as usize
            }
        };
        let column = (&mut *self.columns[column].1 as &mut dyn Any).downcast_mut::<Typed<E>>();
        if let Some(column) = column {
            column.extend(events, form);
            self.length += count;
            self.stored.extend_from_slice(form.bytes().unwrap_or_default());
        }
    }

    /// Events of a type that only their handler knows, as they were read from the log; to be stored
    /// again, if they never had a place in it.
    pub(crate) fn push_stored(&mut self, head: Head, events: Stored, keep: bool) {
        let (column, length, offset) = (self.columns.len() as u32, events.len(), self.length);
        if keep {
            events.put(&mut self.stored);
        }
        self.columns.push((head.topic, Box::new(events)));
        self.runs.push(Run { head, column, start: 0, length, offset, stored: keep });
        self.length += length;
    }

    /// Leaves out events that nobody wants here; those behind them keep their places.
    pub(crate) fn skip(&mut self, count: u32) {
        self.length += count;
    }

    /// What the log is to be told of keys together with the events.
    pub(crate) fn note(&mut self, notes: impl IntoIterator<Item = KeyNote>) {
        self.notes.extend(notes);
    }

    pub(crate) fn notes(&self) -> &[KeyNote] {
        &self.notes
    }

    /// Those that are to be stored, as bytes.
    pub(crate) fn stored(&self) -> &[u8] {
        &self.stored
    }

    /// Where in these bytes the first so many events of these runs end.
    fn end_of_stored(stored: &[u8], runs: &[Run]) -> usize {
        let count: u32 = runs.iter().filter(|run| run.stored).map(|run| run.length).sum();
        let mut entries = Entries::new(stored);
        entries.by_ref().take(count as usize).for_each(|_| {});
        stored.len() - entries.rest().len()
    }

    fn column_length<E: Message>(&self, column: usize) -> u32 {
        (&*self.columns[column].1 as &dyn Any)
            .downcast_ref::<Typed<E>>()
            .map_or(0, |column| column.events.len() as u32)
    }

    /// Takes away the events from number `at` on.
    pub(crate) fn split_off(&mut self, at: u32) -> Self {
        let mut rest = Self::new(self.signals.clone());
        let mut cuts: Vec<Option<u32>> = vec![None; self.columns.len()];
        let mut moved = cuts.clone();
        let keep = self.runs.partition_point(|run| run.offset < at);
        let mut tail = self.runs.split_off(keep);
        if let Some(last) = self.runs.last_mut() {
            let inside = at - last.offset;
            if inside < last.length {
                let mut second = *last;
                second.head = last.head.skip(inside);
                second.start += inside;
                second.length -= inside;
                second.offset = at;
                last.length = inside;
                tail.insert(0, second);
            }
        }
        for mut run in tail {
            let column = run.column as usize;
            let cut = *cuts[column].get_or_insert(run.start);
            let topic = self.columns[column].0;
            run.column = *moved[column].get_or_insert_with(|| {
                rest.columns.push((topic, self.columns[column].1.split_off(cut as usize)));
                rest.columns.len() as u32 - 1
            });
            run.start -= cut;
            run.offset -= at;
            rest.length += run.length;
            rest.runs.push(run);
        }
        self.length = at.min(self.length);
        if !self.stored.is_empty() {
            let end = Self::end_of_stored(&self.stored, &self.runs);
            rest.stored = self.stored.split_off(end);
        }
        rest
    }

    /// Appends other events behind these.
    pub(crate) fn append(&mut self, mut other: Self) {
        if self.is_empty() {
            other.notes.splice(..0, std::mem::take(&mut self.notes));
            std::mem::swap(self, &mut other);
            return;
        }
        let mut places = Vec::with_capacity(other.columns.len());
        let mut lengths = vec![0u32; self.columns.len()];
        for run in &self.runs {
            lengths[run.column as usize] = run.start + run.length;
        }
        for (topic, mut column) in std::mem::take(&mut other.columns) {
            let of_type = |column: &dyn Column| (column as &dyn Any).type_id();
            let joins = |known: &dyn Column| of_type(known) == of_type(&*column);
            let mut all = self.columns.iter();
            let place = all.position(|(of, known)| *of == topic && joins(&**known));
            if let Some(place) = place {
                self.columns[place].1.append(&mut *column);
                places.push((place as u32, lengths[place]));
            } else {
                self.columns.push((topic, column));
                places.push((self.columns.len() as u32 - 1, 0));
            }
        }
        for mut run in std::mem::take(&mut other.runs) {
            let (place, shift) = places[run.column as usize];
            run.column = place;
            run.start += shift;
            run.offset += self.length;
            self.runs.push(run);
        }
        self.length += other.length;
        self.stored.append(&mut other.stored);
        self.notes.append(&mut other.notes);
        other.length = 0;
    }

    /// How many events there are, topic by topic.
    pub(crate) fn counts(&self) -> Vec<(TopicId, u64)> {
        let mut counts: Vec<_> = self.topics().map(|topic| (topic, 0)).collect();
        for run in &self.runs {
            counts[run.column as usize].1 += u64::from(run.length);
        }
        counts
    }

    /// What the events take up, run by run.
    pub(crate) fn loads(&self) -> impl Iterator<Item = (TopicId, Load)> + '_ {
        self.runs.iter().map(|run| {
            let weight = self.weight_of(run, 0..run.length);
            (run.head.topic, Load::new(u64::from(run.length), weight))
        })
    }

    pub(crate) fn weight_of(&self, run: &Run, range: Range<u32>) -> u64 {
        let start = (run.start + range.start) as usize;
        self.column(run).weight(start..(run.start + range.end) as usize)
    }
}

impl Drop for Events {
    /// One by one, each contained: two panicking drops inside one `Vec` would abort the process.
    fn drop(&mut self) {
        if !self.columns.iter().any(|(_, column)| column.needs_drop()) {
            return;
        }
        for run in std::mem::take(&mut self.runs).iter().rev() {
            let Some((_, column)) = self.columns.get_mut(run.column as usize) else {
                continue;
            };
            if !column.needs_drop() {
                continue;
            }
            for index in (0..run.length).rev() {
                let event = Some(run.head.id(index));
                self.signals.contain(During::EventDrop, event, || column.drop_last());
            }
        }
    }
}

/// Events with their place in the order, shared by all who read them.
pub(crate) struct Batch {
    pub(crate) first: Seq,
    /// When it was put in order.
    pub(crate) at: Moment,
    pub(crate) events: Events,
}

impl Batch {
    /// How long ago the events of a run came; of one that was read from a log, how long ago they were
    /// published.
    pub(crate) fn age(&self, run: u32, now: Moment) -> Duration {
        let came = now.since(self.at);
        let read = self.events.runs().get(run as usize);
        let read = read.filter(|run| self.events.stored_column(run).is_some());
        read.map_or(came, |run| {
            let millis = Timestamp::now().as_millis().saturating_sub(run.head.at.as_millis());
            came.max(Duration::from_millis(millis))
        })
    }

    /// Events that never got a place.
    pub(crate) fn unplaced(events: Events) -> Self {
        Self { first: Seq::default(), at: Moment::default(), events }
    }

    pub(crate) fn seq(&self, run: &Run, index: u32) -> Seq {
        Seq(self.first.0 + u64::from(run.offset + index))
    }

    /// The run that holds the event at that place in the order, and its index there.
    pub(crate) fn find(&self, seq: Seq) -> Option<(u32, u32)> {
        let place = u32::try_from(seq.0.checked_sub(self.first.0)?).ok()?;
        let holds = |run: &Run| (run.offset..run.offset + run.length).contains(&place);
        let run = self.events.runs().iter().position(holds)?;
        Some((run as u32, place - self.events.runs()[run].offset))
    }
}

/// Names two different types that claim one name.
pub(crate) fn same_name(name: &str, one: &str, other: &str) -> Error {
    Error::config(format!(
        "two message types are named `{name}`: `{one}` and `{other}`; give one of them another NAME"
    ))
}
