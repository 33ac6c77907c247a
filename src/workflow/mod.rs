//! Durable workflows: what one is ([`Workflow`]), what it may do ([`Steps`]), and the state machine that
//! tells its code what came, one thing at a time, live and after a crash alike. [`history`] is what is kept
//! of one, [`core`] decides what follows from a result, [`replay`] runs the code, [`anew`] what
//! stays of it when it begins anew, [`effect`] is what is to be
//! done by whoever carries it. Nothing here knows a clock, a log or an actor.

pub(crate) mod anew;
pub(crate) mod came;
pub(crate) mod core;
pub(crate) mod effect;
#[cfg(test)]
mod generated;
pub(crate) mod history;
pub(crate) mod id;
mod owed;
pub(crate) mod replay;
pub(crate) mod saved;
mod step;
pub(crate) mod steps;
#[cfg(test)]
mod undoing;

pub use id::WorkflowId;
pub use saved::History;
pub use step::{Call, OrAfter, Step};
pub use steps::{Steps, Winner};

use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::Outcome;
use crate::guard::Quiet;
use crate::message::{Declared, Event, Key, codec};
use replay::Running;

/// A durable workflow: an `async fn` whose steps are kept, and which goes on where it was after whatever
/// ended its process. After a crash its code runs again from its beginning, and what it did already is given
/// to it from its history; so between its steps it must always do the same.
///
/// What it awaits must come from [`Steps`]. Whatever is ready at once and differs from run to run (a clock,
/// chance, the order of a hash map, `tokio::select!`) cannot be seen: ask for it with [`Steps::run`] and
/// [`Steps::race`]. `join!` and `try_join!`, of tokio and of futures, are fine.
///
/// The idea is that of Temporal and its forebears (Cadence, Amazon's SWF), and of event sourcing before them.
///
/// ```
/// use cueline::prelude::*;
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Serialize, Deserialize)]
/// # struct FlightCancelled { flight: u32 }
/// # cueline::event!(FlightCancelled, "flight.cancelled");
/// # #[derive(Serialize, Deserialize)]
/// # struct HoldSeats { flight: u32 }
/// # cueline::command!(HoldSeats, "hold.seats" => u32);
/// # #[derive(Serialize, Deserialize)]
/// # struct ReleaseSeats { hold: EventId }
/// # cueline::command!(ReleaseSeats, "release.seats" => Done);
/// # #[derive(Serialize, Deserialize)]
/// # struct Notify { seats: u32 }
/// # cueline::command!(Notify, "notify" => Done);
/// struct Rebook;
/// impl Workflow for Rebook {
///     const NAME: &'static str = "rebook";
///     type Input = FlightCancelled;
///     type Output = u32;
///     type Expects = ();
///     async fn run(&self, cancelled: FlightCancelled, steps: Steps) -> Outcome<u32> {
///         let hold = HoldSeats { flight: cancelled.flight };
///         let seats = steps.call(hold).undo_with(|hold, _| ReleaseSeats { hold }).await?;
///         steps.call(Notify { seats }).await?; // if this fails, the seats are released
///         Ok(seats)
///     }
/// }
/// ```
pub trait Workflow: Send + Sync + Sized + 'static {
    /// What histories and metrics know it by; follows the rules of message names.
    const NAME: &'static str;

    /// Another number when its code changes so that it would not do again what it did. Several versions of
    /// one name may be given to a mediator: what began with one goes on with it, and what begins takes the
    /// highest. Default: 1.
    const VERSION: u32 = 1;

    /// What begins it.
    type Input: Serialize + DeserializeOwned + Send + 'static;

    /// What it comes to.
    type Output: Serialize + DeserializeOwned + Send + 'static;

    /// The events that it may wait for, as a tuple: `()`, `(Approved,)`, `(Approved, Refused)`. Those of its
    /// own key are kept for it from its start until they are taken.
    type Expects: Expects;

    /// What it does.
    fn run(&self, input: Self::Input, steps: Steps) -> impl Future<Output = Outcome<Self::Output>>;

    /// Under which key it is started, if there is to be only one under each: starting it once more is then
    /// answered with the one that is there. Default: none, each event starts one.
    fn key(_input: &Self::Input) -> Option<Key> {
        None
    }
}

/// Event types, as a tuple of up to eight.
pub trait Expects: 'static {
    #[doc(hidden)]
    fn add(into: &mut Vec<Expected>);
}

/// One event type that a workflow expects.
#[doc(hidden)]
#[derive(Debug, Clone, Copy)]
pub struct Expected(pub(crate) Declared);

macro_rules! expects {
    ($($($event:ident)*;)*) => {$(
        impl<$($event: Event),*> Expects for ($($event,)*) {
            fn add(_into: &mut Vec<Expected>) {
                $(_into.push(Expected(Declared::of::<$event>()));)*
            }
        }
    )*};
}
expects!(; A; A B; A B C; A B C D; A B C D E; A B C D E F; A B C D E F G; A B C D E F G H;);

/// A workflow's code, whatever its types.
pub(crate) trait Code: Send + Sync {
    fn name(&self) -> &'static str;
    fn version(&self) -> u32;
    fn expects(&self) -> &[Declared];

    /// Begins it. User code.
    fn begin(&self, input: &[u8], steps: Steps) -> Outcome<Running>;

    /// Under which key it is started with that input. User code.
    fn key(&self, input: &[u8]) -> Outcome<Option<Key>>;
}

/// A workflow that was given to a mediator.
pub(crate) struct Given<W> {
    workflow: Arc<Quiet<W>>,
    expects: Vec<Declared>,
}

impl<W: Workflow> Given<W> {
    pub(crate) fn new(workflow: W) -> Self {
        let mut expected = Vec::new();
        W::Expects::add(&mut expected);
        let expects = expected.into_iter().map(|Expected(declared)| declared).collect();
        Self { workflow: Arc::new(Quiet::new(workflow)), expects }
    }
}

impl<W: Workflow> Code for Given<W> {
    fn name(&self) -> &'static str {
        W::NAME
    }

    fn version(&self) -> u32 {
        W::VERSION
    }

    fn expects(&self) -> &[Declared] {
        &self.expects
    }

    fn begin(&self, input: &[u8], steps: Steps) -> Outcome<Running> {
        let input: W::Input = codec::decode(input)?;
        let workflow = self.workflow.clone();
        Ok(Box::pin(async move {
            let output = workflow.run(input, steps).await?;
            codec::encode(&output)
        }))
    }

    fn key(&self, input: &[u8]) -> Outcome<Option<Key>> {
        let input: W::Input = codec::decode(input)?;
        Ok(W::key(&input))
    }
}
