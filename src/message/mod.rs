//! Messages: what an application says, and the envelope it travels in. A type that implements
//! [`Message`] names its channel once; the runtime adds an id, where the event descends from, and
//! a time. Nothing here knows how events are moved.

pub(crate) mod codec;
pub(crate) mod envelope;
pub(crate) mod id;
pub(crate) mod key;

pub use codec::Payload;
pub use envelope::Envelope;
pub use id::{EventId, Seq};
pub use key::Key;

use std::any::{TypeId, type_name};
use std::collections::BTreeSet;

use parking_lot::RwLock;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::Error;

/// Something that is published or sent: a plain serde type with a name.
///
/// ```
/// use cueline::prelude::*;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// struct FlightCancelled {
///     flight: String,
/// }
/// impl Message for FlightCancelled {
///     const NAME: &'static str = "flight.cancelled";
///     type Reply = ();
///     fn key(&self) -> Option<Key> {
///         Some(self.flight.as_str().into())
///     }
/// }
/// ```
pub trait Message: Serialize + DeserializeOwned + Send + Sync + Sized + 'static {
    /// The channel's name: lower-case words of letters, digits and `_`, joined by `.` or `-`, at
    /// most 100 characters. The topology, the metrics and the stored bytes know the type by it.
    const NAME: &'static str;

    /// `()` for an event; anything else makes it a command, which one processor handles and answers with
    /// that ([`Done`] if it has nothing to say).
    type Reply: Serialize + DeserializeOwned + Send + 'static;

    /// Events of one key are handled one at a time and in order. Default: no key.
    fn key(&self) -> Option<Key> {
        None
    }

    /// What the event counts against a subscription's bound, in bytes. Default: the size of the
    /// value itself, without what it owns on the heap; say more where that is large. On a channel that a
    /// log keeps, an event counts what it takes there, and this is not asked.
    fn weight(&self) -> usize {
        size_of::<Self>()
    }
}

/// A message that is published to all who care, and not answered.
pub trait Event: Message<Reply = ()> {}

impl<M: Message<Reply = ()>> Event for M {}

/// The reply of a command that has nothing to say but that it is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Done;

/// Implements [`Message`] for an event in one line: its type, its name and, if it has one, its key.
///
/// ```
/// # use serde::{Deserialize, Serialize};
/// #[derive(Serialize, Deserialize)]
/// struct DoorOpened {
///     door: u32,
/// }
/// cueline::event!(DoorOpened, "door.opened", key: |event| event.door);
/// ```
#[macro_export]
macro_rules! event {
    ($type:ty, $name:literal) => {
        impl $crate::Message for $type {
            const NAME: &'static str = $name;
            type Reply = ();
        }
    };
    ($type:ty, $name:literal, key: |$event:ident| $key:expr) => {
        impl $crate::Message for $type {
            const NAME: &'static str = $name;
            type Reply = ();
            fn key(&self) -> ::core::option::Option<$crate::Key> {
                let $event = self;
                ::core::option::Option::Some($crate::Key::from($key))
            }
        }
    };
}

/// Implements [`Message`] for a command in one line: its type, its name, its reply and, if it has one, its
/// key.
///
/// ```
/// # use cueline::Done;
/// # use serde::{Deserialize, Serialize};
/// #[derive(Serialize, Deserialize)]
/// struct OpenDoor {
///     door: u32,
/// }
/// cueline::command!(OpenDoor, "door.open" => Done, key: |command| command.door);
/// ```
#[macro_export]
macro_rules! command {
    ($type:ty, $name:literal => $reply:ty) => {
        impl $crate::Message for $type {
            const NAME: &'static str = $name;
            type Reply = $reply;
        }
    };
    ($type:ty, $name:literal => $reply:ty, key: |$command:ident| $key:expr) => {
        impl $crate::Message for $type {
            const NAME: &'static str = $name;
            type Reply = $reply;
            fn key(&self) -> ::core::option::Option<$crate::Key> {
                let $command = self;
                ::core::option::Option::Some($crate::Key::from($key))
            }
        }
    };
}

/// No event weighs more, so that sums of weights do not overflow.
const HEAVIEST: u64 = 1 << 40;

/// What an event counts against bounds.
#[inline]
pub(crate) fn weight_of<M: Message>(event: &M) -> u64 {
    (event.weight() as u64).min(HEAVIEST)
}

/// A message type as a processor declares it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Declared {
    pub(crate) of: TypeId,
    pub(crate) name: &'static str,
    pub(crate) type_name: &'static str,
    /// It is answered.
    pub(crate) is_command: bool,
    /// It goes to one processor only.
    pub(crate) served: bool,
}

impl Declared {
    pub(crate) fn of<M: Message>() -> Self {
        Self {
            of: TypeId::of::<M>(),
            name: M::NAME,
            type_name: type_name::<M>(),
            is_command: TypeId::of::<M::Reply>() != TypeId::of::<()>(),
            served: false,
        }
    }

    /// As a processor declares it that answers it.
    pub(crate) fn served<M: Message>() -> Self {
        Self { served: true, ..Self::of::<M>() }
    }
}

/// A text that lives as long as the process. Only for words of which there are few, such as names and
/// reasons: those beyond that are all the same.
pub(crate) fn interned(text: &str) -> &'static str {
    static KNOWN: RwLock<BTreeSet<&'static str>> = RwLock::new(BTreeSet::new());
    const MOST: usize = 10_000;
    if let Some(known) = KNOWN.read().get(text) {
        return known;
    }
    let mut all = KNOWN.write();
    if all.len() >= MOST {
        return "other";
    }
    let leaked: &'static str = Box::leak(text.to_owned().into_boxed_str());
    if all.insert(leaked) {
        return leaked;
    }
    all.get(text).copied().unwrap_or(leaked)
}

const LONGEST_NAME: usize = 100;

/// Checks a name that a user gave to a `what` (a message, a processor, a supervisor).
pub(crate) fn check_name(what: &str, name: &str) -> Result<(), Error> {
    let word = |word: &str| {
        !word.is_empty()
            && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
    };
    if name.len() <= LONGEST_NAME && name.split(['.', '-']).all(word) {
        return Ok(());
    }
    Err(Error::config(format!(
        "{what} `{}` is ill-formed: use lower-case words of letters, digits and `_`, joined by `.` \
         or `-`, at most {LONGEST_NAME} characters, as in `flight.cancelled`",
        name.escape_debug()
    )))
}
