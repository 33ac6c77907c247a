//! What is known about an event that failed: the report that a person or a repairer reads.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::error::{Error, Failure};
use crate::message::{EventId, Key, Message, Payload, Seq, interned};
use crate::signal::Cause;

/// How an event failed, kept with it until it succeeds or is given up.
#[derive(Debug, Clone)]
pub(crate) struct Report {
    pub(crate) cause: Cause,
    pub(crate) reason: &'static str,
    pub(crate) chain: Vec<String>,
    pub(crate) deliveries: u32,
    /// How often it broke the instance that handled it.
    pub(crate) broke: u32,
    pub(crate) first_failed: Timestamp,
    pub(crate) last_failed: Timestamp,
    pub(crate) path: Vec<&'static str>,
}

impl Report {
    /// The first report, or the next one about the same event.
    pub(crate) fn next(
        before: Option<&Self>,
        cause: Cause,
        failure: Failure,
        path: Vec<&'static str>,
        now: Timestamp,
    ) -> Self {
        Self {
            cause,
            reason: failure.named_reason().unwrap_or(cause.as_str()),
            chain: failure.into_chain(),
            deliveries: before.map_or(1, |report| report.deliveries + 1),
            broke: before.map_or(0, |report| report.broke) + u32::from(cause.breaks_instance()),
            first_failed: before.map_or(now, |report| report.first_failed),
            last_failed: now,
            path,
        }
    }

    /// An event that nobody will handle any more: what was known about it stays known.
    pub(crate) fn orphaned(before: Option<&Self>, failure: Failure, now: Timestamp) -> Self {
        let deliveries = before.map_or(0, |report| report.deliveries);
        let path = before.map_or_else(Vec::new, |report| report.path.clone());
        let mut chain = failure.chain().to_vec();
        chain.extend(before.into_iter().flat_map(|report| report.chain.iter().cloned()));
        Self { chain, deliveries, ..Self::next(before, Cause::Orphaned, failure, path, now) }
    }
}

/// What many reports have in common.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ReportText {
    cause: Cause,
    pub(crate) reason: &'static str,
    chain: Vec<String>,
    path: Vec<&'static str>,
}

/// A report in few bytes, where many are kept.
#[derive(Debug)]
pub(crate) struct BriefReport {
    pub(crate) text: Arc<ReportText>,
    last_failed: Timestamp,
    since_first: BriefTime,
    deliveries: u16,
    broke: u16,
}

/// Milliseconds; seconds, if it is more than three weeks.
#[derive(Debug, Clone, Copy)]
struct BriefTime(u32);

impl BriefTime {
    const IN_SECONDS: u32 = 1 << 31;

    fn of(millis: u64) -> Self {
        match u32::try_from(millis) {
            Ok(millis) if millis < Self::IN_SECONDS => Self(millis),
            _ => Self(
                (millis / 1_000).min(u64::from(Self::IN_SECONDS) - 1) as u32 | Self::IN_SECONDS,
            ),
        }
    }

    fn millis(self) -> u64 {
        match self.0 & Self::IN_SECONDS {
            0 => u64::from(self.0),
            _ => u64::from(self.0 ^ Self::IN_SECONDS) * 1_000,
        }
    }
}

impl BriefReport {
    /// `said` is what was said last, here and for the next one.
    pub(crate) fn of(report: &Report, said: &mut Option<Arc<ReportText>>) -> Self {
        let Report { cause, reason, deliveries, broke, first_failed, last_failed, .. } = *report;
        let (chain, path) = (report.chain.clone(), report.path.clone());
        let text = ReportText { cause, reason, chain, path };
        let text = match said {
            Some(said) if **said == text => said.clone(),
            _ => said.insert(Arc::new(text)).clone(),
        };
        let since = last_failed.as_millis().saturating_sub(first_failed.as_millis());
        let small = |count: u32| u16::try_from(count).unwrap_or(u16::MAX);
        Self {
            text,
            last_failed,
            since_first: BriefTime::of(since),
            deliveries: small(deliveries),
            broke: small(broke),
        }
    }

    pub(crate) fn report(&self) -> Report {
        let ReportText { cause, reason, chain, path } = &*self.text;
        let last_failed = self.last_failed.as_millis();
        Report {
            cause: *cause,
            reason,
            chain: chain.clone(),
            deliveries: self.deliveries.into(),
            broke: self.broke.into(),
            first_failed: Timestamp(last_failed.saturating_sub(self.since_first.millis())),
            last_failed: self.last_failed,
            path: path.clone(),
        }
    }
}

