//! How far it is: asked once a second while flights come, and answered by whoever cares for passengers.

use std::time::Instant;

use cueline::prelude::*;
use indicatif::ProgressBar;
use serde::{Deserialize, Serialize};

use crate::rebooking::{Care, Cared};

/// Asks what has become of the passengers so far.
#[derive(Debug, Serialize, Deserialize)]
pub struct SoFar;
cueline::command!(SoFar, "care.so_far" => Cared);

impl Handle<SoFar> for Care {
    async fn handle(&mut self, _: &SoFar, cx: &mut Context) -> Outcome<Cared> {
        Ok(cx.state::<Cared>(Self::TOTAL)?.clone())
    }
}

/// Shows it on the bar.
pub struct Progress {
    bar: ProgressBar,
    asked: Instant,
}

impl Progress {
    pub fn on(bar: ProgressBar) -> Self {
        Self { bar, asked: Instant::now() }
    }

    /// Once a second. Whoever is too busy to answer is asked again later.
    pub fn look(&mut self, runtime: &Runtime) {
        if self.asked.elapsed() < secs(1) {
            return;
        }
        self.asked = Instant::now();
        if let Ok(so_far) = runtime.request(SoFar).timeout(secs(1)).wait() {
            let Cared { rebooked, refunded, .. } = so_far;
            self.bar.set_message(format!("{rebooked} passengers rebooked, {refunded} refunded"));
        }
    }
}
