//! A record of events: runs of one type each, which share one head, and the events' bytes. Pure.
//!
//! Ids are stored as what they are more than another one that is there already, so that an event's
//! envelope takes less than 48 bytes even where it shares it with nobody.

use super::bytes::{Bytes, Malformed, Read, length_of, put_bytes, put_number, put_signed};

/// Events as they are read: runs of one type each, and their bytes one after the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Events<'a> {
    /// The position of the first.
    pub(crate) first: u64,
    pub(crate) runs: Vec<Run>,
    pub(crate) entries: &'a [u8],
}

/// Ids of a run: all the same, or each one greater than the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Chain {
    pub(crate) first: u128,
    pub(crate) steps: bool,
}

/// What consecutive events of one type share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Run {
    /// So many positions before it are events that are not stored.
    pub(crate) skipped: u32,
    /// By its number in this log.
    pub(crate) channel: u32,
    /// How its events are encoded.
    pub(crate) codec: u8,
    pub(crate) count: u32,
    pub(crate) first: u128,
    /// None if each event is its own.
    pub(crate) correlation: Option<Chain>,
    /// None if they come from outside.
    pub(crate) causation: Option<Chain>,
    /// Milliseconds since 1970.
    pub(crate) at: u64,
    pub(crate) hops: u16,
    /// The last channels that they descend through.
    pub(crate) path: Vec<u32>,
}

/// The longest path.
pub(super) const LONGEST_PATH: usize = 8;

/// The parts of an id: milliseconds, what was drawn at random, a count.
fn parts(id: u128) -> (u64, u32, u64) {
    ((id >> 80) as u64, (id >> 48) as u32, id as u64 & ((1 << 48) - 1))
}

/// An id, by what it is more than another one.
fn put_id(into: &mut Vec<u8>, id: u128, base: u128) {
    let ((at, salt, count), (base_at, base_salt, base_count)) = (parts(id), parts(base));
    let differs = i64::from(salt != base_salt);
    put_signed(into, (at.wrapping_sub(base_at) as i64) << 1 | differs);
    if differs == 1 {
        into.extend(salt.to_le_bytes());
    }
    put_signed(into, count.wrapping_sub(base_count) as i64);
}

fn id(read: &mut Bytes<'_>, base: u128) -> Read<u128> {
    let (base_at, base_salt, base_count) = parts(base);
    let first = read.signed()?;
    let at = base_at.wrapping_add((first >> 1) as u64);
    let salt = if first & 1 == 1 { read.u32()? } else { base_salt };
    let count = base_count.wrapping_add(read.signed()? as u64);
    if at >> 48 != 0 || count >> 48 != 0 {
        return Err(Malformed);
    }
    Ok(u128::from(at) << 80 | u128::from(salt) << 48 | u128::from(count))
}

mod flag {
    pub(super) const CORRELATED: u8 = 1;
    pub(super) const CORRELATION_STEPS: u8 = 2;
    pub(super) const CAUSED: u8 = 4;
    pub(super) const CAUSATION_STEPS: u8 = 8;
    pub(super) const SKIPS: u8 = 16;
    pub(super) const ALL: u8 = 31;
}

impl Run {
    /// Events of which there is nothing else to say.
    #[cfg(test)]
    pub(super) fn plain(channel: u32, count: u32) -> Self {
        let (correlation, causation) = (None, None);
        let (skipped, codec, first, at, hops, path) = (0, 1, 1, 0, 0, Vec::new());
        Self { skipped, channel, codec, count, first, correlation, causation, at, hops, path }
    }

    /// The same without its first few events, which are counted as skipped.
    fn without(&self, events: u32) -> Self {
        let later = |id: u128| id.wrapping_add(u128::from(events));
        let chain = |chain: Chain| match chain.steps {
            true => Chain { first: later(chain.first), ..chain },
            false => chain,
        };
        Self {
            skipped: self.skipped + events,
            count: self.count - events,
            first: later(self.first),
            correlation: self.correlation.map(chain),
            causation: self.causation.map(chain),
            ..self.clone()
        }
    }

    fn put(&self, into: &mut Vec<u8>, base: u128) {
        let mut flags = if self.skipped > 0 { flag::SKIPS } else { 0 };
        let mut set = |chain: Option<Chain>, there, steps| {
            flags |= chain.map_or(0, |chain| there | if chain.steps { steps } else { 0 });
        };
        set(self.correlation, flag::CORRELATED, flag::CORRELATION_STEPS);
        set(self.causation, flag::CAUSED, flag::CAUSATION_STEPS);
        into.extend([flags, self.codec]);
        if self.skipped > 0 {
            put_number(into, u64::from(self.skipped));
        }
        put_number(into, u64::from(self.channel));
        put_number(into, u64::from(self.count));
        put_id(into, self.first, base);
        let chains = [self.correlation, self.causation];
        chains.into_iter().flatten().for_each(|chain| put_id(into, chain.first, self.first));
        put_signed(into, self.at.wrapping_sub(parts(self.first).0) as i64);
        put_number(into, u64::from(self.hops));
        put_number(into, self.path.len() as u64);
        self.path.iter().for_each(|channel| put_number(into, u64::from(*channel)));
    }

