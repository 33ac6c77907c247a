//! Workflows in the middle of whatever a workflow can do: with this version, too, they come to their ends, and
//! their histories are replayed to the last step.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use cueline::prelude::*;
use cueline::{History, WorkflowHandle};

use crate::trips::{Driver, Family, Finish, Go, Later, Leg, News, Other, TRIPS, Trip, Unleg};

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
        if what == "restarts" {
            trip.restart_from(1).wait().unwrap();
            let is_anew = |trip: &WorkflowHandle| trip.report().unwrap().waits_for[0].step > 2;
            until(|| waits_for(trip, waits) && is_anew(trip));
        }
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
        trip("restarts", &ab),
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
    assert_eq!(
        runtime.state::<u32>("driver", "legs"),
        Some(18),
        "none was done again but what was restarted"
    );
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
