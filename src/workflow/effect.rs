//! What a workflow wants done, by whoever carries it. Pure.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use crate::error::{Failure, Outcome};
use crate::queue::backoff::Backoff;
use crate::queue::loose::Loose;

/// What runs beside a workflow and gives it one result, as bytes.
pub(crate) type Work = Pin<Box<dyn Future<Output = Outcome<Vec<u8>>>>>;

/// What is to be done for a step. Whatever is not done when the process ends is asked for again.
pub(crate) enum Effect {
    /// Somebody handles that, and answers.
    Send {
        step: u32,
        command: Box<dyn Loose>,
        for_handler: bool,
    },
    /// As [`Effect::Send`], once more: it failed so often, the last time then, in milliseconds since 1970.
    SendAgain {
        step: u32,
        command: Box<dyn Loose>,
        failures: u32,
        at: u64,
        backoff: Backoff,
    },
    Publish {
        step: u32,
        event: Box<dyn Loose>,
    },
    /// The step's time is over after that.
    Within {
        step: u32,
        wait: Duration,
    },
    Run {
        step: u32,
        work: Work,
    },
    /// A workflow of that name begins with that input, and tells how it ended.
    Child {
        step: u32,
        workflow: &'static str,
        input: Vec<u8>,
    },
    /// Nobody waits for the step's result any more; what came may say so itself.
    Forget {
        step: u32,
        said: bool,
    },
}

/// What a workflow comes to in the end.
#[derive(Debug, Clone)]
pub(crate) enum End {
    /// Its output.
    Completed(Vec<u8>),
    Failed(Failure),
    Cancelled(Failure),
    /// It begins anew, with that input.
    Continued(Vec<u8>),
}

/// Why a workflow cannot go on. It stays as it is until somebody sees to it, and does nothing until then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Its code does not do again what it did.
    Diverged(String),
    /// It waits for something that is none of its steps.
    ForeignWait(String),
    Panicked(String),
    /// It has more steps than a history holds.
    TooLong(String),
    /// What began it cannot be read.
    BadInput(String),
}

impl Fault {
    /// What there is to say of it.
    pub(crate) fn text(&self) -> &str {
        let (Self::Diverged(text)
        | Self::ForeignWait(text)
        | Self::Panicked(text)
        | Self::TooLong(text)
        | Self::BadInput(text)) = self;
        text
    }
}
