//! A command that nobody handles is an error that names it, or waits, as was asked for.

use cueline::ErrorKind;
use cueline::prelude::*;

use crate::support::{Gate, supervisor, within};
use crate::world::{doubles, one_is_sent, server, stop, thrice_server, twice};

fn without() -> Runtime {
    let other = thrice_server(|command, _| Box::pin(async { Ok(command.0 * 3) }));
    Runtime::builder("test").supervise(supervisor().child(other)).start().unwrap()
}

#[test]
fn nobody_is_an_error_that_names_the_command() {
    let runtime = without();
    let nobody = runtime.request(twice(1)).wait().unwrap_err();
    assert_eq!(nobody.kind(), ErrorKind::NoHandler);
    let said = nobody.to_string();
    assert!(said.contains("`twice`") && said.contains("serves::<"), "{said}");
    stop(&runtime);
}

#[test]
fn it_waits_until_somebody_is_added() {
    let runtime = without();
    let (gate, waiting) = (Gate::default(), runtime.clone());
    let sent = gate.clone();
    let asked = std::thread::spawn(move || {
        sent.open();
        waiting.request(twice(21)).wait_for_handler().wait()
    });
    gate.pass();
    one_is_sent(&runtime);
    runtime.add("tests", server(doubles)).wait().unwrap();
    assert_eq!(within("it is answered", move || asked.join().unwrap()).unwrap(), 42);
    stop(&runtime);
}

#[test]
fn it_waits_no_longer_than_was_said() {
    let runtime = without();
    let asked = runtime.request(twice(21)).wait_for_handler().timeout(millis(20));
    let late = asked.wait().unwrap_err();
    assert_eq!(late.kind(), ErrorKind::TimedOut);
    assert!(late.to_string().contains("was not sent"), "{late}");
    assert_eq!(runtime.requests().outstanding, 0);
    // Nobody waits behind it.
    runtime.add("tests", server(doubles)).wait().unwrap();
    assert_eq!(runtime.request(twice(4)).wait().unwrap(), 8);
    stop(&runtime);
}

/// Its processor is deleted: nobody will handle it, unless a person says so.
#[test]
fn whoever_waits_for_a_processor_that_is_deleted_is_told() {
    let runtime = crate::world::run(server(doubles));
    runtime.pause("server").unwrap();
    let asked = runtime.clone();
    let waits = std::thread::spawn(move || asked.request(twice(1)).timeout(hours(1)).wait());
    one_is_sent(&runtime);
    let tests = runtime.supervisor("tests").unwrap();
    tests.stop("server").wait().unwrap();
    tests.delete("server").wait().unwrap();
    let told = within("it is told", move || waits.join().unwrap()).unwrap_err();
    assert_eq!(told.kind(), ErrorKind::NoHandler);
    assert!(told.to_string().contains("`server` is gone"), "{told}");
    assert_eq!(runtime.parked().len(), 1);
    stop(&runtime);
}

/// A full queue keeps whoever asks at the door, in order, as it does who publishes.
#[test]
fn who_finds_no_room_waits_at_the_door() {
    let runtime = crate::world::run(server(doubles).bound(4));
    let replies = runtime.request_all((0..500).map(twice)).wait();
    assert!(replies.into_iter().map(Result::unwrap).eq((0..500).map(|value| value * 2)));
    stop(&runtime);
}
