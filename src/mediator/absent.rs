//! A mediator of an earlier program whose workflows lie in the log: it is not there, or not yet. What comes to
//! them is kept for whoever takes its place.

use std::any::Any;
use std::sync::Arc;
use std::task::Waker;

use parking_lot::Mutex;

use super::answers::{Receives, Told};
use super::domain::Domain;
use super::inbox::Arrival;
use crate::error::{Failure, Outcome};
use crate::queue::answer::Answer;
use crate::request::awaits::{Awaits, Beginning, Start};
use crate::workflow::WorkflowId;

/// A mediator that is not there.
pub(crate) struct Absent {
    number: u32,
    state: Mutex<State>,
}

enum State {
    /// What came since the log was opened.
    Absent(Vec<(WorkflowId, Arrival)>),
    /// It is there now.
    There(Arc<Domain>),
}

impl Absent {
    pub(crate) fn new(number: u32) -> Self {
        Self { number, state: Mutex::new(State::Absent(Vec::new())) }
    }

    /// It is there from now on, and gets what came.
    pub(super) fn gives_way(&self, to: &Arc<Domain>) {
        let mut state = self.state.lock();
        let State::Absent(came) = &mut *state else { return };
        // All in its order, before anything else comes.
        let came = std::mem::take(came).into_iter();
        let wakers: Vec<Waker> = came.filter_map(|(id, came)| to.arrives(id, came)).collect();
        *state = State::There(to.clone());
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
    }
}

impl Receives for Absent {
    fn arrives(&self, id: WorkflowId, arrival: Arrival) -> Option<Waker> {
        match &mut *self.state.lock() {
            State::Absent(came) => {
                came.push((id, arrival));
                None
            }
            State::There(domain) => domain.arrives(id, arrival),
        }
    }
}

impl Awaits for Absent {
    fn number(&self) -> u32 {
        self.number
    }

    fn awaits(&self, _: WorkflowId, _: u32) -> bool {
        true // as far as anybody knows
    }

    fn tells(self: Arc<Self>, of: WorkflowId, entry: Vec<u8>) -> Box<dyn Answer> {
        Box::new(Told::new(self, of, entry))
    }

    fn begin(self: Arc<Self>, start: Start) -> Outcome<Beginning> {
        let text = format!("the mediator of the workflow `{}` is not there", start.workflow);
        Err(Failure::transient(text))
    }

    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }
}
