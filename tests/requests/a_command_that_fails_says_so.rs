//! A command is delivered again as an event is; when its attempts are used up, whoever waits is told.

use cueline::prelude::*;
use cueline::{Acknowledge, Cause, ErrorKind};

use crate::support::{Heard, Log, idle, supervisor, within};
use crate::world::{doubles, run, server, stop, twice};

/// R-retry.
#[test]
fn it_is_tried_again_and_then_answered() {
    let runtime = run(server(|command, cx| {
        Box::pin(async move {
            match cx.attempt() {
                3 => Ok(command.value + u64::from(cx.attempt())),
                _ => Err(Failure::transient("not yet")),
            }
        })
    }));
    assert_eq!(runtime.request(twice(10)).wait().unwrap(), 13);
    stop(&runtime);
}

/// R-terminal.
#[test]
fn what_the_handler_said_reaches_whoever_asked() {
    let attempts = Log::default();
    let log = attempts.clone();
    let runtime = run(server(move |command, cx| {
        log.push(cx.attempt());
        Box::pin(async move {
            let failure = match command.value {
                0 => Failure::permanent("no such seat"),
                _ => Failure::transient("the registry does not answer"),
            };
            Err(failure.reason("no_seat"))
        })
    }));
    let refused = runtime.request(twice(0)).wait().unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Failed);
    assert_eq!(refused.to_string(), "`twice` was tried once, and failed: no such seat");
    let failure = refused.failure().unwrap();
    assert!(failure.is_permanent());
    assert_eq!(failure.named_reason(), Some("no_seat"));
    let given_up = runtime.request(twice(1)).wait().unwrap_err();
    assert!(given_up.to_string().contains("tried 3 times"), "{given_up}");
    assert_eq!(attempts.all(), [1, 1, 2, 3]);
    assert!(runtime.parked().is_empty(), "it is somebody's business already");
    // It does not hold others up, also not those of its key.
    let keyed = |value| crate::world::Twice { value, key: Some(7) };
    (0..3).for_each(|value| drop(runtime.request(keyed(value)).wait().unwrap_err()));
    stop(&runtime);
}

#[test]
fn a_panic_leaves_others_unhurt_and_is_told() {
    let heard = Heard::default();
    let panics = server(|command, cx| match command.value {
        13 => panic!("thirteen"),
        _ => doubles(command, cx),
    });
    let runtime = Runtime::builder("test").observe(heard.clone());
    let runtime = runtime.supervise(supervisor().child(panics)).start().unwrap();
    let mut replies = runtime.request_all((10..16).map(twice)).wait().into_iter();
    assert_eq!(replies.by_ref().take(3).flatten().collect::<Vec<_>>(), [20, 22, 24]);
    let panicked = replies.next().unwrap().unwrap_err();
    assert!(panicked.to_string().contains("thirteen"), "{panicked}");
    assert_eq!(replies.flatten().collect::<Vec<_>>(), [28, 30]);
    assert_eq!(heard.count("CommandFailed"), 1);
    stop(&runtime);
}

/// A command that counted as handled before is not tried again, and whoever waits is told all the same.
#[test]
fn one_that_is_handled_at_most_once_is_answered_as_well() {
    let once = server(|_, cx| {
        let attempt = cx.attempt();
        Box::pin(async move { Err(Failure::transient(format!("attempt {attempt}"))) })
    });
    let runtime = run(once.acknowledge(Acknowledge::BeforeHandling));
    let failed = runtime.request(twice(1)).wait().unwrap_err();
    assert_eq!(failed.to_string(), "`twice` was tried once, and failed: attempt 1");
    stop(&runtime);
}

/// Each poison command charges the processor once, however it ended.
#[test]
fn three_poison_commands_do_not_stop_the_runtime() {
    let panics = server(|command, cx| match command.value {
        0 => doubles(command, cx),
        _ => panic!("poison"),
    });
    let tests = supervisor().intensity(Intensity::within(4, secs(600))).child(panics);
    let runtime = Runtime::builder("test").supervise(tests).start().unwrap();
    for value in 1..=3 {
        let said = runtime.request(twice(value)).wait().unwrap_err().to_string();
        assert!(said.contains("tried 2 times") && said.contains("poison"), "{said}");
    }
    assert_eq!(runtime.request(twice(0)).wait().unwrap(), 0);
    stop(&runtime);
}

/// Nothing of a failed handling is left: R-set-then-fail.
#[test]
fn what_it_kept_is_as_at_the_last_commit() {
    let runtime = run(server(|command, cx| {
        Box::pin(async move {
            *cx.state::<u64>("sum")? += command.value;
            if command.value == 5 { Err(Failure::permanent("five")) } else { Ok(0) }
        })
    }));
    runtime.request(twice(3)).wait().unwrap();
    runtime.request(twice(5)).wait().unwrap_err();
    assert_eq!(runtime.state::<u64>("server", "sum"), Some(3));
    stop(&runtime);
}

/// Nobody is there to be told, so a person is.
#[test]
fn it_is_parked_if_nobody_waits_any_more() {
    let (begun, begins) = std::sync::mpsc::channel();
    let gate = crate::support::Gate::default();
    let held = gate.clone();
    let runtime = run(server(move |_, _| {
        begun.send(()).unwrap();
        held.pass();
        Box::pin(async { Err(Failure::permanent("too late to tell")) })
    }));
    let mut asked = Box::pin(runtime.request(twice(1)));
    let mut task = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(asked.as_mut().poll(&mut task).is_pending());
    within("it is handled", move || begins.recv().unwrap());
    drop(asked);
    gate.open();
    idle(&runtime);
    let parked = runtime.parked();
    assert_eq!(parked.len(), 1);
    assert_eq!(parked[0].cause, Cause::Permanent);
    stop(&runtime);
}
