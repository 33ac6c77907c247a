//! What is published under a key of its publisher, as the log has it. Pure.

use std::sync::Arc;

use crate::message::EventId;
use crate::message::envelope::TopicId;
use crate::store::file::bytes::{Bytes, Malformed, Read, put_number};

/// What was published under a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Keyed {
    pub(crate) id: EventId,
    /// Of all that was published: another digest, another event.
    pub(crate) digest: u128,
    /// In milliseconds since 1970.
    pub(crate) at: u64,
}

/// What a log is to be told of a key: that something was published under it, or that it is forgotten.
#[derive(Debug, Clone)]
pub(crate) struct KeyNote {
    pub(crate) topic: TopicId,
    pub(crate) key: Arc<str>,
    pub(crate) first: Option<Keyed>,
}

impl Keyed {
    pub(crate) fn write(&self) -> Vec<u8> {
        let mut value = Vec::with_capacity(40);
        value.extend_from_slice(&self.id.0.to_le_bytes());
        value.extend_from_slice(&self.digest.to_le_bytes());
        put_number(&mut value, self.at);
        value
    }

    pub(crate) fn read(value: &[u8]) -> Read<Self> {
        let (id, rest) = value.split_first_chunk().ok_or(Malformed)?;
        let (digest, rest) = rest.split_first_chunk().ok_or(Malformed)?;
        let at = Bytes(rest).number()?;
        Ok(Self { id: EventId(u128::from_le_bytes(*id)), digest: u128::from_le_bytes(*digest), at })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_as_it_was_written_and_nothing_else_is() {
        let keyed =
            Keyed { id: EventId(1 << 90 | 7), digest: u128::MAX - 5, at: 1_764_086_920_731 };
        let written = keyed.write();
        assert_eq!(Keyed::read(&written), Ok(keyed));
        for end in 0..33 {
            assert!(Keyed::read(&written[..end]).is_err(), "{end}");
        }
    }
}
