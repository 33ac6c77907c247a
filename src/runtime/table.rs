//! The processors of a runtime, by name and in the order they were added: found, added and taken out
//! in no more time however many there are.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::core::Running;

/// The processors that have their names.
#[derive(Default)]
pub(crate) struct Table {
    in_order: BTreeMap<usize, Arc<Running>>,
    by_name: HashMap<Arc<str>, usize>,
}

impl Table {
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Running>> {
        self.in_order.values()
    }

    pub(crate) fn find(&self, name: &str) -> Option<&Arc<Running>> {
        self.in_order.get(self.by_name.get(name)?)
    }

    pub(crate) fn add(&mut self, running: Arc<Running>) {
        self.by_name.insert(running.declaration.name.clone(), running.number);
        self.in_order.insert(running.number, running);
    }

    /// None if it is not there (any more).
    pub(crate) fn take(&mut self, running: &Running) -> Option<Arc<Running>> {
        let taken = self.in_order.remove(&running.number)?;
        self.by_name.remove(&taken.declaration.name);
        Some(taken)
    }
}
