//! The broker actor: wakes when something has been published, and takes the turn.

use std::sync::Arc;

use actix::{Actor, ActorContext, AsyncContext, Context, StreamHandler};

use super::intake::Arrived;
use super::sequencer::Sequencer;

/// Takes the turn whenever something lies in the intake.
pub(crate) struct BrokerActor(pub(crate) Arc<Sequencer>);

impl Actor for BrokerActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.add_stream(Arrived(self.0.intake.clone()));
    }
}

impl StreamHandler<()> for BrokerActor {
    fn handle(&mut self, (): (), _: &mut Self::Context) {
        self.0.turn();
    }

    fn finished(&mut self, ctx: &mut Self::Context) {
        self.0.end();
        ctx.stop();
    }
}
