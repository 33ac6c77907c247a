//! A temporary reply queue is created for one request, used by it, and gone with whoever asked.

use std::task::{Context, Waker};

use cueline::prelude::*;

use crate::support::Gate;
use crate::world::{doubles, run, server, stop, twice};

#[test]
fn the_reply_comes_through_it() {
    let runtime = run(server(doubles));
    for value in 0..50 {
        assert_eq!(runtime.request(twice(value)).temporary_queue().wait().unwrap(), value * 2);
    }
    assert!(runtime.requests().temporary_queues.is_empty());
    stop(&runtime);
}

#[test]
fn it_is_there_while_somebody_waits_and_gone_when_nobody_does() {
    let gate = Gate::default();
    let held = gate.clone();
    let runtime = run(server(move |command, cx| {
        if command.value == 2 {
            return Box::pin(std::future::pending());
        }
        held.pass();
        doubles(command, cx)
    }));
    let mut asked = Box::pin(runtime.request(twice(1)).temporary_queue());
    assert!(runtime.requests().temporary_queues.is_empty(), "it is not sent yet");
    assert!(asked.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    let queues = runtime.requests().temporary_queues;
    assert!(queues.len() == 1 && queues[0].starts_with("reply.twice."), "{queues:?}");
    // The requester dies.
    let died = std::thread::spawn(move || {
        let _asked = asked;
        std::panic::resume_unwind(Box::new("the requester"));
    });
    assert!(died.join().is_err());
    assert!(runtime.requests().temporary_queues.is_empty());
    gate.open();
    // One that is late goes, too.
    runtime.request(twice(2)).temporary_queue().timeout(millis(1)).wait().unwrap_err();
    assert!(runtime.requests().temporary_queues.is_empty());
    runtime.shutdown(millis(1)).wait().ok();
}
