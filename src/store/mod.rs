//! Where a runtime keeps what must outlive a handler. The memory engine is the first: what it
//! keeps survives every processor, and ends with the process.

pub(crate) mod file;
pub(crate) mod memory;

/// Which engine a runtime keeps its events and state in; set with
/// [`RuntimeBuilder::store`](crate::RuntimeBuilder::store).
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub enum Store {
    /// In memory: nothing survives the process.
    #[default]
    Memory,
}

impl Store {
    /// In memory: nothing survives the process.
    pub const fn memory() -> Self {
        Self::Memory
    }
}
