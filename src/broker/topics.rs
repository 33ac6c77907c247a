//! The topics of one runtime: numbers for names, and who says and wants what. Pure.

use std::any::{TypeId, type_name};
use std::collections::{BTreeSet, HashMap};

use crate::error::Error;
use crate::message::envelope::TopicId;
use crate::message::{Message, check_name, interned};
use crate::queue::batch::same_name;

/// Who publishes and consumes one topic, as declared and as seen; from
/// [`Runtime::topology`](crate::Runtime::topology). An application can check its own wiring by it:
///
/// ```
/// fn nobody_cares(runtime: &cueline::Runtime) -> Vec<String> {
///     let topics = runtime.topology().into_iter();
///     topics.filter(|topic| topic.consumers.is_empty()).map(|topic| topic.topic).collect()
/// }
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TopicReport {
    /// The topic's name.
    pub topic: String,
    /// Processors that said `.emits::<T>()`.
    pub declared_publishers: BTreeSet<String>,
    /// Processors that were seen publishing it; `outside` for the application itself.
    pub seen_publishers: BTreeSet<String>,
    /// Processors that subscribe to it now.
    pub consumers: BTreeSet<String>,
    /// Events published so far.
    pub published: u64,
    /// How many of them nobody subscribed to.
    pub unrouted: u64,
}

/// The name under which the application itself publishes.
pub(crate) const OUTSIDE: &str = "outside";

struct Topic {
    name: &'static str,
    type_name: &'static str,
    report: TopicReport,
}

/// All topics known so far.
#[derive(Default)]
pub(crate) struct Topics {
    by_type: HashMap<TypeId, TopicId, foldhash::fast::RandomState>,
    by_name: HashMap<&'static str, TopicId>,
    topics: Vec<Topic>,
    /// The last one asked for: most publishers publish one type after another.
    last: Option<(TypeId, TopicId)>,
}

impl Topics {
    /// The number of `E`'s topic; gives it one the first time. Two types of one name, or an
    /// ill-formed name, are an error.
    pub(crate) fn topic<E: Message>(&mut self) -> Result<TopicId, Error> {
        let of = TypeId::of::<E>();
        if let Some((last, topic)) = self.last
            && last == of
        {
            return Ok(topic);
        }
        let topic = match self.by_type.get(&of) {
            Some(topic) => *topic,
            None => self.register(of, E::NAME, type_name::<E>())?,
        };
        self.last = Some((of, topic));
        Ok(topic)
    }

    /// As [`Topics::topic`], for a type known by its parts only.
    pub(crate) fn register(
        &mut self,
        of: TypeId,
        name: &'static str,
        type_name: &'static str,
    ) -> Result<TopicId, Error> {
        if let Some(topic) = self.by_type.get(&of) {
            return Ok(*topic);
        }
        check_name("the message name", name)?;
        if let Some(topic) = self.by_name.get(name).copied() {
            let known = &mut self.topics[usize::from(topic.0)];
            if known.type_name.is_empty() {
                // It was known by its name before.
                known.type_name = type_name;
                self.by_type.insert(of, topic);
                return Ok(topic);
            }
            let other = known.type_name;
            return Err(same_name(name, other, type_name));
        }
        let topic = self
            .put(name, type_name)
            .ok_or_else(|| Error::config("more than 65,536 message types in one runtime"))?;
        self.by_type.insert(of, topic);
        Ok(topic)
    }

    fn put(&mut self, name: &'static str, type_name: &'static str) -> Option<TopicId> {
        let topic = TopicId(u16::try_from(self.topics.len()).ok()?);
        let report = TopicReport { topic: name.to_owned(), ..TopicReport::default() };
        self.topics.push(Topic { name, type_name, report });
        self.by_name.insert(name, topic);
        Some(topic)
    }

    /// The topic with that name, whose type nobody has told yet.
    pub(crate) fn reserve(&mut self, name: &str) -> TopicId {
        let known = self.find(name);
        known.or_else(|| self.put(interned(name), "")).unwrap_or(TopicId(u16::MAX))
    }

    /// All names, by number.
    pub(crate) fn names(&self) -> Vec<&'static str> {
        self.topics.iter().map(|topic| topic.name).collect()
    }

    pub(crate) fn find(&self, name: &str) -> Option<TopicId> {
        self.by_name.get(name).copied()
    }

    pub(crate) fn name(&self, topic: TopicId) -> &'static str {
        self.topics.get(usize::from(topic.0)).map_or("unknown", |topic| topic.name)
    }

    pub(crate) fn report_mut(&mut self, topic: TopicId) -> Option<&mut TopicReport> {
        self.topics.get_mut(usize::from(topic.0)).map(|topic| &mut topic.report)
    }

    pub(crate) fn saw(&mut self, publisher: &str, topic: TopicId) {
        if let Some(report) = self.report_mut(topic)
            && !report.seen_publishers.contains(publisher)
        {
            report.seen_publishers.insert(publisher.to_string());
        }
    }

    pub(crate) fn reports(&self, published: impl Fn(TopicId) -> u64) -> Vec<TopicReport> {
        let numbered = self.topics.iter().enumerate();
        numbered
            .map(|(number, topic)| {
                let published = published(TopicId(number as u16));
                TopicReport { published, ..topic.report.clone() }
            })
            .collect()
    }
}
