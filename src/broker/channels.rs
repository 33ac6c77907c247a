//! The numbers by which a log knows the channels.

use super::reading::ChannelNames;
use crate::message::envelope::TopicId;
use crate::store::file::facts::name_of;
use crate::store::file::record::{FactKind, put_fact};

/// By topic; those that are new are written down.
#[derive(Debug, Default)]
pub(super) struct Channels {
    /// By topic.
    known: Vec<Option<u32>>,
}

impl Channels {
    /// The number of a topic's channel; one that is new is written down first.
    pub(super) fn number(
        &mut self,
        topic: TopicId,
        name: &str,
        names: &ChannelNames,
        records: &mut Vec<u8>,
    ) -> u32 {
        let index = usize::from(topic.0);
        if self.known.len() <= index {
            self.known.resize(index + 1, None);
        }
        if let Some(number) = self.known[index] {
            return number;
        }
        let known = names.read().iter().position(|of| of == name);
        let number = known.unwrap_or_else(|| {
            let mut names = names.write();
            let of = name_of(FactKind::Channel, names.len() as u32);
            put_fact(records, &of, name.as_bytes());
            names.push(name.to_owned());
            names.len() - 1
        }) as u32;
        self.known[index] = Some(number);
        number
    }
}
