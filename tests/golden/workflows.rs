//! Workflows in the middle of whatever a workflow can do: with this version, too, they come to their ends, and
//! their histories are replayed to the last step.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use cueline::prelude::*;
use cueline::{History, WorkflowHandle};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Go {
    what: String,
    round: u32,
}
cueline::event!(Go, "trip.go", key: |go| go.what.clone());

#[derive(Debug, Serialize, Deserialize)]
struct Finish {
    what: String,
}
cueline::event!(Finish, "trip.finish", key: |finish| finish.what.clone());

#[derive(Debug, Serialize, Deserialize)]
struct News {
    what: String,
    text: String,
}
cueline::event!(News, "trip.news", key: |news| news.what.clone());

#[derive(Debug, Serialize, Deserialize)]
struct Leg {
    what: String,
}
cueline::command!(Leg, "trip.leg" => String);

#[derive(Debug, Serialize, Deserialize)]
struct Unleg {
    what: String,
    reply: Option<String>,
}
cueline::command!(Unleg, "trip.unleg" => Done);

#[derive(Debug, Serialize, Deserialize)]
struct Nobody;
cueline::command!(Nobody, "trip.nobody" => Done);

fn leg(what: &str) -> Leg {
    Leg { what: what.to_owned() }
}

fn unleg(what: &'static str) -> impl FnOnce(EventId, Option<&String>) -> Unleg {
    move |_, reply| Unleg { what: what.to_owned(), reply: reply.cloned() }
}

/// Does what its input says, and waits for the word to finish. What it does is never changed; more may be added.
struct Trip;

