//! What whoever asked is told, as soon as the commit holds that it belongs to.

use std::task::Waker;
use std::time::Duration;

use crate::signal::{RequestOutcome, Signal, Signals};

/// An answer on its way. Dropped ungiven, whoever asked hears nothing of it.
pub(crate) trait Answer: Send {
    /// With a log: whoever is told may go on before that is on disk, because all that it does can be derived
    /// again from what is.
    fn runs_ahead(&self) -> bool {
        false
    }

    /// With a log: what it adds to the commit, at that place in the order of all answers.
    fn record(&mut self, _order: u64, _into: &mut Vec<u8>) {}

    /// Finds whoever asked: it is answered with that from now on, and by nobody else. None if nobody waits
    /// any more, or this is no answer to a request.
    fn find(&mut self) -> Option<Found> {
        None
    }

    /// Whoever was found is told. Whom to wake, when all have been.
    fn give(self: Box<Self>) -> Option<Waker>;
}

/// Whoever asked was found.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Found {
    pub(crate) command: &'static str,
    pub(crate) outcome: RequestOutcome,
    /// How long it took, of one in a few.
    pub(crate) took: Option<Duration>,
}

/// Those of one commit, in order.
pub(crate) type Answers = Vec<Box<dyn Answer>>;

/// Counts them and gives them; how many had asked. To be called when no lock is held.
pub(crate) fn give(mut answers: Answers, signals: &Signals) -> usize {
    let (mut alike, mut took): (Option<(Found, u64)>, Vec<Duration>) = (None, Vec::new());
    let mut asked = 0;
    let state = |(found, requests): (Found, u64), took: &[Duration]| {
        let Found { command, outcome, .. } = found;
        signals.state(&Signal::Requested { command, outcome, requests, took });
    };
    for answer in &mut answers {
        let Some(found) = answer.find() else { continue };
        asked += 1;
        match &mut alike {
            Some((before, requests))
                if (before.command, before.outcome) == (found.command, found.outcome) =>
            {
                *requests += 1;
            }
            _ => {
                alike.replace((found, 1)).into_iter().for_each(|before| state(before, &took));
                took.clear();
            }
        }
        took.extend(found.took);
    }
    // It is counted before anybody knows.
    alike.into_iter().for_each(|last| state(last, &took));
    // One that is told several things is woken once.
    let wakers: Vec<Waker> = answers.into_iter().filter_map(Answer::give).collect();
    wakers.into_iter().for_each(Waker::wake);
    asked
}
