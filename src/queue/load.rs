//! How much something takes up of a bound. Pure.

/// How much something takes up of a bound: a number of events and their weight in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Load {
    pub(crate) events: u64,
    pub(crate) weight: u64,
}

impl Load {
    pub(crate) const fn new(events: u64, weight: u64) -> Self {
        Self { events, weight }
    }

    #[inline]
    pub(crate) fn is_zero(self) -> bool {
        self == Self::default()
    }

    #[inline]
    pub(crate) fn fits(self, room: Self) -> bool {
        self.events <= room.events && self.weight <= room.weight
    }

    #[inline]
    pub(crate) fn add(&mut self, more: Self) {
        self.events = self.events.saturating_add(more.events);
        self.weight = self.weight.saturating_add(more.weight);
    }

    pub(crate) fn take_away(&mut self, other: Self) {
        *self = self.less(other);
    }

    #[must_use]
    pub(crate) fn and(mut self, more: Self) -> Self {
        self.add(more);
        self
    }

    #[inline]
    pub(crate) fn less(self, other: Self) -> Self {
        Self {
            events: self.events.saturating_sub(other.events),
            weight: self.weight.saturating_sub(other.weight),
        }
    }

    pub(crate) fn min(self, other: Self) -> Self {
        Self { events: self.events.min(other.events), weight: self.weight.min(other.weight) }
    }
}