/// A report as it is stored.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct StoredReport {
    cause: String,
    reason: String,
    chain: Vec<String>,
    deliveries: u32,
    broke: u32,
    first_failed: Timestamp,
    last_failed: Timestamp,
    path: Vec<String>,
}

impl StoredReport {
    pub(crate) fn of(report: &Report) -> Self {
        Self {
            cause: report.cause.as_str().to_owned(),
            reason: report.reason.to_owned(),
            chain: report.chain.clone(),
            deliveries: report.deliveries,
            broke: report.broke,
            first_failed: report.first_failed,
            last_failed: report.last_failed,
            path: report.path.iter().map(|&topic| topic.to_owned()).collect(),
        }
    }

    pub(crate) fn restored(self) -> Report {
        let cause = Cause::ALL.into_iter().find(|cause| cause.as_str() == self.cause);
        Report {
            cause: cause.unwrap_or(Cause::Failed),
            reason: interned(&self.reason),
            chain: self.chain,
            deliveries: self.deliveries,
            broke: self.broke,
            first_failed: self.first_failed,
            last_failed: self.last_failed,
            path: self.path.iter().map(|topic| interned(topic)).collect(),
        }
    }
}

/// An event that waits for a person or a repairer; from
/// [`Runtime::parked`](crate::Runtime::parked).
///
/// ```
/// fn resubmit_all(runtime: &cueline::Runtime, reason: &str) -> Result<(), cueline::Error> {
///     for event in runtime.parked().iter().filter(|event| event.reason == reason) {
///         println!("{} after {} attempts: {}", event.id, event.attempts, event.chain.join(": "));
///         runtime.resubmit(&event.processor, event.id)?;
///     }
///     Ok(())
/// }
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ParkedEvent {
    /// The processor that could not handle it.
    pub processor: Arc<str>,
    /// The event's topic.
    pub topic: &'static str,
    /// The event's id, by which it is resubmitted or discarded.
    pub id: EventId,
    /// Its place in the order.
    pub seq: Seq,
    /// The initiating event it descends from.
    pub correlation: EventId,
    /// The event whose handler published it.
    pub causation: Option<EventId>,
    /// Its key, if it has one.
    pub key: Option<Key>,
    /// When it was published.
    pub published: Timestamp,
    /// Why it is parked, as one of a closed set.
    pub cause: Cause,
    /// Why, in the handler's own word ([`Failure::reason`]); else the cause.
    pub reason: &'static str,
    /// The error and its sources, outermost first.
    pub chain: Vec<String>,
    /// How often it was delivered.
    pub attempts: u32,
    /// When it failed first.
    pub first_failed: Timestamp,
    /// When it failed last.
    pub last_failed: Timestamp,
    /// For an event stopped by the hop limit: the last topics it descends through, oldest first.
    pub path: Vec<&'static str>,
    /// The event itself.
    pub payload: Payload,
}

impl ParkedEvent {
    /// Decodes the payload as the message type it is.
    ///
    /// # Errors
    ///
    /// `NotFound` for another topic's event, `Config` for bytes that do not fit the type.
    pub fn decode<E: Message>(&self) -> Result<E, Error> {
        self.payload.decode(self.topic)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_in_few_bytes_is_the_same_and_said_once() {
        let (mut said, mut shared) = (None, Vec::new());
        const WEEK: u64 = 7 * 24 * 3_600_000;
        for (number, since) in [0, 1, 3 * WEEK, 4 * WEEK, 520 * WEEK].into_iter().enumerate() {
            let first_failed = Timestamp(1_764_086_920_731);
            let last_failed = Timestamp(first_failed.0 + since);
            let failure = Failure::permanent("no seat").reason("seat");
            let before = Report::next(None, Cause::Permanent, failure, vec!["a"], first_failed);
            let before = Report { last_failed, deliveries: 7, broke: number as u32, ..before };
            let brief = BriefReport::of(&before, &mut said);
            let after = brief.report();
            let all = |of: &Report| {
                let (cause, reason, chain) = (of.cause, of.reason, of.chain.clone());
                (cause, reason, chain, of.deliveries, of.broke, of.last_failed, of.path.clone())
            };
            assert_eq!(all(&after), all(&before));
            assert!(after.first_failed.0.abs_diff(first_failed.0) < 1_000, "{since}");
            shared.push(brief);
        }
        assert!(shared.iter().all(|of| Arc::ptr_eq(&of.text, &shared[0].text)));
    }
}
