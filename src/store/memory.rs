//! Kept state in memory: the values that a processor keeps per key, as of the last commit.

use std::any::{Any, TypeId, type_name};
use std::collections::HashMap;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, Failure, Outcome};
use crate::message::{Key, codec};
use crate::signal::{During, Signals};
use crate::store::LARGEST_EVENT;

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
    /// Its type's name, by which the log knows it, and its bytes.
    fn encode(&self) -> Outcome<StoredValue>;
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

    fn encode(&self) -> Outcome<StoredValue> {
        let value = self.value.as_ref().map_or_else(|| Ok(Vec::new()), codec::encode)?;
        if value.len() > LARGEST_EVENT {
            let error = Error::too_large(&format!("a state `{}`", type_name::<S>()), LARGEST_EVENT);
            return Err(Failure::permanent(error.to_string()));
        }
        Ok((type_name::<S>(), value))
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

/// A value as it was stored.
pub(crate) fn decoded<S: KeptState>(
    bytes: &[u8],
    signals: &Arc<Signals>,
) -> Outcome<Box<dyn Value>> {
    let signals = std::mem::needs_drop::<S>().then(|| signals.clone());
    Ok(Box::new(Guarded { value: Some(codec::decode::<S>(bytes)?), signals }))
}

/// A value's type by its name, and its bytes.
pub(crate) type StoredValue = (&'static str, Vec<u8>);

/// The name of one value: its type and its key.
pub(crate) type StateKey = (TypeId, Key);

/// The values of one processor as of its last commit.
#[derive(Default)]
pub(crate) struct StateTable {
    values: HashMap<StateKey, Arc<dyn Value>, foldhash::fast::RandomState>,
    /// As the log had them, by the names of their types, until somebody asks for them.
    stored: HashMap<(String, Key), Arc<[u8]>, foldhash::fast::RandomState>,
}

impl StateTable {
    pub(crate) fn len(&self) -> usize {
        self.values.len() + self.stored.len()
    }

    /// A value as the log has it.
    pub(crate) fn put_stored(&mut self, of: String, key: Key, bytes: Vec<u8>) {
        self.stored.insert((of, key), bytes.into());
    }

    /// The value as the log has it, if nobody has asked for it yet.
    pub(crate) fn stored<S: KeptState>(&self, key: &Key) -> Option<Arc<[u8]>> {
        self.stored.get(&(type_name::<S>().to_owned(), key.clone())).cloned()
    }

    pub(crate) fn stored_keys<S: KeptState>(&self) -> Vec<Key> {
        let of = type_name::<S>();
        self.stored.keys().filter(|(name, _)| name == of).map(|(_, key)| key.clone()).collect()
    }

    /// It is known as what it is from now on.
    pub(crate) fn unpack<S: KeptState>(&mut self, key: &Key, value: Arc<dyn Value>) {
        if self.stored.remove(&(type_name::<S>().to_owned(), key.clone())).is_some() {
            self.values.insert((TypeId::of::<S>(), key.clone()), value);
        }
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
