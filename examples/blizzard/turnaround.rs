//! Another domain: what becomes of aircraft that are not where they should be.

use cueline::prelude::*;
use serde::{Deserialize, Serialize};

use crate::events::{AircraftMissing, Decided};

/// Sends another aircraft where one is missing.
#[derive(Serialize, Deserialize)]
pub struct Replace {
    pub flight: Key,
}
cueline::command!(Replace, "fleet.replace" => Done);

/// An aircraft was diverted, or never arrived: somebody may decide what to do, and if nobody does in time
/// another one is sent.
pub struct Turnaround;

impl Turnaround {
    /// In the time of the program, not of the flights.
    const DEADLINE: std::time::Duration = millis(250);
}

impl Workflow for Turnaround {
    const NAME: &'static str = "turnaround";
    type Input = AircraftMissing;
    type Output = ();
    type Expects = (Decided,);

    async fn run(&self, missing: AircraftMissing, steps: Steps) -> Outcome {
        let flight = missing.flight;
        let decided = steps.wait_for::<Decided>(&flight).or_after(Self::DEADLINE).await?;
        if decided.is_none_or(|decided| decided.replace) {
            steps.call(Replace { flight }).await?;
        }
        Ok(())
    }
}

/// Sends aircraft.
pub struct Fleet;

impl Fleet {
    pub const REPLACED: &'static str = "replaced";
}

impl Processor for Fleet {}

impl Handle<Replace> for Fleet {
    async fn handle(&mut self, _: &Replace, cx: &mut Context) -> Outcome<Done> {
        *cx.state::<u64>(Self::REPLACED)? += 1;
        Ok(Done)
    }
}
