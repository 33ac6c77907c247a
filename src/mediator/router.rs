//! What a mediator does with the events of its queue: some begin a workflow, some are expected by one. It
//! handles them as bytes, whatever their types.

use std::sync::Arc;
use std::time::Duration;

use super::domain::{Domain, Routes};
use crate::error::Failure;
use crate::message::{Declared, EventId, Key, Seq};
use crate::processor::Processor;
use crate::processor::context::Context;
use crate::processor::dispatch::{HandlerList, Ran, Stretch};
use crate::processor::outcome::Ended;
use crate::queue::Cursor;
use crate::request::awaits::{Awaits, Start};
use crate::signal::{Missed, Signal};

/// The processor of a mediator's queue: it holds nothing.
pub(crate) struct Router;

impl Processor for Router {}

/// The events of a mediator.
pub(crate) struct Events {
    pub(super) domain: Arc<Domain>,
    pub(super) handled: Vec<Declared>,
    pub(super) routes: Routes,
}

impl Events {
    /// What follows from one event.
    fn route(
        &self,
        which: u16,
        cx: &mut Context,
        (event, correlation): (EventId, EventId),
        key: Option<Key>,
        payload: &[u8],
    ) -> Result<(), Failure> {
        let name = self.handled[usize::from(which)].name;
        let mut told = 0;
        for workflow in self.routes.starts.get(name).into_iter().flatten() {
            let start = Start {
                workflow,
                input: payload.to_vec(),
                key: key.clone(),
                from: event,
                correlation,
                parent: None,
            };
            let beginning = self.domain.clone().begin(start)?;
            cx.link.stage_facts(|facts| facts.extend_from_slice(&beginning.facts));
            beginning.begins.into_iter().for_each(|begins| cx.link.stage_answer(begins));
            told += 1;
        }
        for answer in self.domain.expected(name, key.as_ref(), event, payload) {
            cx.link.stage_answer(answer);
            told += 1;
        }
        if told == 0 {
            let (mediator, what) = (&cx.link.subscription.name, Missed::Unmatched);
            let signal = Signal::WorkflowMissed { mediator, what, count: 1 };
            cx.link.broker.signals.state(&signal);
        }
        Ok(())
    }
}

#[allow(private_interfaces)]
impl HandlerList<Router> for Events {
    const LENGTH: u16 = 0;

    fn declare(&self, into: &mut Vec<Declared>) {
        into.extend(self.handled.iter().copied());
    }

    async fn stretch(
        &self,
        which: u16,
        _: &mut Router,
        cx: &mut Context,
        stretch: Stretch<'_>,
    ) -> Ran {
        let Stretch { batch, run, from, to, asked, budget, tick, .. } = stretch;
        let link = cx.link.clone();
        if self.domain.has_enough_to_do(link.broker.clock.now()) {
            link.pause.set(Some(PAUSE));
            return Ran::Yield(from);
        }
        let of = &batch.events.runs()[run as usize];
        let column = batch.events.column(of);
        let first = batch.seq(of, 0);
        for index in from..to {
            if !(asked || link.clear.get()) {
                return Ran::Ask(index);
            }
            cx.index = index;
            link.pulse.hold(Seq(first.0 + u64::from(index)));
            let at = (of.start + index) as usize;
            let ids = (of.head.id(index), of.head.correlation(index));
            let routed = column
                .encode(at)
                .and_then(|payload| self.route(which, cx, ids, column.key(at), &payload));
            if let Err(failure) = routed {
                return Ran::Ended(index, Box::new(Ended::Failed(failure)));
            }
            link.reached(Cursor { run, index: index + 1 });
            *budget = budget.saturating_sub(COST);
            if *budget == 0 || link.broker.clock.tick() > tick + 1 || link.staged_bytes() > HEAVY {
                return Ran::Yield(index + 1);
            }
        }
        Ran::Through
    }

    async fn kept(
        &self,
        which: u16,
        _: &mut Router,
        cx: &mut Context,
        bytes: &[u8],
    ) -> Option<Box<Ended>> {
        let (key, envelope) = (cx.key(), cx.envelope()?);
        let ids = (envelope.id, envelope.correlation);
        let failure = self.route(which, cx, ids, key, bytes).err()?;
        Some(Box::new(Ended::Failed(failure)))
    }
}

/// How long workflows have the thread for themselves, if so many have something to do that no more should begin.
const PAUSE: Duration = Duration::from_millis(1);
/// What begins, or is told, is as much work as so many events that somebody handles.
const COST: u32 = 4;
/// So many bytes are committed without waiting for more.
const HEAVY: usize = 1 << 20;
