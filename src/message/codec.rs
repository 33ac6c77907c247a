//! Stored bytes: MessagePack with field names, so that people can read and mend them.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Message;
use crate::error::{Error, Failure};

/// An event as MessagePack with field names; empty if it could not be encoded. Its `Debug` says how
/// long it is and nothing of what it says, so that it may be logged with what it belongs to.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Payload(Arc<[u8]>);

impl Payload {
    pub(crate) fn new(bytes: Vec<u8>) -> Self {
        Self(bytes.into())
    }

    /// Decodes it as the message type that its topic is of.
    pub(crate) fn decode<E: Message>(&self, topic: &str) -> Result<E, Error> {
        if topic != E::NAME {
            let text = format!("the event is a `{topic}`, not a `{}`", E::NAME);
            return Err(Error::not_found(text));
        }
        decode(self).map_err(|failure| Error::config(failure.chain().join(": ")))
    }
}

impl Deref for Payload {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.len())
    }
}

/// Encodes a message or a piece of kept state.
pub(crate) fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, Failure> {
    rmp_serde::to_vec_named(value)
        .map_err(|error| Failure::permanent(format!("cannot encode: {error}")))
}

/// How stored bytes are encoded: what is said of each.
pub(crate) const MESSAGE_PACK: u8 = 1;

/// As [`encode`], at the end of what is there already.
pub(crate) fn encode_into<T: Serialize>(into: &mut Vec<u8>, value: &T) -> Result<(), Failure> {
    rmp_serde::encode::write_named(into, value)
        .map_err(|error| Failure::permanent(format!("cannot encode: {error}")))
}

/// Decodes what [`encode`] made.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Failure> {
    rmp_serde::from_slice(bytes).map_err(|error| {
        Failure::permanent(format!("cannot decode: {error}")).reason("undecodable")
    })
}
