//! Where plain actors are found by name: the address of one changes with every restart, its name
//! does not.

use std::any::Any;
use std::collections::HashMap;

use parking_lot::RwLock;

/// The addresses of the actors that run, by the names from the top-level supervisor down.
#[derive(Default)]
pub(crate) struct Registry(RwLock<HashMap<String, (u64, Box<dyn Any + Send + Sync>)>>);

impl Registry {
    /// The actor of that life is there.
    pub(crate) fn put(&self, path: &str, life: u64, address: impl Any + Send + Sync) {
        let mut all = self.0.write();
        if all.get(path).is_none_or(|(of, _)| *of < life) {
            all.insert(path.to_owned(), (life, Box::new(address)));
        }
    }

    /// It is gone, unless its successor is there already.
    pub(crate) fn remove(&self, path: &str, life: u64) {
        let mut all = self.0.write();
        if all.get(path).is_some_and(|(of, _)| *of == life) {
            all.remove(path);
        }
    }

    pub(crate) fn get<T: Any + Clone>(&self, path: &str) -> Option<T> {
        self.0.read().get(path)?.1.downcast_ref::<T>().cloned()
    }
}
