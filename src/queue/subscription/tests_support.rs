//! What the unit tests share.

use std::sync::Arc;

use super::Subscription;
use crate::clock::Clock;
use crate::queue::batch::Load;
use crate::queue::state::OnPark;
use crate::queue::waiting::Wanted;
use crate::queue::{QueueSettings, StartFrom, WhenFull};
use crate::signal::{ProcessorName, Signals};

/// One that waits for nothing.
pub(super) fn subscription() -> Subscription {
    let bound = Load::new(10, 1_000);
    let settings = QueueSettings {
        bound,
        reserve: bound,
        when_full: WhenFull::Block,
        on_park: OnPark::HoldKey,
        most_held: 10,
        most_states: 10,
        instances: 1,
        hosts: 1,
        shared: false,
        start_from: StartFrom::Now,
        runs_ahead: false,
        acknowledge: crate::queue::Acknowledge::AfterSuccess,
    };
    let name = ProcessorName { index: 0, name: "test".into() };
    let (clock, signals) = (Arc::new(Clock::new()), Signals::new(Vec::new()));
    Subscription::new(name, settings, Wanted::default(), clock, signals)
}
