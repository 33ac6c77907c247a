//! What follows from what came to a workflow: a result, the end of a time, an event, an order. Pure.

use std::time::Duration;

use super::core::{Core, Ended, Slot, Waits};
use super::effect::Effect;
use super::history::Entry;
use super::owed::Known;
use crate::error::Failure;
use crate::message::{EventId, Key};
use crate::queue::backoff::Backoff;

/// An event that came and was not taken.
pub(crate) struct Came {
    name: String,
    key: Option<Key>,
    pub(crate) event: EventId,
    payload: Vec<u8>,
}

/// The reason of a failure that says that nobody handles the command, whose workflow waits for somebody.
pub(crate) const UNHANDLED: &str = "waits_for_handler";
/// How patiently it does: whoever sends again looks more often.
const FOR_HANDLER: Backoff = Backoff::new(Duration::from_millis(50), Duration::from_millis(50));

impl Core {
    /// Something came. True if code is to go on because of it.
    pub(super) fn takes(&mut self, entry: Entry<'_>) -> bool {
        if let Entry::Done { step, .. } | Entry::Failed { step, .. } | Entry::Over { step } = &entry
            && matches!(self.slots.get(self.place(*step)), None | Some(Slot::Made))
        {
            if !self.has_begun(*step) {
                self.late += 1; // of an earlier run, or of a step that was done anew otherwise
                return false;
            }
            self.adds(format!("its turn without step {step}, whose result its history has"));
            return true;
        }
        match entry {
            Entry::Done { step, result } => self.done(step, result),
            Entry::Failed { step, failure, at, again } => self.failed(step, failure, at, again),
            Entry::Over { step } => {
                let waits = self.waits(step).is_some();
                if waits {
                    self.effects.push(Effect::Forget { step, said: true });
                    self.ends(step, Ended::Over);
                }
                waits
            }
            Entry::Came { name, key, event, payload } => {
                let (name, key, payload) = (name.to_owned(), key.map(Key::from), payload.to_vec());
                self.inbox.push_back(Came { name, key, event, payload });
                self.hands_out()
            }
            Entry::Cancelled => self.cancels(),
            Entry::Compensate => false,
        }
    }

    fn waits(&mut self, step: u32) -> Option<&mut Waits> {
        let place = self.place(step);
        match self.slots.get_mut(place)? {
            Slot::Waits(waits) => Some(waits),
            _ => None,
        }
    }

    fn done(&mut self, step: u32, result: &[u8]) -> bool {
        self.owed.iter_mut().filter(|owed| owed.step == step).for_each(|owed| owed.is_done(result));
        let waits = self.waits(step).is_some();
        self.late += u32::from(!waits);
        self.ends(step, Ended::Done(result.to_vec()));
        waits
    }

    fn failed(&mut self, step: u32, failure: Failure, at: u64, again: bool) -> bool {
        let Some(waits) = self.waits(step) else {
            self.late += 1;
            return false;
        };
        let unhandled = waits.for_handler && failure.named_reason() == Some(UNHANDLED);
        waits.failures += u32::from(!unhandled);
        let failures = waits.failures;
        let retried = waits.again.as_ref().filter(|(_, retry)| {
            let more = failures < retry.attempts && !failure.is_permanent();
            unhandled || more || waits.is_owed
        });
        if let Some((command, retry)) = retried {
            let backoff = if unhandled { FOR_HANDLER } else { retry.backoff };
            match command.another() {
                Ok(_) if again => return false,
                Ok(command) => {
                    self.effects.push(Effect::SendAgain { step, command, failures, at, backoff });
                    return false;
                }
                Err(undecodable) => {
                    self.effects.push(Effect::Forget { step, said: false });
                    self.ends(step, Ended::Failed(undecodable));
                    return true;
                }
            }
        }
        if failure.is_permanent() {
            // Whoever handled it says so, and so nothing of it was kept.
            self.owed.retain(|owed| owed.step != step || owed.known != Known::Unknown);
        }
        self.effects.push(Effect::Forget { step, said: false });
        self.ends(step, Ended::Failed(failure));
        true
    }

    /// How often a step has failed that waits.
    pub(super) fn failures(&mut self, step: u32) -> Option<u32> {
        Some(self.waits(step)?.failures)
    }

    /// Nobody waits for anything any more.
    pub(super) fn forgets_all(&mut self) {
        for (place, slot) in self.slots.iter_mut().enumerate() {
            if let Slot::Waits(_) = std::mem::replace(slot, Slot::Gone) {
                self.effects.push(Effect::Forget { step: self.first + place as u32, said: false });
            }
        }
        self.outstanding = 0;
    }

    fn cancels(&mut self) -> bool {
        if std::mem::replace(&mut self.cancelled, true) {
            return false;
        }
        let waiting = |slot: &Slot| matches!(slot, Slot::Waits(_));
        let all = (0..self.slots.len()).filter(|place| waiting(&self.slots[*place]));
        for step in all.map(|place| self.first + place as u32).collect::<Vec<_>>() {
            self.effects.push(Effect::Forget { step, said: false });
            self.ends(step, Ended::Cancelled);
        }
        true
    }

    /// Gives an event that came to whoever waits for it, the first to the first. True if there was one.
    pub(super) fn hands_out(&mut self) -> bool {
        for at in 0..self.inbox.len() {
            let came = &self.inbox[at];
            let takes = |slot: &Slot| match slot {
                Slot::Waits(waits) => {
                    waits.event.as_ref().is_some_and(|(name, key)| came.is(name, key))
                }
                _ => false,
            };
            if let Some(place) = self.slots.iter().position(takes)
                && let Some(came) = self.inbox.remove(at)
            {
                let step = self.first + place as u32;
                self.effects.push(Effect::Forget { step, said: false });
                self.ends(step, Ended::Done(came.payload));
                return true;
            }
        }
        false
    }

    /// An event that is there already.
    pub(super) fn received(&mut self, name: &str, key: &Key) -> Option<Vec<u8>> {
        let at = self.inbox.iter().position(|came| came.is(name, key))?;
        self.inbox.remove(at).map(|came| came.payload)
    }

    /// Events that came and were not taken.
    pub(super) fn untaken(&self) -> impl Iterator<Item = EventId> + '_ {
        self.inbox.iter().map(|came| came.event)
    }
}

impl Came {
    fn is(&self, name: &str, key: &Key) -> bool {
        self.name == name && self.key.as_ref() == Some(key)
    }
}
