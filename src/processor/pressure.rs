//! How a driver slows down when what its handlers publish finds little room: first for who reads it,
//! then, when outcomes had to be refused, so that it is felt by who publishes from outside. It never
//! stops for ever: processors that answer each other would wait for each other. Pure.

use std::cell::Cell;
use std::time::Duration;

/// The pressure that one driver feels.
#[derive(Debug, Default)]
pub(super) struct Pressure {
    /// Outcomes in a row that found no room for what they published.
    refused: Cell<u32>,
    /// Its readers lived off their reserve when it published last.
    full: Cell<bool>,
    /// Claims in a row after which it paused for its readers.
    pauses: Cell<u32>,
}

impl Pressure {
    /// An outcome found room.
    #[inline]
    pub(super) fn is_off(&self) {
        self.refused.set(0);
    }

    /// An outcome was refused: how long to hand out nothing fresh.
    pub(super) fn of_refusal(&self) -> Option<Duration> {
        let times = self.refused.get();
        self.refused.set(times.saturating_add(1));
        pause_under_pressure(times)
    }

    /// Whether its readers lived off their reserve when it published last.
    pub(super) fn by_readers(&self, full: bool) {
        self.full.set(full);
    }

    /// After a claim: how long to pause for its readers, if at all.
    pub(super) fn of_readers(&self) -> Option<Duration> {
        let full = self.full.take();
        let pauses = if full { self.pauses.get() } else { 0 };
        self.pauses.set(if full { pauses + 1 } else { 0 });
        full.then(|| pause_for_readers(pauses))
    }
}

/// How many outcomes in a row may be refused for want of room before the driver pauses.
const PATIENCE: u32 = 8;

/// How long to hand out nothing fresh after `refused` outcomes in a row, and one more, found no
/// room. The first few times the others of this thread get their turn, which may be enough; then
/// the pressure is to reach who publishes from outside.
fn pause_under_pressure(refused: u32) -> Option<Duration> {
    let doublings = refused.checked_sub(PATIENCE)?.min(10);
    Some(Duration::from_millis(1 << doublings))
}

/// How long to wait for who reads what one publishes, after `pauses` pauses in a row.
fn pause_for_readers(pauses: u32) -> Duration {
    Duration::from_millis(1 << pauses.min(6))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pressure_is_felt_step_by_step_and_not_for_ever() {
        let pauses: Vec<_> = (0..100).map(pause_under_pressure).collect();
        assert!(pauses[..8].iter().all(Option::is_none));
        assert_eq!(pauses[8], Some(Duration::from_millis(1)));
        assert!(pauses[8..].is_sorted());
        assert_eq!(pauses[99], Some(Duration::from_millis(1024)));
    }
}
