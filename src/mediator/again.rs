//! Commands that failed and are to be sent again, each at its time and each once. Pure.

use std::collections::{BTreeMap, BTreeSet};

use crate::clock::Moment;
use crate::queue::loose::Loose;
use crate::workflow::WorkflowId;

/// All that are to be sent again.
#[derive(Default)]
pub(super) struct Again {
    commands: BTreeMap<(WorkflowId, u32), (Moment, Box<dyn Loose>)>,
    times: BTreeSet<(Moment, WorkflowId, u32)>,
}

impl Again {
    /// That command is sent again then, and at no other time.
    pub(super) fn insert(
        &mut self,
        due: Moment,
        (id, step): (WorkflowId, u32),
        command: Box<dyn Loose>,
    ) {
        self.remove(id, step);
        self.commands.insert((id, step), (due, command));
        self.times.insert((due, id, step));
    }

    pub(super) fn remove(&mut self, id: WorkflowId, step: u32) -> Option<Box<dyn Loose>> {
        let (due, command) = self.commands.remove(&(id, step))?;
        self.times.remove(&(due, id, step));
        Some(command)
    }

    /// Nothing of that workflow is sent again.
    pub(super) fn forget(&mut self, id: WorkflowId) {
        let of_it = (id, 0)..=(id, u32::MAX);
        for ((id, step), (due, _)) in self.commands.extract_if(of_it, |_, _| true) {
            self.times.remove(&(due, id, step));
        }
    }

    /// The one whose time came first.
    pub(super) fn due(&mut self, now: Moment) -> Option<(WorkflowId, u32, Box<dyn Loose>)> {
        let (_, id, step) = self.times.first().copied().filter(|(due, ..)| *due <= now)?;
        Some((id, step, self.remove(id, step)?))
    }

    /// When the next one's time comes.
    pub(super) fn next(&self) -> Option<Moment> {
        self.times.first().map(|(due, ..)| *due)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde::{Deserialize, Serialize};

    use super::*;
    use crate::queue::loose::loose;

    #[derive(Serialize, Deserialize)]
    struct Do(u32);
    crate::command!(Do, "do" => u32);

    #[test]
    fn each_is_sent_once_in_the_order_of_their_times() {
        let (mut again, a, b) = (Again::default(), WorkflowId(1), WorkflowId(2));
        let mut at = |due, of| again.insert(Moment(due), of, loose(Do(0)).unwrap());
        at(30, (a, 1));
        at(20, (b, 1));
        at(10, (a, 1)); // it was loaded again meanwhile
        at(40, (b, 2));
        at(15, (a, 2));
        assert_eq!(again.next(), Some(Moment(10)));
        let due = |again: &mut Again, now| again.due(Moment(now)).map(|(id, step, _)| (id, step));
        assert_eq!(due(&mut again, 9), None);
        assert_eq!(due(&mut again, 99), Some((a, 1)));
        again.forget(a);
        assert!(again.remove(b, 3).is_none() && again.remove(b, 2).is_some());
        assert_eq!(due(&mut again, 99), Some((b, 1)));
        assert_eq!((due(&mut again, 99), again.next()), (None, None));
    }
}
