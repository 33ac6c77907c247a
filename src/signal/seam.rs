//! Who is told of what: the log, and all observers.

use std::fmt;
use std::sync::Arc;

use super::{During, Signal, logged};
use crate::guard::{Quiet, contain};
use crate::message::EventId;

/// Something that wants to know. Called on the thread where the fact arose: be quick, never block.
/// A panic in it is caught, and counted as one of an observer.
///
/// ```
/// use cueline::{Observer, Signal};
///
/// struct Pager;
/// impl Observer for Pager {
///     fn observe(&self, signal: &Signal<'_>) {
///         if let Signal::Parked { processor, event, cause, .. } = signal {
///             eprintln!("{event} of {processor} needs a person: {cause}");
///         }
///     }
/// }
/// let builder = cueline::Runtime::builder("example").observe(Pager);
/// ```
pub trait Observer: Send + Sync + 'static {
    /// One fact.
    fn observe(&self, signal: &Signal<'_>);
}

/// The seam: who is told.
#[derive(Default)]
pub(crate) struct Signals {
    observers: Vec<Quiet<Box<dyn Observer>>>,
}

impl fmt::Debug for Signals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signals({} observers)", self.observers.len())
    }
}

impl Signals {
    pub(crate) fn new(observers: Vec<Box<dyn Observer>>) -> Arc<Self> {
        Arc::new(Self { observers: observers.into_iter().map(Quiet::new).collect() })
    }

    pub(crate) fn state(&self, signal: &Signal<'_>) {
        let logged = contain(|| logged::log(signal)).is_ok();
        let told = |observer: &dyn Observer| contain(|| observer.observe(signal)).is_ok();
        let panicked = self.observers.iter().filter(|observer| !told(&****observer)).count();
        if (panicked > 0 || !logged)
            && !matches!(signal, Signal::PanicContained { during: During::Observer, .. })
        {
            self.state(&Signal::PanicContained { during: During::Observer, event: None });
        }
    }

    /// Code of the application panicked, on which no event depends.
    pub(crate) fn contained(&self, during: During) {
        self.state(&Signal::PanicContained { during, event: None });
    }

    /// Runs code of the application on which no event depends: a panic is caught and stated.
    pub(crate) fn contain(&self, during: During, event: Option<EventId>, run: impl FnOnce()) {
        if contain(run).is_err() {
            self.state(&Signal::PanicContained { during, event });
        }
    }
}
