//! Which event each thread is at, in a file that is memory: one store an event, and it outlives the
//! process. So an event that kills the process is known when the next one starts.

use std::fs::File;
use std::io;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use memmap2::MmapMut;
use parking_lot::Mutex;

/// As many threads have their place; others are not known.
const SLOTS: usize = 1024;
/// A cache line for each, so that no thread disturbs another.
const SLOT: usize = 64;

struct Map {
    memory: Mutex<MmapMut>,
    free: Mutex<Vec<usize>>,
    /// What an earlier process left there is known elsewhere.
    forgotten: AtomicBool,
}

/// The places of all threads.
#[derive(Clone)]
pub(crate) struct InFlight(Arc<Map>);

impl InFlight {
    /// Maps the file. What an earlier process left there: for each of its threads that was at an event,
    /// whose it was and its position. It stays there until [`InFlight::forget`].
    #[allow(unsafe_code)]
    pub(crate) fn open(file: &File) -> io::Result<(Self, Vec<(u32, u64)>)> {
        file.set_len((SLOTS * SLOT) as u64)?;
        // SAFETY: the file is in the directory of a log whose lock is held, so no other process of ours
        // maps it; all who read or write it later do so by atomics, and whatever it holds is a number.
        let memory = unsafe { MmapMut::map_mut(file)? };
        let number = |bytes: &[u8]| {
            let mut number = [0; 8];
            number.copy_from_slice(&bytes[..8]);
            u64::from_le_bytes(number)
        };
        let left = memory.chunks_exact(SLOT).filter_map(|slot| {
            let (of, position) = (number(slot), number(&slot[8..]));
            let of = u32::try_from(of.checked_sub(1)?).ok()?;
            Some((of, position.checked_sub(1)?))
        });
        let left = left.collect();
        let (free, forgotten) = (Mutex::new((0..SLOTS).rev().collect()), AtomicBool::new(false));
        Ok((Self(Arc::new(Map { memory: Mutex::new(memory), free, forgotten })), left))
    }

    /// What an earlier process left is known elsewhere. To be called before any thread is at an event.
    pub(crate) fn forget(&self) {
        self.0.memory.lock().chunks_exact_mut(SLOT).filter_map(words).for_each(|words| {
            clear(words);
        });
        self.0.forgotten.store(true, Relaxed);
    }

    /// A place for one more thread; none if all are taken.
    pub(crate) fn slot(&self) -> Option<Slot> {
        let number = self.0.free.lock().pop()?;
        let mut memory = self.0.memory.lock();
        let words = words(&mut memory[number * SLOT..])?;
        Some(Slot { map: self.0.clone(), number, words })
    }
}

/// The beginning of a slot.
#[allow(clippy::cast_ptr_alignment)] // a slot begins at a multiple of 64 bytes of a page
fn words(slot: &mut [u8]) -> Option<NonNull<[AtomicU64; 2]>> {
    NonNull::new(slot.as_mut_ptr().cast())
}

#[allow(unsafe_code)]
fn clear(slot: NonNull<[AtomicU64; 2]>) {
    // SAFETY: whoever has it holds the map; all who read or write it do so by atomics.
    let [of, position] = unsafe { slot.as_ref() };
    position.store(0, Relaxed);
    of.store(0, Relaxed);
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
        if self.map.forgotten.load(Relaxed) {
            self.works_for(0);
        }
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
        assert_eq!(left, []);
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
        assert_eq!(left, [(7, 100), (0, 0)]);
        // It does not come to anything.
        drop((map.slot(), map.slot(), map));
        let (map, left) = InFlight::open(&options()?)?;
        assert_eq!(left, [(7, 100), (0, 0)]);
        map.forget();
        let slot = map.slot();
        slot.iter().for_each(|slot| slot.works_for(8));
        slot.iter().for_each(|slot| slot.is_at(5));
        drop(slot); // in order
        assert_eq!(InFlight::open(&options()?)?.1, []);
        std::fs::remove_file(path)
    }
}
