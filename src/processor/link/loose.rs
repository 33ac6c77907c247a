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
        let emitted = &mut self.chunk.borrow_mut().emitted[slot];
        // Asked once a commit, and for what is heavier than all before.
        let commit = self.commits.get();
        if emitted.asked.0 == commit && load.weight <= emitted.asked.1 {
            return Ok(());
        }
        let Emitted { topic, name, .. } = *emitted;
        let (served, never_fits) = self.broker.takes(topic, load);
        if is_command && !served {
            return Err(Unsent::NoHandler);
        }
        if never_fits {
            let text = format!(
                "`{name}` of {} bytes is more than its processor may ever hold",
                load.weight
            );
            return Err(Unsent::Never(Failure::permanent(text).reason("too_large")));
        }
        emitted.asked = (commit, load.weight);
        Ok(())
    }

    /// Takes room for all of them, or for none.
    pub(crate) fn take_room<'a>(
        &self,
        messages: impl Iterator<Item = &'a dyn Loose> + Clone,
    ) -> Result<(), Unsent> {
        let stored = self.broker.journal.is_some();
        for (taken, message) in messages.clone().enumerate() {
            let slot = self.emits(message.declared()).map_err(Unsent::Never)?;
            let load = Load::new(1, message.weight(stored));
            let topic = {
                let Emitted { topic, lease, .. } = &mut self.chunk.borrow_mut().emitted[slot];
                if load.fits(lease.allowed) {
                    lease.spend(load);
                    continue;
                }
                *topic
            };
            let Some(more) = self.broker.lease(self.holder, topic, load) else {
                self.give_back(messages.take(taken));
                return Err(Unsent::Yet);
            };
            let lease = &mut self.chunk.borrow_mut().emitted[slot].lease;
            lease.allowed.add(more);
            lease.spend(load);
        }
        Ok(())
    }

    fn give_back<'a>(&self, messages: impl Iterator<Item = &'a dyn Loose>) {
        let stored = self.broker.journal.is_some();
        for message in messages {
            let Ok(slot) = self.emits(message.declared()) else { continue };
            let load = Load::new(1, message.weight(stored));
            let lease = &mut self.chunk.borrow_mut().emitted[slot].lease;
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
        chunk.emitted.push(Emitted { of, topic, name, lease, short, asked: (0, 0) });
        Ok(chunk.emitted.len() - 1)
    }
}
