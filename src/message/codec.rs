//! Stored bytes: MessagePack with field names, so that people can read and mend them.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::Failure;

/// Encodes a message or a piece of kept state.
pub(crate) fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, Failure> {
    rmp_serde::to_vec_named(value)
        .map_err(|error| Failure::permanent(format!("cannot encode: {error}")))
}

/// Decodes what [`encode`] made.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Failure> {
    rmp_serde::from_slice(bytes).map_err(|error| {
        Failure::permanent(format!("cannot decode: {error}")).reason("undecodable")
    })
}
