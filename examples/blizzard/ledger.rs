//! How far the import came: kept with everything else, so that it goes on there after a crash.

use cueline::prelude::*;
use serde::{Deserialize, Serialize};

use crate::events::*;

/// Counts what the import published, so that it goes on there after a crash.
pub struct Ledger;

impl Ledger {
    pub const IMPORTED: &'static str = "imported";

    fn count(cx: &mut Context) -> Outcome {
        cx.state::<Imported>(Self::IMPORTED)?.count += 1;
        Ok(())
    }
}

#[derive(Default, Clone, Serialize, Deserialize)]
pub struct Imported {
    pub count: u64,
    pub flights: u64,
}

impl Processor for Ledger {}

impl Handle<FlightScheduled> for Ledger {
    async fn handle(&mut self, _: &FlightScheduled, cx: &mut Context) -> Outcome {
        cx.state::<Imported>(Self::IMPORTED)?.flights += 1;
        Self::count(cx)
    }
}

impl Handle<WeatherObserved> for Ledger {
    async fn handle(&mut self, _: &WeatherObserved, cx: &mut Context) -> Outcome {
        Self::count(cx)
    }
}

impl Handle<RowUnreadable> for Ledger {
    async fn handle(&mut self, _: &RowUnreadable, cx: &mut Context) -> Outcome {
        Self::count(cx)
    }
}
