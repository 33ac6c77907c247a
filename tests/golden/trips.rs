//! Workflows that do whatever a workflow can do, in the order in which they do it for ever: what was recorded of
//! them is replayed by every later version. More may be added; nothing is changed.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use cueline::prelude::*;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Go {
    pub what: String,
    pub round: u32,
}
cueline::event!(Go, "trip.go", key: |go| go.what.clone());

#[derive(Debug, Serialize, Deserialize)]
pub struct Finish {
    pub what: String,
}
cueline::event!(Finish, "trip.finish", key: |finish| finish.what.clone());

#[derive(Debug, Serialize, Deserialize)]
pub struct News {
    pub what: String,
    pub text: String,
}
cueline::event!(News, "trip.news", key: |news| news.what.clone());

#[derive(Debug, Serialize, Deserialize)]
pub struct Leg {
    pub what: String,
}
cueline::command!(Leg, "trip.leg" => String);

#[derive(Debug, Serialize, Deserialize)]
pub struct Unleg {
    pub what: String,
    pub reply: Option<String>,
}
cueline::command!(Unleg, "trip.unleg" => Done);

#[derive(Debug, Serialize, Deserialize)]
pub struct Nobody;
cueline::command!(Nobody, "trip.nobody" => Done);

pub fn leg(what: &str) -> Leg {
    Leg { what: what.to_owned() }
}

pub fn unleg(what: &'static str) -> impl FnOnce(EventId, Option<&String>) -> Unleg {
    move |_, reply| Unleg { what: what.to_owned(), reply: reply.cloned() }
}

/// Does what its input says, and waits for the word to finish. What it does is never changed; more may be added.
pub struct Trip;

/// All that a trip can be, and what it waits for where it is left.
pub const TRIPS: [(&str, &str); 16] = [
    ("sequence", "trip.finish"),
    ("joins", "trip.finish"),
    ("races", "trip.finish"),
    ("sleeps", "sleep"),
    ("retries", "trip.finish"),
    ("fails", "trip.finish"),
    ("times_out", "trip.finish"),
    ("runs", "trip.finish"),
    ("branches", "trip.finish"),
    ("inbox", "trip.finish"),
    ("continues", "trip.finish"),
    ("asks", "how many now?"),
    ("drops", "trip.finish"),
    ("restarts", "trip.finish"),
    ("undoes", "trip.unleg"),
    ("cancelled", "trip.unleg"),
];

impl Workflow for Trip {
    const NAME: &'static str = "trip";
    type Input = Go;
    type Output = Vec<String>;
    type Expects = (Finish, News);
    async fn run(&self, go: Go, steps: Steps) -> Outcome<Vec<String>> {
        let mut said = Vec::new();
        let finish = |what: &str| steps.wait_for::<Finish>(what);
        match go.what.as_str() {
            "sequence" => {
                said.push(steps.call(leg("a")).await?);
                said.push(steps.call(leg("b")).await?);
                steps.publish(Go { what: "nobody's".to_owned(), round: 9 })?;
                steps.show(&said)?;
            }
            "joins" => {
                let retry = Retry::attempts(3).backoff(Backoff::new(millis(1), millis(1)));
                let late = || steps.call(leg("flaky")).retry(retry);
                let (a, b) = tokio::try_join!(late(), steps.call(leg("b")))?;
                said.extend([a, b]);
                let (a, b) = futures_util::future::join(late(), steps.call(leg("d"))).await;
                said.extend([a?, b?]);
            }
            "races" => {
                match steps.race(steps.call(leg("a")), finish("never")).await {
                    Winner::First(did) => said.push(did?),
                    Winner::Second(_) => said.push("it came".to_owned()),
                }
                match steps.race(finish("never"), steps.sleep(millis(1))).await {
                    Winner::First(_) => said.push("it came".to_owned()),
                    Winner::Second(slept) => slept.map(|()| said.push("slept".to_owned()))?,
                }
            }
            "sleeps" => match steps.race(steps.sleep(hours(1_000_000)), finish("sleeps")).await {
                Winner::First(_) => said.push("slept".to_owned()),
                Winner::Second(came) => return came.map(|came| vec![came.what]),
            },
            "retries" => {
                let retry = Retry::attempts(3).backoff(Backoff::new(millis(1), millis(1)));
                said.push(steps.call(leg("flaky")).retry(retry).await?);
            }
            "fails" => match steps.call(leg("refused")).await {
                Ok(did) => said.push(did),
                Err(failure) => said.extend(failure.chain().iter().cloned()),
            },
            "times_out" => {
                let nobody = steps.call(Nobody).wait_for_handler().timeout(millis(1));
                let failure = nobody.await.err();
                said.extend(failure.and_then(|failure| failure.named_reason().map(str::to_owned)));
            }
            "runs" => said.push(steps.run("draw", || async { Ok("4".to_owned()) }).await?),
            "branches" => {
                said.push(steps.version("branch", 1..=2).to_string());
                said.push(format!(
                    "{:?}",
                    steps.received::<News>("branches")?.map(|news| news.text)
                ));
            }
            "inbox" => {
                finish("gate").await?;
                said.push(steps.wait_for::<News>("inbox").await?.text);
            }
            "continues" if go.round == 0 => {
                finish("gate").await?;
                return steps.continue_with::<Self>(Go { round: 1, ..go });
            }
            "continues" => said.push(steps.wait_for::<News>("continues").await?.text),
            "asks" => {
                said.push(steps.ask_person::<u32>("how many?").await?.to_string());
                said.push(steps.ask_person::<u32>("how many now?").await?.to_string());
            }
            "drops" => {
                let dropped = steps.call(leg("dropped")).undo_with(unleg("dropped"));
                match steps.race(steps.call(leg("b")), dropped).await {
                    Winner::First(did) | Winner::Second(did) => said.push(did?),
                }
            }
            "restarts" => {
                let (a, b) = tokio::try_join!(steps.call(leg("a")), steps.call(leg("b")))?;
                said.extend([a, b]);
            }
            "undoes" => {
                steps.call(leg("a")).undo_with(unleg("a")).await?;
                steps.call(leg("stuck")).undo_with(unleg("stuck, failed")).await?;
                return Err(Failure::permanent("it was in vain").reason("vain"));
            }
            "cancelled" => {
                steps.call(leg("stuck")).undo_with(unleg("stuck, cancelled")).await?;
            }
            other => return Err(Failure::permanent(format!("no such trip: {other}"))),
        }
        finish(&go.what).await?;
        Ok(said)
    }
}