    fn read(read: &mut Bytes<'_>, base: u128) -> Read<Self> {
        let (flags, codec) = (read.byte()?, read.byte()?);
        if flags & !flag::ALL != 0 {
            return Err(Malformed);
        }
        let small = |number: u64| u32::try_from(number).map_err(|_| Malformed);
        let skipped = if flags & flag::SKIPS == 0 { 0 } else { small(read.number()?)? };
        let channel = small(read.number()?)?;
        let count = u32::try_from(read.number()?).map_err(|_| Malformed)?;
        let first = id(read, base)?;
        let mut chain = |there: u8, steps: u8| match flags & (there | steps) {
            0 => Ok(None),
            set if set & there == 0 => Err(Malformed),
            set => Ok(Some(Chain { first: id(read, first)?, steps: set & steps != 0 })),
        };
        let correlation = chain(flag::CORRELATED, flag::CORRELATION_STEPS)?;
        let causation = chain(flag::CAUSED, flag::CAUSATION_STEPS)?;
        let at = parts(first).0.wrapping_add(read.signed()? as u64);
        let hops = u16::try_from(read.number()?).map_err(|_| Malformed)?;
        let length = read.length(LONGEST_PATH)?;
        let path = (0..length).map(|_| u32::try_from(read.number()?).map_err(|_| Malformed));
        let path = path.collect::<Read<_>>()?;
        Ok(Self { skipped, channel, codec, count, first, correlation, causation, at, hops, path })
    }
}

/// One event's bytes, and its key's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry<'a> {
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) payload: &'a [u8],
}

impl Entry<'_> {
    #[inline]
    pub(crate) fn put(&self, into: &mut Vec<u8>) {
        put_number(into, (self.payload.len() as u64) << 1 | u64::from(self.key.is_some()));
        if let Some(key) = self.key {
            put_bytes(into, key);
        }
        into.extend_from_slice(self.payload);
    }

    /// How many bytes that takes with a key and a payload so long.
    pub(crate) fn size(key: Option<usize>, payload: usize) -> usize {
        let key = key.map_or(0, |key| length_of(key as u64) + key);
        length_of((payload as u64) << 1) + key + payload
    }
}

/// The events of a stretch of bytes, in order.
#[derive(Debug, Clone)]
pub(crate) struct Entries<'a>(Bytes<'a>);

impl<'a> Entries<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(Bytes(bytes))
    }

    /// What has not been read.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.0.0
    }

    fn read(&mut self) -> Read<Entry<'a>> {
        let number = self.0.number()?;
        let key = if number & 1 == 1 { Some(self.0.bytes()?) } else { None };
        let length = usize::try_from(number >> 1).map_err(|_| Malformed)?;
        Ok(Entry { key, payload: self.0.take(length)? })
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = Read<Entry<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        (!self.0.is_empty()).then(|| self.read())
    }
}

/// The heads of runs, in order.
pub(super) fn heads_of(first: u64, runs: &[Run]) -> Vec<u8> {
    let mut heads = Vec::with_capacity(8 + runs.len() * 32);
    put_number(&mut heads, first);
    put_number(&mut heads, runs.len() as u64);
    let mut base = 0;
    for run in runs {
        run.put(&mut heads, base);
        base = run.first;
    }
    heads
}

impl<'a> Events<'a> {
    /// The position behind the last one.
    pub(crate) fn end(&self) -> u64 {
        let positions = self.runs.iter().map(|run| u64::from(run.skipped) + u64::from(run.count));
        self.first.saturating_add(positions.sum())
    }

    /// What is left of the runs, and of the bytes, if only some events are kept: asked for each with
    /// its channel and its position.
    pub(crate) fn only(&self, keep: impl Fn(u32, u64) -> bool) -> Read<(Vec<Run>, Vec<u8>)> {
        let (mut runs, mut bytes) = (Vec::<Run>::new(), Vec::new());
        let mut entries = Entries::new(self.entries);
        let (mut position, mut skipped) = (self.first, 0);
        for run in &self.runs {
            skipped += run.skipped;
            position += u64::from(run.skipped);
            let mut open = false;
            for at in 0..run.count {
                let before = entries.rest();
                entries.next().ok_or(Malformed)??;
                let entry = &before[..before.len() - entries.rest().len()];
                if keep(run.channel, position) {
                    bytes.extend_from_slice(entry);
                    match runs.last_mut().filter(|_| open) {
                        Some(last) => last.count += 1,
                        None => runs.push(Self::one(run, at, std::mem::take(&mut skipped))),
                    }
                    open = true;
                } else {
                    (skipped, open) = (skipped + 1, false);
                }
                position += 1;
            }
        }
        Ok((runs, bytes))
    }

    fn one(run: &Run, at: u32, skipped: u32) -> Run {
        Run { skipped, count: 1, ..run.without(at) }
    }

    pub(super) fn read(mut content: Bytes<'a>) -> Read<Self> {
        let first = content.number()?;
        // A run takes more than one byte: that bounds what is allocated for them.
        let count = content.length(content.0.len())?;
        let mut runs = Vec::new();
        let mut base = 0;
        for _ in 0..count {
            let run = Run::read(&mut content, base)?;
            base = run.first;
            runs.push(run);
        }
        Ok(Self { first, runs, entries: content.0 })
    }
}
