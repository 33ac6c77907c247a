//! Which event each thread is at, in a file that is memory: one store an event, and it outlives the
//! process. So an event that kills the process is known when the next one starts.

use std::fs::File;
use std::io;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use memmap2::MmapMut;
use parking_lot::Mutex;

/// As many threads have their place; others are not known.
const SLOTS: usize = 1024;
/// A cache line for each, so that no thread disturbs another.
const SLOT: usize = 64;

struct Map {
    memory: Mutex<MmapMut>,
    free: Mutex<Vec<usize>>,
    /// Where this process's slots begin.
    own: usize,
}

/// The places of all threads. The file has two halves: one is this process's, and what an earlier one
/// left stays in the other until it is known elsewhere.
#[derive(Clone)]
pub(crate) struct InFlight(Arc<Map>);

/// What an earlier process left.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Deaths {
    /// Which process it was, so that its death is counted once.
    pub(crate) life: u64,
    /// For each of its threads that was at an event, whose it was and its position.
    pub(crate) events: Vec<(u32, u64)>,
}

fn number(bytes: &[u8]) -> u64 {
    let mut number = [0; 8];
    number.copy_from_slice(&bytes[..8]);
    u64::from_le_bytes(number)
}

impl Deaths {
    fn read(half: &[u8]) -> Self {
        let events = half.chunks_exact(SLOT).filter_map(|slot| {
            let (of, position) = (number(slot), number(&slot[8..]));
            let of = u32::try_from(of.checked_sub(1)?).ok()?;
            Some((of, position.checked_sub(1)?))
        });
        Self { life: number(&half[LIFE..]), events: events.collect() }
    }
}

/// How long a half is, and where in it stands whose it is: behind what the first slot needs.
const HALF: usize = SLOTS * SLOT;
const LIFE: usize = 16;

impl InFlight {
    /// Maps the file. What an earlier process left there is there until [`InFlight::forget`].
    #[allow(unsafe_code)]
    pub(crate) fn open(file: &File) -> io::Result<(Self, Deaths)> {
        file.set_len(2 * HALF as u64)?;
        // SAFETY: the file is in the directory of a log whose lock is held, so no other process of ours
        // maps it; all who read or write it later do so by atomics, and whatever it holds is a number.
        let mut memory = unsafe { MmapMut::map_mut(file)? };
        let [first, second] = [0, HALF].map(|half| Deaths::read(&memory[half..half + HALF]));
        let (own, left) = if first.events.is_empty() { (0, second) } else { (HALF, first) };
        memory[own..own + HALF].fill(0);
        let life = fastrand::u64(1..);
        memory[own + LIFE..own + LIFE + 8].copy_from_slice(&life.to_le_bytes());
        let free = Mutex::new((0..SLOTS).rev().collect());
        Ok((Self(Arc::new(Map { memory: Mutex::new(memory), free, own })), left))
    }

    /// What an earlier process left is known elsewhere.
    pub(crate) fn forget(&self) {
        let other = HALF - self.0.own;
        self.0.memory.lock()[other..other + HALF].fill(0);
    }

    /// A place for one more thread; none if all are taken.
    pub(crate) fn slot(&self) -> Option<Slot> {
        let number = self.0.free.lock().pop()?;
        let mut memory = self.0.memory.lock();
        let words = words(&mut memory[self.0.own + number * SLOT..])?;
        Some(Slot { map: self.0.clone(), number, words })
    }
}

/// The beginning of a slot.
#[allow(clippy::cast_ptr_alignment)] // a slot begins at a multiple of 64 bytes of a page
fn words(slot: &mut [u8]) -> Option<NonNull<[AtomicU64; 2]>> {
    NonNull::new(slot.as_mut_ptr().cast())
}

/// The place of one thread.
pub(crate) struct Slot {
    map: Arc<Map>,
    number: usize,
    words: NonNull<[AtomicU64; 2]>,
}

// SAFETY: it is a reference to atomics that live as long as `map`, which it holds.
#[allow(unsafe_code)]
unsafe impl Send for Slot {}
// SAFETY: as above.
#[allow(unsafe_code)]
unsafe impl Sync for Slot {}

impl Slot {
    #[inline]
    #[allow(unsafe_code)]
    fn words(&self) -> &[AtomicU64; 2] {
        // SAFETY: the memory is mapped as long as `map` is held; a slot begins at a multiple of 64 bytes
        // of a page, so it is aligned; nobody has a reference to it that is not to atomics, since the
        // map itself is only touched to make one of these.
        unsafe { self.words.as_ref() }
    }

    /// The thread works for that subscription, one more than its number in the log; 0 for none.
    #[inline]
    pub(crate) fn works_for(&self, subscription: u64) {
        let [of, position] = self.words();
        position.store(0, Relaxed);
        of.store(subscription, Relaxed);
    }

    /// It is at the event at that position, plus one; 0 for none.
    #[inline]
    pub(crate) fn is_at(&self, position: u64) {
        self.words()[1].store(position, Relaxed);
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.works_for(0);
        self.map.free.lock().push(self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_was_at_an_event_is_known_afterwards() -> io::Result<()> {
        let path = std::env::temp_dir().join(format!("cueline-inflight-{}", std::process::id()));
        let options =
            || File::options().create(true).truncate(false).read(true).write(true).open(&path);
        let (map, left) = InFlight::open(&options()?)?;
        assert_eq!(left.events, []);
        map.forget();
        let slots: Vec<Slot> = (0..3).filter_map(|_| map.slot()).collect();
        slots[0].works_for(8);
        slots[0].is_at(101);
        slots[1].works_for(9);
        slots[2].works_for(1);
        slots[2].is_at(1);
        // The process dies.
        slots.into_iter().for_each(std::mem::forget);
        std::mem::forget(map);
        let (map, left) = InFlight::open(&options()?)?;
        assert_eq!(left.events, [(7, 100), (0, 0)]);
        // That start does not come to anything, whatever its threads are at.
        let slots: Vec<Slot> = (0..3).filter_map(|_| map.slot()).collect();
        slots.iter().for_each(|slot| slot.works_for(0));
        drop((slots, map));
        let (map, again) = InFlight::open(&options()?)?;
        assert_eq!(again, left, "it is the same death");
        map.forget();
        let slot = map.slot();
        slot.iter().for_each(|slot| slot.works_for(8));
        slot.iter().for_each(|slot| slot.is_at(5));
        std::mem::forget((slot, map));
        let (map, other) = InFlight::open(&options()?)?;
        assert_eq!(other.events, [(7, 4)]);
        assert_ne!(other.life, left.life, "it is another one");
        map.forget();
        let slot = map.slot();
        slot.iter().for_each(|slot| slot.works_for(8));
        slot.iter().for_each(|slot| slot.is_at(5));
        drop(slot); // in order
        assert_eq!(InFlight::open(&options()?)?.1.events, []);
        std::fs::remove_file(path)
    }
}