/// All that a trip can be, and what it waits for where it is left.
const TRIPS: [(&str, &str); 15] = [
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
struct Family;
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
struct Driver {
    fails: Arc<Mutex<HashMap<EventId, u32>>>,
    broken: Arc<AtomicBool>,
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

fn start(directory: &Path, broken: bool) -> Runtime {
    let (fails, broken) = (Arc::default(), Arc::new(AtomicBool::new(broken)));
    let driver = move || Driver { fails: Arc::clone(&fails), broken: broken.clone() };
    let driver = processor("driver", driver).serves::<Leg>().serves::<Unleg>();
    let trips = Mediator::for_domain("trips").workflow(Trip).starts_on::<Go>().workflow(Family);
    let tree = Supervisor::new("road").child(driver.retry(Retry::attempts(1))).child(trips);
    let runtime = Runtime::builder("travel").store(Store::directory(directory).limit(16 << 20));
    runtime.supervise(tree).start().unwrap()
}

fn waits_for(trip: &WorkflowHandle, what: &str) -> bool {
    let Some(report) = trip.report() else { return false };
    let tried = |line: &String| line.contains("no fuel");
    let undoes = what != "trip.unleg" || report.history.iter().any(tried);
    let of = |step: &cueline::WaitingStep| step.name == what || step.kind == what;
    report.waits_for.iter().any(of) && undoes
}

fn until(is: impl Fn() -> bool) {
    while !is() {
        std::thread::yield_now();
    }
}

/// Each kind of trip, as far as it goes, and a family of two.
pub fn make(log: &Path, histories: &Path) {
    let runtime = start(log, true);
    let tell = |what: &str| runtime.publish(Finish { what: what.to_owned() }).wait().unwrap();
    let news = |what: &str| {
        let text = format!("news for {what}");
        runtime.publish(News { what: what.to_owned(), text }).wait().unwrap()
    };
    for (what, _) in TRIPS {
        runtime.publish(Go { what: what.to_owned(), round: 0 }).wait().unwrap();
    }
    let family = Go { what: "family".to_owned(), round: 0 };
    let family = runtime.start::<Family>(family).wait().unwrap();
    runtime.idle().wait();
    for what in ["inbox", "continues"] {
        news(what);
    }
    tell("gate");
    let task = runtime.tasks().pop().unwrap();
    runtime.answer(&task, &7u32).wait().unwrap();
    let all: Vec<WorkflowHandle> =
        runtime.workflows(|_| true).into_iter().map(|id| runtime.workflow(id).unwrap()).collect();
    let is_about = |trip: &WorkflowHandle, what: &str| {
        let report = trip.report().unwrap();
        report.workflow == "trip" && report.key.is_some_and(|key| key.as_str() == what)
    };
    let trips = TRIPS.map(|(what, waits)| {
        let trip = all.iter().find(|trip| is_about(trip, what)).unwrap();
        if what == "cancelled" {
            until(|| waits_for(trip, "trip.finish"));
            trip.cancel().wait().unwrap();
        }
        until(|| waits_for(trip, waits));
        (what, trip.clone())
    });
    for (what, trip) in trips.iter().chain(&[("family", family)]) {
        let history = serde_json::to_string(&trip.history().unwrap()).unwrap();
        std::fs::write(histories.join(format!("{what}.json")), history + "\n").unwrap();
    }
    crate::fill(&runtime, log);
    runtime.shutdown(secs(5)).wait().unwrap();
    crate::strip(log);
}

/// All that was under way comes to its end.
fn check(log: &Path) {
    let copy = crate::Copy::of(log, "workflows");
    let runtime = start(&copy.0, false);
    let all = runtime.workflows(|_| true);
    let handles = all.into_iter().filter_map(|id| runtime.workflow(id));
    // Two may have made up for all by now.
    let open = handles.filter_map(|trip| {
        let report =
            trip.report().filter(|report| !report.history.iter().any(|of| of.contains("undo")))?;
        let history = trip.history().unwrap();
        match history.workflow() {
            "trip" => history.replay(Trip).unwrap(),
            _ => history.replay(Family).unwrap(),
        }
        Some((report.workflow, report.key.map(|key| key.to_string()), trip.ended::<Vec<String>>()))
    });
    let open: Vec<_> = open.collect();
    assert_eq!(open.len(), TRIPS.len() - 2 + 2, "two undo, and a family is two");
    let task = runtime.tasks().pop().unwrap();
    assert_eq!(task.question, "how many now?");
    runtime.answer(&task, &8u32).wait().unwrap();
    for (what, _) in TRIPS {
        runtime.publish(Finish { what: what.to_owned() }).wait().unwrap();
    }
    let mut ended: Vec<_> = open
        .into_iter()
        .map(|(workflow, key, ended)| (workflow, key, ended.wait().unwrap()))
        .collect();
    ended.sort();
    let trip = |what: &str, said: &[&str]| {
        let said: Vec<String> = said.iter().map(|said| (*said).to_owned()).collect();
        ("trip".to_owned(), Some(what.to_owned()), said)
    };
    let ab = ["A", "B"];
    let expected = [
        ("family".to_owned(), None, ab.map(str::to_owned).to_vec()),
        ("trip".to_owned(), None, ab.map(str::to_owned).to_vec()),
        trip("asks", &["7", "8"]),
        trip("branches", &["2", "None"]),
        trip("continues", &["news for continues"]),
        trip("drops", &["B"]),
        trip("fails", &["the road is closed"]),
        trip("inbox", &["news for inbox"]),
        trip("joins", &["FLAKY", "B", "FLAKY", "D"]),
        trip("races", &["A", "slept"]),
        trip("retries", &["FLAKY"]),
        trip("runs", &["4"]),
        trip("sequence", &ab),
        trip("sleeps", &["sleeps"]),
        trip("times_out", &["timed_out"]),
    ];
    assert_eq!(ended, expected);
    until(|| runtime.workflows(|_| true).is_empty());
    let mut undone = runtime.state::<Vec<String>>("driver", "undone").unwrap();
    undone.sort();
    assert_eq!(undone, ["a", "dropped", "stuck, cancelled", "stuck, failed"]);
    assert_eq!(runtime.state::<u32>("driver", "legs"), Some(15), "none was done again");
    runtime.shutdown(secs(5)).wait().unwrap();
    // And it is a log that this version writes on.
    let runtime = start(&copy.0, false);
    assert!(runtime.workflows(|_| true).is_empty());
    runtime.shutdown(secs(5)).wait().unwrap();
}

#[test]
fn logs_of_every_release_are_gone_on_with() {
    crate::make();
    let logs: Vec<_> = crate::releases("logs").into_iter().map(|of| of.join("workflows")).collect();
    assert!(!logs.is_empty());
    logs.iter().for_each(|log| check(log));
}

#[test]
fn histories_of_every_release_are_replayed() {
    crate::make();
    let mut replayed = 0;
    for path in crate::releases("histories").iter().flat_map(|of| std::fs::read_dir(of).unwrap()) {
        let path = path.unwrap().path();
        let history: History =
            serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        let did = match history.workflow() {
            "trip" => history.replay(Trip),
            _ => history.replay(Family),
        };
        did.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        replayed += 1;
    }
    assert!(replayed > TRIPS.len());
}

/// As [`Trip`] in sequence, but for one thing.
struct Other(&'static str);
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

struct Later;
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

#[test]
fn code_that_does_anything_else_is_found_out() {
    crate::make();
    let path = crate::releases("histories")[0].join("sequence.json");
    let history: History = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    history.replay(Other("does the same")).unwrap();
    for (other, found) in [
        ("says something else", "step 1: call `trip.leg`, which says something else"),
        ("leaves one out", "step 2: wait_for `trip.finish`"),
        ("does one more", "step 3: run `more`"),
        ("ends early", "its code came to nothing, where its history has step 1"),
    ] {
        let error = history.replay(Other(other)).unwrap_err().to_string();
        assert!(error.contains(found), "{other}: {error}");
    }
    let error = history.replay(Later).unwrap_err().to_string();
    assert!(
        error.contains("`trip` version 1, and the code is that of `trip` version 2"),
        "{error}"
    );
}
