//! How workflows ended, as long as that is known. Pure.

use std::collections::{HashMap, VecDeque};

use super::record::Ended;
use crate::workflow::WorkflowId;

/// Of so many without a key it is known how they ended.
const OTHERS: usize = 1024;

/// How those ended that may be asked for.
#[derive(Default)]
pub(crate) struct Endings {
    how: HashMap<WorkflowId, Ended, foldhash::fast::RandomState>,
    /// Those with a key, the first to end first: their keys begin no other one.
    keyed: VecDeque<WorkflowId>,
    /// The last others.
    others: VecDeque<WorkflowId>,
}

impl Endings {
    /// How it ended, if that is known.
    pub(crate) fn of(&self, id: WorkflowId) -> Option<&Ended> {
        self.how.get(&id)
    }

    /// How it ended is known for a while.
    pub(crate) fn remember(&mut self, id: WorkflowId, ended: Ended) {
        let keyed = ended.kept;
        if self.how.insert(id, ended).is_some() {
            return;
        }
        if keyed {
            self.keyed.push_back(id);
            return;
        }
        self.others.push_back(id);
        if self.others.len() > OTHERS
            && let Some(first) = self.others.pop_front()
        {
            self.how.remove(&first);
        }
    }

    /// One with a key whose end need not be known any more, if there are more than so many of them, or it ended
    /// before that.
    pub(crate) fn forgets(&mut self, most: usize, before: u64) -> Option<WorkflowId> {
        let id = *self.keyed.front()?;
        let is_old = self.how.get(&id).is_none_or(|ended| ended.at < before);
        if !(is_old || self.keyed.len() > most) {
            return None;
        }
        self.keyed.pop_front();
        self.how.remove(&id);
        Some(id)
    }

    /// Those of an earlier process, in the order in which they ended.
    pub(crate) fn sort(&mut self) {
        let at = |id: &WorkflowId| self.how.get(id).map(|ended| ended.at);
        self.keyed.make_contiguous().sort_by_key(at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(at: u64, kept: bool) -> Ended {
        Ended { at, how: Ok(Box::default()), cancelled: false, kept }
    }

    #[test]
    fn many_without_a_key_do_not_make_one_with_a_key_forgotten() {
        let mut endings = Endings::default();
        endings.remember(WorkflowId(7), ended(70, true));
        endings.remember(WorkflowId(5), ended(50, true));
        for id in 100..10_000 {
            endings.remember(WorkflowId(id), ended(90, false));
        }
        endings.sort();
        assert!(endings.of(WorkflowId(7)).is_some() && endings.of(WorkflowId(9_999)).is_some());
        assert!(endings.of(WorkflowId(100)).is_none(), "that was long ago");
        assert_eq!(endings.forgets(2, 0), None);
        assert_eq!(endings.forgets(1, 0), Some(WorkflowId(5)), "the first to end");
        assert_eq!(endings.forgets(1, 71), Some(WorkflowId(7)), "too old");
        assert_eq!(endings.forgets(0, 0), None);
    }
}
