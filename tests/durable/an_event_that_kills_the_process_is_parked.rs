//! Rows 10 and 33 of the fault matrix: an event whose handler ends the process is delivered once more, and
//! then parked, so that the process does not die of it for ever.

use std::process::Command;

use cueline::prelude::*;

use crate::support::{Directory, Log, Number, Sum, adder, idle, numbers, start, stop, total};

#[allow(clippy::unnecessary_wraps)] // one of several
fn aborts(event: &Number, _: u32) -> Outcome {
    if event.value == 13 {
        std::process::abort();
    }
    Ok(())
}

struct PanicsInDrop;

impl Drop for PanicsInDrop {
    fn drop(&mut self) {
        panic!("while it panics");
    }
}

#[allow(clippy::unnecessary_wraps)]
fn panics_twice(event: &Number, _: u32) -> Outcome {
    let _dropped = (event.value == 13).then(|| PanicsInDrop);
    assert_ne!(event.value, 13);
    Ok(())
}

type Fails = fn(&Number, u32) -> Outcome;

fn begin(directory: &Directory, fails: Fails) -> Runtime {
    start(directory, |of| of.child(adder("adder", &Log::default(), fails)).child(total()))
}

#[test]
fn fault_10_abort() {
    is_parked_in_the_end("fault_10_abort", aborts);
}

#[test]
fn fault_33_panic_while_panicking() {
    is_parked_in_the_end("fault_33_panic_while_panicking", panics_twice);
}

fn is_parked_in_the_end(test: &str, fails: Fails) {
    if let Some(path) = std::env::var_os("CUELINE_ABORTING_CHILD") {
        let directory = Directory::at(path.into());
        let runtime = begin(&directory, fails);
        std::mem::forget(directory); // the parent's
        idle(&runtime);
        return stop(runtime);
    }
    let directory = Directory::new(test);
    let runtime = begin(&directory, fails);
    runtime.pause("adder").unwrap();
    runtime.publish_all(numbers(0..50)).wait().unwrap();
    stop(runtime);
    let mut deaths = 0;
    loop {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", &format!("an_event_that_kills_the_process_is_parked::{test}")])
            .env("CUELINE_ABORTING_CHILD", directory.path())
            .output()
            .unwrap();
        if child.status.success() {
            break;
        }
        deaths += 1;
        let said = String::from_utf8_lossy(&child.stderr);
        assert!(deaths <= 2, "two deliveries: {said}");
    }
    assert_eq!(deaths, 2);
    let runtime = begin(&directory, fails);
    idle(&runtime);
    let parked = runtime.parked();
    assert_eq!(parked.len(), 1);
    assert_eq!(parked[0].decode::<Number>().unwrap().value, 13);
    assert_eq!((parked[0].reason, parked[0].attempts), ("crashed", 2));
    // Those of its key wait behind it; all others are handled, and once.
    let of_key = (0..50).filter(|value| value % 7 == 13 % 7 && *value >= 13);
    let others = 50 - of_key.count() as u64;
    assert_eq!(runtime.state::<Sum>("adder", "all").unwrap().events, others);
    stop(runtime);
}
