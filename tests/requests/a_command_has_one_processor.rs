//! One processor handles a command: two are an error when they are declared.

use cueline::prelude::*;
use cueline::{Acknowledge, ErrorKind};
use serde::{Deserialize, Serialize};

use crate::support::{Word, supervisor};
use crate::world::{doubles, run, server, stop};

fn refused(tests: Supervisor) -> String {
    let error = Runtime::builder("test").supervise(tests).start().err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Config);
    error.to_string()
}

struct Other;
impl Processor for Other {}
impl Handle<crate::world::Twice> for Other {
    async fn handle(&mut self, _: &crate::world::Twice, _: &mut Context) -> Outcome<u64> {
        Ok(0)
    }
}
impl Handle<Word> for Other {
    async fn handle(&mut self, _: &Word, _: &mut Context) -> Outcome {
        Ok(())
    }
}

#[test]
fn two_are_an_error_that_names_both() {
    let other = || processor("other", || Other).serves::<crate::world::Twice>();
    let said = refused(supervisor().child(server(doubles)).child(other()));
    let names = ["`server`", "`other`", "`twice`", "instances"];
    assert!(names.iter().all(|name| said.contains(name)), "{said}");
    let runtime = run(server(doubles));
    let later = runtime.add("tests", other()).wait().unwrap_err();
    assert!(later.to_string().contains("both serve the command"), "{later}");
    stop(&runtime);
}

#[test]
fn an_event_is_subscribed_to_and_not_served() {
    let serves = processor("other", || Other).serves::<Word>();
    let said = refused(supervisor().child(serves));
    assert!(said.contains(".on::<") && said.contains("Done"), "{said}");
}

#[test]
fn what_would_never_be_answered_is_refused() {
    let drops = server(doubles).when_full(WhenFull::DropOldest);
    assert!(refused(supervisor().child(drops)).contains("never answered"));
    let by_hand = server(doubles).acknowledge(Acknowledge::ByHand { lease: secs(1) });
    assert!(refused(supervisor().child(by_hand)).contains("answered when its handler returns"));
}

/// A command that has nothing to say but that it is done; at most once.
#[derive(Serialize, Deserialize)]
struct Close;
cueline::command!(Close, "close" => Done);

struct Door;
impl Processor for Door {}
impl Handle<Close> for Door {
    async fn handle(&mut self, _: &Close, _: &mut Context) -> Outcome<Done> {
        Ok(Done)
    }
}

#[test]
fn a_command_may_be_handled_at_most_once() {
    let door = processor("door", || Door).serves::<Close>();
    let runtime = run(door.acknowledge(Acknowledge::BeforeHandling));
    assert_eq!(runtime.request(Close).wait().unwrap(), Done);
    stop(&runtime);
}
