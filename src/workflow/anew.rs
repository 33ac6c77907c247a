//! What of a workflow's history stays when it begins anew: with another input, with what came in another
//! order, or from one of its steps on. Pure.

use serde::{Deserialize, Serialize};

use super::history::{Begun, Entry, Kind};
use crate::message::EventId;
use crate::store::file::bytes::Bytes;

/// Something that came to a workflow, at its place in the order.
pub(crate) type Placed<P> = (P, Vec<u8>);

/// From one of its steps on all is done anew, and nothing of that has the number of what was done before:
/// whoever still answers that is too late.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Restart {
    /// What would have this number has the other one.
    pub(crate) at: u32,
    pub(crate) to: u32,
    /// The last turn of which something was kept: there may be more in it than was.
    pub(crate) turn: Option<u32>,
}

/// Whether the history of one that goes on with another input begins with that: it has not taken it, or not
/// even been told, and it is not about a step.
pub(crate) fn is_carried(
    number: usize,
    entry: &[u8],
    told: u32,
    untaken: impl Fn(EventId) -> bool,
) -> bool {
    let is_new = number >= told as usize;
    match Entry::read(&mut Bytes(entry)) {
        Ok(Entry::Came { event, .. }) => is_new || untaken(event),
        Ok(Entry::Cancelled | Entry::Compensate) => is_new,
        _ => false,
    }
}

/// What came since its code returned, `at` things having come by then, is told to it before the last of those
/// as far as these are events. All stand in the same places as before, in another order.
pub(crate) fn events_first<P: Copy>(all: Vec<Placed<P>>, at: u32) -> Vec<Placed<P>> {
    let places: Vec<P> = all.iter().map(|(place, _)| *place).collect();
    let mut before: Vec<_> = all.into_iter().map(|(_, entry)| entry).collect();
    let since = before.split_off((at as usize).min(before.len()));
    let last = before.pop();
    let (events, others): (Vec<_>, Vec<_>) =
        since.into_iter().partition(|entry| Entry::is_event(entry));
    let told = before.into_iter().chain(events).chain(last).chain(others);
    places.into_iter().zip(told).collect()
}

/// What stays of the steps of one that is restarted.
pub(crate) struct Cut {
    pub(crate) kept: Vec<Begun>,
    pub(crate) gone: Vec<Begun>,
    pub(crate) restart: Restart,
}

/// All that was begun before that step stays, but for what was made or begun out of that order, and what was
/// done because it was cancelled; none if there is no such step.
pub(crate) fn cut(begun: &[Begun], step: u32, before: &[Restart], cancelled: bool) -> Option<Cut> {
    let mut length = begun.iter().position(|begun| begun.step == step)?;
    if cancelled {
        // Nothing that waits was begun since, but to make up for what it did.
        let waits = |begun: &Begun| begun.kind.waits() && begun.kind != Kind::Undo;
        length = length.min(begun.iter().rposition(waits).map_or(0, |last| last + 1));
    }
    let at = loop {
        let first = begun[length..].iter().map(|begun| begun.step).min()?;
        match begun[..length].iter().position(|begun| begun.step > first) {
            Some(made_later) => length = made_later,
            None => break first,
        }
    };
    let (kept, gone) = begun.split_at(length);
    let numbers = begun.iter().map(|begun| begun.step + 1);
    let to = numbers.chain(before.iter().map(|restart| restart.to)).max()?;
    let restart = Restart { at, to, turn: kept.last().map(|begun| begun.turn) };
    Some(Cut { kept: kept.to_vec(), gone: gone.to_vec(), restart })
}

impl Cut {
    /// Whether that which came is still told: nothing of what is done anew.
    pub(crate) fn stays(&self, entry: &[u8]) -> bool {
        match Entry::read(&mut Bytes(entry)) {
            Ok(Entry::Done { step, .. } | Entry::Failed { step, .. } | Entry::Over { step }) => {
                self.kept.iter().any(|begun| begun.step == step)
            }
            Ok(Entry::Came { .. }) => true,
            Ok(Entry::Cancelled | Entry::Compensate) | Err(_) => false,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn begun(turn: u32, step: u32, kind: Kind) -> Begun {
        Begun { turn, step, kind, name: "a".into(), digest: 0, key: None, due: None }
    }

    fn steps(cut: &Cut) -> Vec<u32> {
        cut.kept.iter().map(|begun| begun.step).collect()
    }

    #[test]
    fn what_was_begun_before_a_step_stays_also_in_its_turn() {
        let all: Vec<_> =
            [(0, 0), (1, 1), (1, 2), (1, 3), (2, 4)].map(|(t, s)| begun(t, s, Kind::Call)).into();
        let one = cut(&all, 2, &[], false).unwrap();
        assert_eq!(steps(&one), [0, 1]);
        assert_eq!(one.restart, Restart { at: 2, to: 5, turn: Some(1) });
        assert!(cut(&all, 5, &[], false).is_none());
        let first = cut(&all, 0, &[one.restart, Restart { at: 5, to: 9, turn: None }], false);
        assert_eq!(first.unwrap().restart, Restart { at: 0, to: 9, turn: None });
    }

    #[test]
    fn what_was_made_before_it_and_begun_after_it_goes_as_well() {
        let order = [0, 3, 1, 4].map(|step| begun(step, step, Kind::Call));
        assert_eq!(steps(&cut(&order, 4, &[], false).unwrap()), [0, 3, 1]);
        // Of 1 and what comes behind it, 3 would be done anew under another number.
        let one = cut(&order, 1, &[], false).unwrap();
        assert_eq!((steps(&one), one.restart.at), (vec![0], 1));
    }

    #[test]
    fn what_was_done_because_it_was_cancelled_goes_as_well() {
        let all = [(0, Kind::Publish), (1, Kind::Call), (2, Kind::Publish), (3, Kind::Undo)];
        let all = all.map(|(step, kind)| begun(step, step, kind));
        assert_eq!(steps(&cut(&all, 3, &[], false).unwrap()), [0, 1, 2]);
        assert_eq!(steps(&cut(&all, 3, &[], true).unwrap()), [0, 1]);
    }

    fn entries(events: &[bool]) -> Vec<Placed<usize>> {
        let put = |(place, is_event): (usize, &bool)| {
            let (mut bytes, number) = (Vec::new(), place as u32);
            let event = EventId(u128::from(number));
            match is_event {
                true => Entry::Came { name: "a", key: None, event, payload: &[] }.put(&mut bytes),
                false => Entry::Over { step: number }.put(&mut bytes),
            }
            (place * 3, bytes)
        };
        events.iter().enumerate().map(put).collect()
    }

    proptest! {
        #[test]
        fn events_come_first_however_many_there_are(events in prop::collection::vec(any::<bool>(), 0..600), at in 0u32..600) {
            let before = entries(&events);
            let after = events_first(before.clone(), at);
            let places = |all: &[Placed<usize>]| all.iter().map(|(place, _)| *place).collect::<Vec<_>>();
            prop_assert_eq!(places(&before), places(&after));
            let at = (at as usize).min(before.len());
            let (mut told, since) = (before[..at].to_vec(), &before[at..]);
            let last = told.pop();
            let of = |wanted: bool| since.iter().filter(move |(_, entry)| Entry::is_event(entry) == wanted).cloned();
            let all = told.into_iter().chain(of(true)).chain(last).chain(of(false));
            let bytes = |all: Vec<Placed<usize>>| all.into_iter().map(|(_, entry)| entry).collect::<Vec<_>>();
            prop_assert_eq!(bytes(after), bytes(all.collect()));
        }
    }
}
