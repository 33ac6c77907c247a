//! The drivers of a subscription: who waits for work, and who is busy with what. A driver is one
//! future that runs handlers, on one of the processor's threads. Everything here takes the same time
//! however many there are.

use std::hash::BuildHasher;
use std::sync::Arc;
use std::task::Waker;

use crate::message::{Key, Seq};
use crate::queue::fence::Fence;

/// Who asks for work, by its number among the subscription's drivers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Driver(usize);

/// What a driver was given to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hand {
    Nothing,
    /// The front batch, as far as it comes.
    Range,
    One(Seq),
    Kept(Seq),
    Delayed,
    /// Nothing any more, but it is not through with it.
    Settled,
}

struct Slot {
    host: usize,
    fence: Arc<Fence>,
    hand: Hand,
    /// Whom to wake, and its place among those who wait.
    waits: Option<(Waker, usize)>,
}

/// All drivers of a subscription.
#[derive(Default)]
pub(super) struct Drivers {
    slots: Vec<Option<Slot>>,
    free: Vec<usize>,
    idle: Vec<usize>,
    busy: usize,
}

impl Drivers {
    pub(super) fn join(&mut self, host: usize, fence: Arc<Fence>) -> Driver {
        let number = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        fence.drivers.lock().push(number);
        self.slots[number] = Some(Slot { host, fence, hand: Hand::Nothing, waits: None });
        Driver(number)
    }

    /// It asks for nothing more. What it had in hand.
    pub(super) fn leave(&mut self, driver: Driver) -> Hand {
        let hand = self.gets_up(driver);
        if let Some(slot) = self.slots.get_mut(driver.0).and_then(Option::take) {
            let mut drivers = slot.fence.drivers.lock();
            if let Some(place) = drivers.iter().position(|number| *number == driver.0) {
                drivers.swap_remove(place);
            }
            self.free.push(driver.0);
        }
        hand
    }

    /// All drivers of a host leave. What they had in hand.
    pub(super) fn leave_all(&mut self, fence: &Fence) -> Vec<Hand> {
        let numbers = std::mem::take(&mut *fence.drivers.lock());
        numbers.into_iter().map(|number| self.leave(Driver(number))).collect()
    }

    /// It is awake, and through with what it was given: whoever has something to do shall not wake
    /// it in vain.
    pub(super) fn gets_up(&mut self, driver: Driver) -> Hand {
        let Some(slot) = &mut self.slots[driver.0] else { return Hand::Nothing };
        let hand = std::mem::replace(&mut slot.hand, Hand::Nothing);
        self.busy -= usize::from(hand != Hand::Nothing);
        if let Some((_, place)) = slot.waits.take() {
            self.leave_idle(place);
        }
        hand
    }

    fn leave_idle(&mut self, place: usize) {
        self.idle.swap_remove(place);
        if let Some(moved) = self.idle.get(place)
            && let Some(Slot { waits: Some((_, at)), .. }) = &mut self.slots[*moved]
        {
            *at = place;
        }
    }

    pub(super) fn takes(&mut self, driver: Driver, hand: Hand) {
        if let Some(slot) = &mut self.slots[driver.0] {
            slot.hand = hand;
            self.busy += 1;
        }
    }

    /// So many have something in hand.
    pub(super) fn busy(&self) -> usize {
        self.busy
    }

    /// The event in hand is settled; if its instance broke, the driver is at that still.
    pub(super) fn settles(&mut self, driver: Driver) {
        if let Some(slot) = &mut self.slots[driver.0]
            && matches!(slot.hand, Hand::One(_) | Hand::Kept(_))
        {
            slot.hand = Hand::Settled;
        }
    }

    /// It waits until there is something to do.
    pub(super) fn rests(&mut self, driver: Driver, waker: &Waker) {
        if let Some(slot) = &mut self.slots[driver.0] {
            slot.waits = Some((waker.clone(), self.idle.len()));
            self.idle.push(driver.0);
        }
    }

    pub(super) fn is_busy(&self) -> bool {
        self.busy > 0
    }

    pub(super) fn is_idle(&self) -> bool {
        !self.idle.is_empty()
    }

    /// Whoever came to rest last; its thread is the warmest.
    pub(super) fn wake_last(&mut self) -> Option<Waker> {
        self.wake_at(self.idle.len().checked_sub(1)?)
    }

    /// Another one than [`Drivers::wake_last`] would, if there is.
    pub(super) fn wake_other(&mut self) -> Option<Waker> {
        self.wake_at(0)
    }

    fn wake_at(&mut self, place: usize) -> Option<Waker> {
        let number = *self.idle.get(place)?;
        let (waker, _) = self.slots[number].as_mut()?.waits.take()?;
        self.leave_idle(place);
        Some(waker)
    }

    pub(super) fn wake_all(&mut self) -> Vec<Waker> {
        let idle = std::mem::take(&mut self.idle);
        let slots = idle.into_iter().filter_map(|number| self.slots[number].as_mut()?.waits.take());
        slots.map(|(waker, _)| waker).collect()
    }

    /// Those of a host that wait.
    pub(super) fn wake_host(&mut self, fence: &Fence) -> Vec<Waker> {
        let numbers = fence.drivers.lock().clone();
        let mut wakers = Vec::new();
        for number in numbers {
            if let Some((waker, place)) =
                self.slots[number].as_mut().and_then(|slot| slot.waits.take())
            {
                self.leave_idle(place);
                wakers.push(waker);
            }
        }
        wakers
    }

    /// The number of the driver's host.
    pub(super) fn host(&self, driver: Driver) -> usize {
        self.slots[driver.0].as_ref().map_or(usize::MAX, |slot| slot.host)
    }

    /// Somebody of that host who waits. With few drivers only: it looks at all of them.
    pub(super) fn wake_at_host(&mut self, host: usize) -> Option<Waker> {
        let at = |number: &usize| self.slots[*number].as_ref().is_some_and(|of| of.host == host);
        self.idle.iter().position(at).and_then(|place| self.wake_at(place))
    }
}

/// Which instance a key prefers.
pub(super) fn home_of(key: &Key) -> u64 {
    foldhash::fast::FixedState::default().hash_one(key)
}

/// Whom to wake after the lock is released; rarely more than one.
#[derive(Default)]
pub(super) struct Wakers {
    pub(super) first: Option<Waker>,
    pub(super) more: Vec<Waker>,
}

impl Wakers {
    pub(super) fn wake(self) {
        for waker in self.first.into_iter().chain(self.more) {
            waker.wake();
        }
    }
}
