//! How far back each subscription still needs the log: what is before that can be given back.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::message::Seq;
use crate::store::file::keeper::Floor;

/// What each subscription still needs of the log.
#[derive(Clone)]
pub(crate) struct Needs(Arc<Shared>);

struct Shared {
    inner: Mutex<Inner>,
    floor: Floor,
}

#[derive(Default)]
struct Inner {
    names: BTreeMap<u32, String>,
    by_number: BTreeMap<u32, Seq>,
    in_order: BTreeSet<(Seq, u32)>,
    next: Seq,
}

impl Inner {
    fn set(&mut self, number: u32, needs: Option<Seq>) {
        if let Some(before) = self.by_number.remove(&number) {
            self.in_order.remove(&(before, number));
        }
        match needs {
            Some(needs) => {
                self.by_number.insert(number, needs);
                self.in_order.insert((needs, number));
            }
            None => drop(self.names.remove(&number)),
        }
    }
}

impl Needs {
    pub(crate) fn new(floor: Floor, next: Seq) -> Self {
        let inner = Mutex::new(Inner { next, ..Inner::default() });
        Self(Arc::new(Shared { inner, floor }))
    }

    /// The subscription of that number has that name.
    pub(crate) fn name(&self, number: u32, name: &str) {
        self.0.inner.lock().names.insert(number, name.to_owned());
    }

    /// That one needs everything from there on.
    pub(crate) fn set(&self, number: u32, needs: Seq) {
        self.0.inner.lock().set(number, Some(needs));
    }

    /// What some need is on disk, and so is everything before `next`. Those that need nothing are gone.
    pub(super) fn told(&self, told: impl Iterator<Item = (u32, Option<Seq>)>, next: u64) {
        let inner = &mut *self.0.inner.lock();
        told.for_each(|(number, needs)| inner.set(number, needs));
        inner.next = Seq(next);
        self.0.floor.set(inner.in_order.first().map_or(next, |(needs, _)| needs.0));
    }

    /// All subscriptions that the log knows: the name, the first event that each needs, and how many
    /// there are from that one on.
    pub(crate) fn all(&self) -> Vec<(String, Seq, u64)> {
        let inner = self.0.inner.lock();
        let all = inner.names.iter().map(|(number, name)| {
            let needs = inner.by_number.get(number).copied().unwrap_or(inner.next);
            (name.clone(), needs, inner.next.0.saturating_sub(needs.0))
        });
        all.collect()
    }
}
