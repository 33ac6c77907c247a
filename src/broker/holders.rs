//! Who holds room that was allowed and not used yet: the drivers that publish. Kept so that the room
//! comes back if a driver's thread does not. Pure.

use crate::message::envelope::TopicId;
use crate::queue::batch::Load;

/// A driver that publishes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Holder {
    place: usize,
    /// Never used again.
    id: u64,
}

#[derive(Debug)]
struct Held {
    id: u64,
    leases: Vec<(TopicId, Load)>,
}

/// All drivers that publish, with what is allowed to each.
#[derive(Debug, Default)]
pub(crate) struct Holders {
    places: Vec<Option<Held>>,
    free: Vec<usize>,
    next: u64,
}

impl Holders {
    pub(crate) fn join(&mut self) -> Holder {
        let place = self.free.pop().unwrap_or_else(|| {
            self.places.push(None);
            self.places.len() - 1
        });
        let id = self.next;
        self.next += 1;
        self.places[place] = Some(Held { id, leases: Vec::new() });
        Holder { place, id }
    }

    fn held(&mut self, by: Holder) -> Option<&mut Held> {
        self.places.get_mut(by.place)?.as_mut().filter(|held| held.id == by.id)
    }

    /// More is allowed. False if the holder is gone.
    pub(crate) fn more(&mut self, by: Holder, topic: TopicId, load: Load) -> bool {
        let Some(held) = self.held(by) else { return false };
        match held.leases.iter_mut().find(|(of, _)| *of == topic) {
            Some((_, lease)) => lease.add(load),
            None => held.leases.push((topic, load)),
        }
        true
    }

    /// So much was used, or given back. False if the holder is gone, with all it had.
    pub(crate) fn less(&mut self, by: Holder, topic: TopicId, load: Load) -> bool {
        let Some(held) = self.held(by) else { return false };
        if let Some((_, lease)) = held.leases.iter_mut().find(|(of, _)| *of == topic) {
            *lease = lease.less(load);
        }
        true
    }

    /// It is gone. What it still had.
    pub(crate) fn leave(&mut self, by: Holder) -> Vec<(TopicId, Load)> {
        if self.held(by).is_none() {
            return Vec::new();
        }
        self.free.push(by.place);
        self.places[by.place].take().map_or_else(Vec::new, |held| held.leases)
    }
}
