//! The broker actor: wakes when something has been published, and takes the turn.

use std::sync::{Arc, Weak};

use actix::{Actor, ActorContext, AsyncContext, Context, StreamHandler};

use super::intake::Arrived;
use super::sequencer::Sequencer;

/// Takes the turn whenever something lies in the intake, and helps the lanes of stuck threads. It
/// keeps nothing of the runtime alive: what is left when that has gone must not be dropped here.
pub(crate) struct BrokerActor(pub(crate) Weak<Sequencer>);

impl Actor for BrokerActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let intake = self.0.upgrade().map(|sequencer| Arc::downgrade(&sequencer.intake));
        ctx.add_stream(Arrived(intake.unwrap_or_default()));
    }
}

impl StreamHandler<()> for BrokerActor {
    fn handle(&mut self, (): (), _: &mut Self::Context) {
        if let Some(sequencer) = self.0.upgrade() {
            sequencer.turn();
            sequencer.help_stuck_lanes();
        }
    }

    fn finished(&mut self, ctx: &mut Self::Context) {
        if let Some(sequencer) = self.0.upgrade() {
            sequencer.end();
        }
        ctx.stop();
    }
}
