//! The states that a handler keeps.

use std::any::TypeId;

use super::context::{Context, Touched};
use crate::error::{Failure, Outcome};
use crate::message::Key;
use crate::store::memory::{KeptState, StateKey, Value, initial, typed_mut};

impl Context {
    /// The state that this processor keeps under `key`, to read and to change. It is as at the last
    /// commit, and what the handler makes of it is committed together with the acknowledgement: an
    /// `Err` or a panic leaves it as it was.
    ///
    /// # Errors
    ///
    /// With several instances `key` must be the key of the event in hand, else two of them could
    /// change one state; and there is a bound on how many states one processor keeps.
    ///
    /// ```
    /// # use cueline::prelude::*;
    /// # use serde::{Deserialize, Serialize};
    /// # #[derive(Serialize, Deserialize)]
    /// # struct Departed { carrier: String }
    /// # cueline::event!(Departed, "departed");
    /// #[derive(Default, Clone, Serialize, Deserialize)]
    /// struct Stats {
    ///     departed: u64,
    /// }
    /// struct Board;
    /// impl Processor for Board {}
    /// impl Handle<Departed> for Board {
    ///     async fn handle(&mut self, event: &Departed, cx: &mut Context) -> Outcome {
    ///         cx.state::<Stats>(&event.carrier)?.departed += 1;
    ///         Ok(())
    ///     }
    /// }
    /// ```
    pub fn state<S: KeptState>(&mut self, key: impl Into<Key>) -> Outcome<&mut S> {
        let key = key.into();
        let name: StateKey = (TypeId::of::<S>(), key);
        let known = self.states.iter().position(|(of, _)| *of == name);
        let place = match known {
            Some(place) => place,
            None => {
                self.touched = Touched::More;
                let value = self.load::<S>(&name)?;
                self.states.push((name, value));
                self.states.len() - 1
            }
        };
        typed_mut(&mut *self.states[place].1)
            .ok_or_else(|| Failure::permanent("the kept state is of another type"))
    }

    fn load<S: KeptState>(&self, name: &StateKey) -> Outcome<Box<dyn Value>> {
        let subscription = &self.link.subscription;
        if subscription.settings.is_crew() && self.key().as_ref() != Some(&name.1) {
            return Err(Failure::permanent(format!(
                "`{}` has {} instances, so the key of its kept state must be the key of the event \
                 in hand; use that key, or `instances(1)`",
                subscription.name, subscription.settings.instances
            )));
        }
        if let Some(staged) = self.link.staged(name) {
            return Ok(staged.copy());
        }
        if let Some(kept) = subscription.value::<S>(&name.1)? {
            return Ok(kept.copy());
        }
        let mine = self.states.iter().map(|(name, _)| name);
        if !self.link.has_room_for_state(mine) {
            return Err(Failure::permanent(format!(
                "`{}` keeps {} states already; raise `states`, or keep fewer",
                subscription.name, subscription.settings.most_states
            )));
        }
        Ok(initial::<S>(&self.link.broker.signals))
    }
}
