//! Workflows that are about to begin, as soon as that is committed. Pure.

use std::collections::HashMap;

use crate::message::EventId;
use crate::workflow::WorkflowId;

struct Starting {
    workflow: &'static str,
    from: EventId,
    attempt: u64,
}

/// All that are about to begin.
#[derive(Default)]
pub(crate) struct Startings {
    all: HashMap<WorkflowId, Starting, foldhash::fast::RandomState>,
    attempts: u64,
}

impl Startings {
    /// The number of this attempt, or none if another event is about to begin it. If the same one comes again,
    /// nothing came of the attempt before: whoever had it was stopped.
    pub(crate) fn begins(
        &mut self,
        id: WorkflowId,
        workflow: &'static str,
        from: EventId,
    ) -> Option<u64> {
        if self.all.get(&id).is_some_and(|before| before.from != from) {
            return None;
        }
        self.attempts += 1;
        self.all.insert(id, Starting { workflow, from, attempt: self.attempts });
        Some(self.attempts)
    }

    /// That attempt is over. False if there was another since.
    pub(crate) fn ends(&mut self, id: WorkflowId, attempt: u64) -> bool {
        let is_last = self.all.get(&id).is_some_and(|last| last.attempt == attempt);
        if is_last {
            self.all.remove(&id);
        }
        is_last
    }

    pub(crate) fn contains(&self, id: WorkflowId) -> bool {
        self.all.contains_key(&id)
    }

    /// What a workflow is that begins before that event comes, and not by it.
    pub(crate) fn begins_before(&self, id: WorkflowId, event: EventId) -> Option<&'static str> {
        let starting = self.all.get(&id).filter(|starting| starting.from != event)?;
        Some(starting.workflow)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_that_came_to_nothing_does_not_stand_in_the_way() {
        let mut all = Startings::default();
        let (id, event, other) = (WorkflowId(1), EventId(10), EventId(11));
        let first = all.begins(id, "rebook", event);
        assert!(first.is_some());
        assert_eq!(all.begins(id, "rebook", other), None, "it begins already");
        // The same event comes again, to somebody else.
        let second = all.begins(id, "rebook", event);
        assert!(second.is_some() && second != first);
        assert!(!first.is_some_and(|first| all.ends(id, first)), "it was void");
        assert!(all.contains(id));
        assert_eq!(all.begins_before(id, event), None);
        assert_eq!(all.begins_before(id, other), Some("rebook"));
        assert!(second.is_some_and(|second| all.ends(id, second)));
        assert!(!all.contains(id));
    }
}
