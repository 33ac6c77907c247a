//! What a factory makes: a processor, or nothing where there is nothing to do.

use std::any::Any;

use super::Processor;

/// Makes an instance, from the argument that its child was started with.
pub(super) type Factory<P> = Box<dyn Fn(&dyn Any) -> Start<P> + Send + Sync>;

/// What a factory may return instead of a processor.
///
/// ```
/// # use cueline::prelude::*;
/// # use cueline::Start;
/// # struct Mirror;
/// # impl Processor for Mirror {}
/// let mirror = processor("mirror", || match std::env::var("MIRROR") {
///     Ok(_address) => Start::Run(Mirror),
///     Err(_) => Start::Ignore, // there is nothing to mirror to
/// });
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start<P> {
    /// It runs.
    Run(P),
    /// It has nothing to do here: its child is down, as if it had been stopped, and nobody is told
    /// of a failure.
    Ignore,
}

/// What a factory may return: a processor, or a [`Start`].
pub trait IntoStart {
    /// The processor.
    type Processor: Processor;

    /// Whether it runs.
    fn into_start(self) -> Start<Self::Processor>;
}

impl<P: Processor> IntoStart for P {
    type Processor = P;

    fn into_start(self) -> Start<P> {
        Start::Run(self)
    }
}

impl<P: Processor> IntoStart for Start<P> {
    type Processor = P;

    fn into_start(self) -> Self {
        self
    }
}
