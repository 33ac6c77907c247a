//! Between a run of events as it is here and as the log has it.

use crate::clock::Timestamp;
use crate::message::codec;
use crate::message::envelope::{Head, Path, RunIds, TopicId};
use crate::store::file::events::{Chain, Run};

/// The head of a run as the log has it; channels by the log's numbers.
pub(crate) fn run_of(head: &Head, channel: u32, skipped: u32, count: u32, path: Vec<u32>) -> Run {
    let ids = head.ids();
    let chain = |(first, steps)| Chain { first, steps };
    Run {
        skipped,
        channel,
        codec: codec::MESSAGE_PACK,
        count,
        first: ids.first,
        correlation: ids.correlation.map(chain),
        causation: ids.causation.map(chain),
        at: head.at.as_millis(),
        hops: head.hops,
        path,
    }
}

/// The head of a run that the log has.
pub(crate) fn head_of(run: &Run, topic: TopicId, path: Path) -> Head {
    let chain = |chain: Chain| (chain.first, chain.steps);
    let ids = RunIds {
        first: run.first,
        correlation: run.correlation.map(chain),
        causation: run.causation.map(chain),
    };
    Head::restored(topic, ids, Timestamp(run.at), run.hops, path)
}
