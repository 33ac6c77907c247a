//! Kept state in memory: the values that a processor keeps per key, as of the last commit.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::message::Key;
use crate::signal::{During, Signals};

/// State that a processor keeps per key: a plain serde type with a default.
///
/// A handler works on a copy; the copy becomes the state when the handler succeeds. Every type
/// with these bounds is one: nothing needs to be implemented. See
/// [`Context::state`](crate::Context::state).
pub trait KeptState:
    Serialize + DeserializeOwned + Default + Clone + Send + Sync + 'static
{
}

impl<S> KeptState for S where
    S: Serialize + DeserializeOwned + Default + Clone + Send + Sync + 'static
{
}

/// One value, known by its type only to who put it in. Whoever drops it is safe from its `Drop`.
pub(crate) trait Value: Any + Send + Sync {
    fn copy(&self) -> Box<dyn Value>;
}

struct Guarded<S> {
    value: Option<S>,
    /// Only where the type has something to drop.
    signals: Option<Arc<Signals>>,
}

impl<S: KeptState> Value for Guarded<S> {
    fn copy(&self) -> Box<dyn Value> {
        Box::new(Self { value: self.value.clone(), signals: self.signals.clone() })
    }
}

impl<S> Drop for Guarded<S> {
    fn drop(&mut self) {
        if let Some(signals) = self.signals.take() {
            signals.contain(During::StateDrop, None, || self.value = None);
        }
    }
}

/// The value that a key has before anything is kept.
pub(crate) fn initial<S: KeptState>(signals: &Arc<Signals>) -> Box<dyn Value> {
    let signals = std::mem::needs_drop::<S>().then(|| signals.clone());
    Box::new(Guarded { value: Some(S::default()), signals })
}

/// The name of one value: its type and its key.
pub(crate) type StateKey = (TypeId, Key);

/// The values of one processor as of its last commit.
#[derive(Default)]
pub(crate) struct StateTable {
    values: HashMap<StateKey, Arc<dyn Value>, foldhash::fast::RandomState>,
}

impl StateTable {
    pub(crate) fn len(&self) -> usize {
        self.values.len()
    }

    pub(crate) fn has(&self, name: &StateKey) -> bool {
        self.values.contains_key(name)
    }

    pub(crate) fn get(&self, name: &StateKey) -> Option<Arc<dyn Value>> {
        self.values.get(name).cloned()
    }

    /// Puts a value in; gives back the one it replaces, to be dropped outside of any lock.
    pub(crate) fn put(&mut self, name: StateKey, value: Arc<dyn Value>) -> Option<Arc<dyn Value>> {
        self.values.insert(name, value)
    }

    /// All values of one type, unsorted.
    pub(crate) fn all<S: KeptState>(&self) -> Vec<(Key, Arc<dyn Value>)> {
        let of = TypeId::of::<S>();
        let wanted = self.values.iter().filter(|((kind, _), _)| *kind == of);
        wanted.map(|((_, key), value)| (key.clone(), value.clone())).collect()
    }
}

/// The value as its type.
pub(crate) fn typed<S: KeptState>(value: &dyn Value) -> Option<&S> {
    (value as &dyn Any).downcast_ref::<Guarded<S>>()?.value.as_ref()
}

/// The value as its type, to change it.
pub(crate) fn typed_mut<S: KeptState>(value: &mut dyn Value) -> Option<&mut S> {
    (value as &mut dyn Any).downcast_mut::<Guarded<S>>()?.value.as_mut()
}