/// A parent and its child.
pub struct Family;
impl Workflow for Family {
    const NAME: &'static str = "family";
    type Input = Go;
    type Output = Vec<String>;
    type Expects = ();
    async fn run(&self, _: Go, steps: Steps) -> Outcome<Vec<String>> {
        steps.child::<Trip>(Go { what: "sequence".to_owned(), round: 0 }).await
    }
}

/// What is flaky fails twice; while it is broken, it cannot undo what is stuck.
pub struct Driver {
    pub fails: Arc<Mutex<HashMap<EventId, u32>>>,
    pub broken: Arc<AtomicBool>,
}
impl Processor for Driver {}
impl Handle<Leg> for Driver {
    async fn handle(&mut self, leg: &Leg, cx: &mut Context) -> Outcome<String> {
        if leg.what == "refused" {
            return Err(Failure::permanent("the road is closed").reason("closed"));
        }
        if leg.what == "flaky" {
            let mut fails = self.fails.lock().unwrap();
            let times = fails.entry(cx.envelope().unwrap().id).or_default();
            *times += 1;
            if *times < 3 {
                return Err(Failure::transient("a flat tyre"));
            }
        }
        *cx.state::<u32>("legs")? += 1;
        Ok(leg.what.to_uppercase())
    }
}
impl Handle<Unleg> for Driver {
    async fn handle(&mut self, unleg: &Unleg, cx: &mut Context) -> Outcome<Done> {
        if unleg.what.starts_with("stuck") && self.broken.load(SeqCst) {
            return Err(Failure::transient("no fuel"));
        }
        cx.state::<Vec<String>>("undone")?.push(unleg.what.clone());
        Ok(Done)
    }
}

/// As [`Trip`] in sequence, but for one thing.
pub struct Other(pub &'static str);
impl Workflow for Other {
    const NAME: &'static str = "trip";
    type Input = Go;
    type Output = Vec<String>;
    type Expects = (Finish, News);
    async fn run(&self, go: Go, steps: Steps) -> Outcome<Vec<String>> {
        steps.call(leg("a")).await?;
        if self.0 == "ends early" {
            return Ok(Vec::new());
        }
        let other = if self.0 == "says something else" { "c" } else { "b" };
        steps.call(leg(other)).await?;
        if self.0 != "leaves one out" {
            steps.publish(Go { what: "nobody's".to_owned(), round: 9 })?;
        }
        if self.0 == "does one more" {
            steps.run("more", || async { Ok(1) }).await?;
        }
        steps.wait_for::<Finish>(&go.what).await?;
        Ok(Vec::new())
    }
}

pub struct Later;
impl Workflow for Later {
    const NAME: &'static str = "trip";
    const VERSION: u32 = 2;
    type Input = Go;
    type Output = ();
    type Expects = ();
    async fn run(&self, _: Go, _: Steps) -> Outcome {
        Ok(())
    }
}
