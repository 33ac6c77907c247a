//! What whoever asked is told, as soon as the commit holds that it belongs to.

/// An answer on its way. Dropped ungiven, whoever asked hears nothing of it.
pub(crate) trait Answer: Send {
    /// Whoever asked is told. To be called when no lock is held.
    fn give(self: Box<Self>);
}

/// Those of one commit, in order.
pub(crate) type Answers = Vec<Box<dyn Answer>>;
