//! What the event in hand publishes: staged in the driver's outbox, paid for by leases.

use std::any::TypeId;

use super::{Leases, Link};
use crate::broker::encoded::{StoredBytes, form_of};
use crate::broker::handle::Lease;
use crate::broker::offer::too_heavy;
use crate::clock::Timestamp;
use crate::error::{Error, Failure, Outcome};
use crate::message::envelope::Origin;
use crate::message::{Event, EventId};
use crate::processor::emitted::Emitted;
use crate::processor::outcome::Ended;
use crate::queue::batch::{Events, Load};
use crate::queue::form::Form;
use crate::store::LARGEST_BATCH;

/// So many bytes of publications are committed without waiting for more.
const HEAVY: usize = 1 << 20;

impl Link {
    /// Stages a publication of the event in hand.
    #[inline]
    pub(crate) fn publish<E: Event>(&self, event: E, origin: &Origin) -> Outcome<EventId> {
        match self.broker.journal {
            None => self.publish_value(event, origin),
            Some(_) if !self.broker.durability.keeps(E::NAME) => self.publish_value(event, origin),
            Some(_) => self.publish_stored(event, origin),
        }
    }

    #[inline]
    fn publish_value<E: Event>(&self, event: E, origin: &Origin) -> Outcome<EventId> {
        let form = form_of(&event, None);
        self.publish_as(event, origin, form)
    }

    #[cold]
    fn publish_stored<E: Event>(&self, event: E, origin: &Origin) -> Outcome<EventId> {
        let stored = stored_bytes(&event)?;
        self.publish_as(event, origin, stored.form())
    }

    #[inline]
    fn publish_as<E: Event>(&self, event: E, origin: &Origin, form: Form<'_>) -> Outcome<EventId> {
        let chunk = &mut *self.chunk.borrow_mut();
        let slot = self.emitted::<E>(&mut chunk.emitted)?;
        let mut ids = self.ids.borrow_mut();
        let now = *chunk.now.get_or_insert_with(|| {
            let now = Timestamp::now();
            ids.advance(now);
            now
        });
        let id = ids.draw();
        let emitted = &mut chunk.emitted[slot];
        let load = Load::new(1, form.first());
        if load.fits(emitted.lease.allowed) {
            emitted.lease.spend(load);
        } else {
            emitted.short.add(load);
            self.short.set(true);
        }
        if let Some(stored) = form.bytes() {
            self.weigh(chunk.outbox.stored().len() + stored.len())?;
        }
        let event = std::iter::once(event);
        chunk.outbox.push(emitted.topic, event, form, id, origin, || now);
        self.published.set(chunk.outbox.len());
        Ok(id)
    }

    /// So many bytes are in the outbox.
    fn weigh(&self, bytes: usize) -> Outcome {
        self.heavy.set(bytes > HEAVY);
        if bytes > LARGEST_BATCH {
            let error = Error::too_large("what one event has published", LARGEST_BATCH);
            return Err(Failure::permanent(error.to_string()));
        }
        Ok(())
    }

    /// A publication that travels alone, later.
    pub(crate) fn one_event<E: Event>(&self, event: E, origin: &Origin) -> Outcome<Events> {
        let stored = self.stored(&event)?;
        let form = form_of(&event, stored.as_ref());
        let weight = form.first();
        let chunk = &mut *self.chunk.borrow_mut();
        let slot = self.emitted::<E>(&mut chunk.emitted)?;
        if self.broker.never_fits(chunk.emitted[slot].topic, Load::new(1, weight)) {
            return Err(Failure::permanent(too_heavy::<E>(weight).to_string()));
        }
        let mut ids = self.ids.borrow_mut();
        let now = Timestamp::now();
        ids.advance(now);
        let mut events = Events::new(self.broker.signals.clone());
        let (topic, event) = (chunk.emitted[slot].topic, std::iter::once(event));
        events.push(topic, event, form, ids.draw(), origin, || now);
        Ok(events)
    }

    /// An event as bytes, if it is to be kept.
    #[inline]
    fn stored<E: Event>(&self, event: &E) -> Outcome<Option<StoredBytes>> {
        match self.broker.journal {
            Some(_) => stored_bytes(event).map(Some),
            None => Ok(None),
        }
    }

    #[inline]
    fn emitted<E: Event>(&self, emitted: &mut Vec<Emitted>) -> Outcome<usize> {
        let of = TypeId::of::<E>();
        match emitted.iter().position(|emitted| emitted.of == of) {
            Some(known) => Ok(known),
            None => self.emits_too::<E>(of, emitted),
        }
    }

    #[cold]
    fn emits_too<E: Event>(&self, of: TypeId, emitted: &mut Vec<Emitted>) -> Outcome<usize> {
        let topic = self
            .broker
            .topic::<E>(&self.subscription.name.name)
            .map_err(|error| Failure::permanent(error.to_string()))?;
        let (lease, short) = (Lease::default(), Load::default());
        emitted.push(Emitted { of, topic, name: E::NAME, lease, short, asked: (0, 0) });
        Ok(emitted.len() - 1)
    }

    /// Asks for room for what the event in hand published.
    #[inline]
    pub(crate) fn admit_publications(&self) -> Result<(), Ended> {
        if self.short.get() {
            let chunk = &mut *self.chunk.borrow_mut();
            for emitted in chunk.emitted.iter_mut().filter(|emitted| !emitted.short.is_zero()) {
                let more = self.broker.lease(self.holder, emitted.topic, emitted.short);
                let more = more.ok_or_else(|| match self.broker.unable() {
                    Some(why) => Ended::LogClosed(why),
                    None => Ended::Overflowed(emitted.name),
                })?;
                emitted.lease.allowed.add(more);
                emitted.lease.spend(std::mem::take(&mut emitted.short));
            }
            self.short.set(false);
        }
        self.mark.set(self.published.get());
        self.pressure.is_off();
        Ok(())
    }

    /// Whether the event in hand has published anything.
    pub(crate) fn has_published(&self) -> bool {
        self.published.get() != self.mark.get()
    }

    /// Drops what the event in hand published.
    pub(crate) fn drop_publications(&self) {
        let dropped = {
            let chunk = &mut *self.chunk.borrow_mut();
            let dropped = chunk.outbox.split_off(self.mark.get());
            self.published.set(self.mark.get());
            for emitted in &mut chunk.emitted {
                let mut spent = Load::default();
                for (_, load) in dropped.loads().filter(|(topic, _)| *topic == emitted.topic) {
                    spent.add(load);
                }
                spent = spent.less(std::mem::take(&mut emitted.short));
                emitted.lease.allowed.add(spent);
                emitted.lease.used = emitted.lease.used.less(spent);
            }
            self.short.set(false);
            dropped
        };
        drop(dropped);
    }

    /// The driver rests: what it was allowed to publish and did not need comes back.
    pub(crate) fn give_back_leases(&self) {
        let mut chunk = self.chunk.borrow_mut();
        let leases: Leases = chunk.emitted.iter_mut().filter_map(Emitted::take_unused).collect();
        drop(chunk);
        if !leases.is_empty() {
            self.broker.give_back(self.holder, &leases);
        }
    }
}

/// An event as bytes. That it has none, or too many, does not pass.
fn stored_bytes<E: Event>(event: &E) -> Outcome<StoredBytes> {
    let stored = StoredBytes::of(std::slice::from_ref(event));
    stored.map_err(|error| Failure::permanent(error.to_string()))
}
