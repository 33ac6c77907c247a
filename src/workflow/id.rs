//! The ids of workflows, and of what their steps send. Pure.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::message::{EventId, Key};

/// The id of a workflow that was started: derived from the event that started it, from the key that it was
/// started under, or from its parent's id and step. So starting it once more is known as such.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct WorkflowId(pub(crate) u128);

/// The low bits of an id count the steps of one workflow.
const STEP_BITS: u32 = 20;

/// So many steps one history has at most, whatever its limit is.
pub(crate) const MOST_STEPS: u32 = (1 << STEP_BITS) - 1;

const STEPS: u128 = MOST_STEPS as u128;

/// Ids that are drawn have it clear, those of workflows have it set.
const DERIVED: u128 = 1 << 79;

impl WorkflowId {
    /// The workflow of that name in that mediator which that begins.
    fn derived(mediator: u32, name: &str, from: &[u8]) -> Self {
        let hash = xxhash_rust::xxh3::xxh3_128_with_seed(
            from,
            xxhash_rust::xxh3::xxh3_64(name.as_bytes()),
        );
        let own = hash & !(u128::from(u32::MAX) << 48) & !STEPS;
        Self(own | DERIVED | u128::from(mediator & 0x7fff_ffff) << 48)
    }

    pub(crate) fn of_event(mediator: u32, name: &str, event: EventId) -> Self {
        Self::derived(mediator, name, &event.0.to_le_bytes())
    }

    pub(crate) fn of_key(mediator: u32, name: &str, key: &Key) -> Self {
        Self::derived(mediator, name, key.as_str().as_bytes())
    }

    /// What a step of it sends; the id says whose it is.
    pub(crate) fn step(self, step: u32) -> EventId {
        EventId(self.0 | u128::from(step + 1))
    }

    /// Whose step sent that, if one did: which mediator's, which workflow's, which one.
    pub(crate) fn sent(event: EventId) -> Option<(u32, Self, u32)> {
        let step = (event.0 & STEPS) as u32;
        if event.0 & DERIVED == 0 || step == 0 {
            return None;
        }
        let id = Self(event.0 & !STEPS);
        Some((id.mediator(), id, step - 1))
    }

    /// The number of its mediator.
    pub(crate) fn mediator(self) -> u32 {
        (self.0 >> 48) as u32 & 0x7fff_ffff
    }

    /// As an event's id.
    pub(crate) fn event(self) -> EventId {
        EventId(self.0)
    }
}

impl fmt::Display for WorkflowId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.event().fmt(f)
    }
}

impl fmt::Debug for WorkflowId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for WorkflowId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        text.parse::<EventId>().map(|id| Self(id.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_step_sends_says_whose_it_is() {
        let id = WorkflowId::of_event(7, "rebook", EventId(12345));
        assert_eq!(id, WorkflowId::of_event(7, "rebook", EventId(12345)));
        for step in [0, 1, MOST_STEPS - 1] {
            assert_eq!(WorkflowId::sent(id.step(step)), Some((7, id, step)));
        }
        assert_ne!(id, WorkflowId::of_event(7, "other", EventId(12345)));
        assert_ne!(id, WorkflowId::of_key(7, "rebook", &Key::from("12345")));
        assert_eq!(id.to_string().parse::<WorkflowId>().ok(), Some(id));
        assert_eq!(WorkflowId::sent(id.event()), None);
    }
}
