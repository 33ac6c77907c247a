//! Who expects which events: by its own key from its start, by another one while it waits. Pure.

use std::collections::{HashMap, HashSet};

use crate::message::Key;
use crate::workflow::WorkflowId;

/// Who expects what.
#[derive(Debug, Default)]
pub(crate) struct Index {
    /// Workflows that expect anything, by their names.
    expecting: HashSet<&'static str>,
    own: HashMap<Key, Vec<WorkflowId>, foldhash::fast::RandomState>,
    waits: HashMap<(String, Key), Vec<WorkflowId>, foldhash::fast::RandomState>,
}

fn take(from: &mut Vec<WorkflowId>, id: WorkflowId) -> bool {
    if let Some(at) = from.iter().position(|of| *of == id) {
        from.swap_remove(at);
    }
    from.is_empty()
}

impl Index {
    pub(crate) fn new(expecting: impl Iterator<Item = &'static str>) -> Self {
        Self { expecting: expecting.collect(), ..Self::default() }
    }

    /// A workflow begins that is about that.
    pub(crate) fn adds(&mut self, workflow: &str, key: &Key, id: WorkflowId) {
        if self.expecting.contains(workflow) {
            let of = self.own.entry(key.clone()).or_default();
            if !of.contains(&id) {
                of.push(id);
            }
        }
    }

    /// It has ended.
    pub(crate) fn removes(&mut self, workflow: &str, key: &Key, id: WorkflowId) {
        if self.expecting.contains(workflow)
            && let Some(of) = self.own.get_mut(key)
            && take(of, id)
        {
            self.own.remove(key);
        }
    }

    /// It waits for such an event about that.
    pub(crate) fn waits(&mut self, name: &str, key: &Key, id: WorkflowId) {
        self.waits.entry((name.to_owned(), key.clone())).or_default().push(id);
    }

    /// It waits for that no more.
    pub(crate) fn waits_no_more(&mut self, name: &str, key: &Key, id: WorkflowId) {
        let of = (name.to_owned(), key.clone());
        if let Some(ids) = self.waits.get_mut(&of)
            && take(ids, id)
        {
            self.waits.remove(&of);
        }
    }

    /// Who is to be told of an event, each once.
    pub(crate) fn who(&self, name: &str, key: &Key) -> Vec<WorkflowId> {
        let mut who = self.own.get(key).cloned().unwrap_or_default();
        if !self.waits.is_empty()
            && let Some(waits) = self.waits.get(&(name.to_owned(), key.clone()))
        {
            who.extend(
                waits.iter().filter(|id| !self.own.get(key).is_some_and(|own| own.contains(id))),
            );
        }
        who.sort_unstable();
        who.dedup();
        who
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_goes_to_whom_it_is_about_and_to_who_waits_for_it() {
        let mut index = Index::new(["rebook"].into_iter());
        let [a, b, c] = [1, 2, 3].map(WorkflowId);
        let (key, other) = (Key::from("UA1"), Key::from("desk 4"));
        index.adds("rebook", &key, a);
        index.adds("says nothing", &key, c);
        index.waits("approved", &other, a);
        index.waits("approved", &key, b);
        index.waits("approved", &key, a);
        assert_eq!(index.who("approved", &key), [a, b]);
        assert_eq!(index.who("refused", &key), [a]);
        assert_eq!(index.who("approved", &other), [a]);
        index.removes("rebook", &key, a);
        index.waits_no_more("approved", &other, a);
        index.waits_no_more("approved", &key, b);
        assert_eq!(
            index.who("approved", &key),
            [a],
            "it waits, although it is about something else"
        );
        index.waits_no_more("approved", &key, a);
        assert!(index.who("approved", &key).is_empty() && index.who("approved", &other).is_empty());
    }
}
