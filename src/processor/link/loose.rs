//! What a mediator's workflows send: messages whose types only they know, under ids of their own. They find
//! room together, or none leaves.

use super::Link;
use crate::broker::handle::Lease;
use crate::clock::Timestamp;
use crate::error::{Error, Failure, Outcome};
use crate::message::envelope::Origin;
use crate::message::{Declared, EventId};
use crate::processor::emitted::Emitted;
use crate::queue::batch::Load;
use crate::queue::loose::{Loose, Place};

/// Why something cannot be sent.
#[derive(Debug)]
pub(crate) enum Unsent {
    /// Not now.
    Yet,
    /// Nobody handles it.
    NoHandler,
    Never(Failure),
}

impl Link {
    /// Whether a command could be sent to somebody, or an event to all.
    pub(crate) fn can_send(&self, message: &dyn Loose, is_command: bool) -> Result<(), Unsent> {
        let stored = self.broker.journal.is_some();
        let load = Load::new(1, message.weight(stored));
        let slot = self.emits(message.declared()).map_err(Unsent::Never)?;
        let chunk = self.chunk.borrow();
        let Emitted { topic, name, .. } = chunk.emitted[slot];
        if is_command && !self.broker.is_served(topic) {
            return Err(Unsent::NoHandler);
        }
        if self.broker.never_fits(topic, load) {
            let text = format!(
                "`{name}` of {} bytes is more than its processor may ever hold",
                load.weight
            );
            return Err(Unsent::Never(Failure::permanent(text).reason("too_large")));
        }
        Ok(())
    }

    /// Takes room for all of them, or for none.
    pub(crate) fn take_room<'a>(
        &self,
        messages: impl Iterator<Item = &'a dyn Loose>,
    ) -> Result<(), Unsent> {
        let stored = self.broker.journal.is_some();
        let mut taken = Vec::new();
        for message in messages {
            let slot = self.emits(message.declared()).map_err(Unsent::Never)?;
            let load = Load::new(1, message.weight(stored));
            let chunk = &mut *self.chunk.borrow_mut();
            let emitted = &mut chunk.emitted[slot];
            if !load.fits(emitted.lease.allowed) {
                let Some(more) = self.broker.lease(self.holder, emitted.topic, load) else {
                    self.give_back(taken);
                    return Err(Unsent::Yet);
                };
                emitted.lease.allowed.add(more);
            }
            emitted.lease.spend(load);
            taken.push((slot, load));
        }
        Ok(())
    }

    fn give_back(&self, taken: Vec<(usize, Load)>) {
        let chunk = &mut *self.chunk.borrow_mut();
        for (slot, load) in taken {
            let lease = &mut chunk.emitted[slot].lease;
            lease.allowed.add(load);
            lease.used = lease.used.less(load);
        }
    }

    /// Stages a message for which there is room, under that id.
    pub(crate) fn send(&self, message: Box<dyn Loose>, id: EventId, origin: &Origin) -> Outcome {
        let slot = self.emits(message.declared())?;
        let chunk = &mut *self.chunk.borrow_mut();
        let (topic, stored) = (chunk.emitted[slot].topic, self.broker.journal.is_some());
        let now = *chunk.now.get_or_insert_with(Timestamp::now);
        message.push(&mut chunk.outbox, Place { topic, id, origin, now, stored });
        self.published.set(chunk.outbox.len());
        self.mark.set(chunk.outbox.len());
        Ok(())
    }

    /// So many bytes wait to be committed.
    pub(crate) fn staged_bytes(&self) -> usize {
        let chunk = self.chunk.borrow();
        chunk.outbox.stored().len() + chunk.facts.len()
    }

    /// These facts go to the log with what is committed next, if there is one.
    pub(crate) fn stage_facts(&self, put: impl FnOnce(&mut Vec<u8>)) {
        if self.broker.journal.is_some() {
            put(&mut self.chunk.borrow_mut().facts);
        }
    }

    fn emits(&self, declared: Declared) -> Outcome<usize> {
        let chunk = &mut *self.chunk.borrow_mut();
        if let Some(known) = chunk.emitted.iter().position(|emitted| emitted.of == declared.of) {
            return Ok(known);
        }
        let Declared { of, name, .. } = declared;
        let topic = self.broker.topic_of(&declared, &self.subscription.name.name);
        let topic = topic.map_err(|error: Error| Failure::permanent(error.to_string()))?;
        let (lease, short) = (Lease::default(), Load::default());
        chunk.emitted.push(Emitted { of, topic, name, lease, short });
        Ok(chunk.emitted.len() - 1)
    }
}
