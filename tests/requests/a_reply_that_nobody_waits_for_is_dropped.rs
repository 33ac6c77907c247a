//! Row 46 of the fault matrix: a reply that comes after its requester has gone is dropped and counted, and
//! never given to another request.

use std::task::{Context, Waker};

use cueline::ErrorKind;
use cueline::prelude::*;

use crate::support::{Gate, Heard, idle, supervisor};
use crate::world::{one_is_sent, server, stop, twice};

fn held(gate: &Gate, heard: &Heard) -> Runtime {
    let gate = gate.clone();
    let slow = server(move |command, _| {
        if command.value == 1 {
            gate.pass();
        }
        Box::pin(async { Ok(command.value * 2) })
    });
    let runtime = Runtime::builder("test").observe(heard.clone()).threads(1);
    runtime.supervise(supervisor().child(slow)).start().unwrap()
}

#[test]
fn fault_46_after_its_time() {
    let (gate, heard) = (Gate::default(), Heard::default());
    let runtime = held(&gate, &heard);
    let late = runtime.request(twice(1)).timeout(millis(20)).wait().unwrap_err();
    assert_eq!(late.kind(), ErrorKind::TimedOut);
    let said = late.to_string();
    assert!(said.contains("`twice` was not answered within 20ms"), "{said}");
    // Others wait when it comes.
    let other = runtime.clone();
    let waits = std::thread::spawn(move || other.request(twice(2)).wait().unwrap());
    one_is_sent(&runtime);
    gate.open();
    assert_eq!(waits.join().unwrap(), 4);
    idle(&runtime);
    assert_eq!(heard.count("ReplyDropped { command: \"twice\""), 1);
    assert_eq!(heard.count("Requested { command: \"twice\", outcome: TimedOut"), 1);
    stop(&runtime);
}

#[test]
fn fault_46_after_its_requester() {
    let (gate, heard) = (Gate::default(), Heard::default());
    let runtime = held(&gate, &heard);
    let mut asked = Box::pin(runtime.request(twice(1)));
    assert!(asked.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    gate.is_reached();
    drop(asked);
    assert_eq!(runtime.requests().outstanding, 0);
    gate.open();
    assert_eq!(runtime.request(twice(2)).wait().unwrap(), 4);
    idle(&runtime);
    assert_eq!(heard.count("ReplyDropped"), 1);
    assert_eq!(heard.count("Requested { command: \"twice\", outcome: Abandoned"), 1);
    stop(&runtime);
}
