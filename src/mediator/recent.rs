//! How many commands were sent lately and are not answered yet. Pure.

use std::time::Duration;

use crate::clock::Moment;

/// Whoever has not answered by then is slow, and nobody is kept waiting for that.
const LATELY: Duration = Duration::from_secs(1);

/// Commands that were sent lately: within one to two spans of [`LATELY`].
#[derive(Debug, Default)]
pub(super) struct Recent {
    /// When the present span began, and how many of it and of the one before are not answered.
    since: Moment,
    present: usize,
    before: usize,
}

impl Recent {
    fn passes(&mut self, now: Moment) {
        let passed = now.since(self.since);
        if passed >= LATELY {
            self.before = if passed < 2 * LATELY { self.present } else { 0 };
            (self.since, self.present) = (now, 0);
        }
    }

    pub(super) fn sent(&mut self, now: Moment) {
        self.passes(now);
        self.present += 1;
    }

    /// One that was sent then is answered, or nobody waits for it any more.
    pub(super) fn answered(&mut self, sent: Moment) {
        let of = match sent >= self.since {
            true => &mut self.present,
            false => &mut self.before,
        };
        *of = of.saturating_sub(1);
    }

    pub(super) fn count(&mut self, now: Moment) -> usize {
        self.passes(now);
        self.present + self.before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_that_are_not_answered_for_long_do_not_count() {
        let at = |millis: u64| Moment::default().after(Duration::from_millis(millis));
        let mut recent = Recent::default();
        for sent in [10_000, 10_100, 10_900] {
            recent.sent(at(sent));
        }
        recent.answered(at(10_100));
        assert_eq!(recent.count(at(10_999)), 2);
        recent.sent(at(11_100));
        assert_eq!(recent.count(at(11_100)), 3, "the last span counts");
        recent.answered(at(10_900));
        recent.answered(at(11_100));
        assert_eq!(recent.count(at(11_200)), 1);
        assert_eq!(recent.count(at(12_100)), 0, "it is slow");
        recent.sent(at(12_200));
        assert_eq!(recent.count(at(20_000)), 0);
    }
}
