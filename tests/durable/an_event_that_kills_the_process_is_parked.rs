//! Row 10 of the fault matrix: an event whose handler ends the process is delivered once more, and then
//! parked, so that the process does not die of it for ever.

use std::process::Command;

use cueline::prelude::*;

use crate::support::{Directory, Log, Number, Sum, adder, idle, numbers, start, stop, total};

/// Ends the process, as a double panic or a stack overflow does.
#[allow(clippy::unnecessary_wraps)] // one of several
fn fails(event: &Number, _: u32) -> Outcome {
    if event.value == 13 {
        std::process::abort();
    }
    Ok(())
}

fn begin(directory: &Directory) -> Runtime {
    start(directory, |of| of.child(adder("adder", &Log::default(), fails)).child(total()))
}

#[test]
fn fault_10_abort() {
    if let Some(path) = std::env::var_os("CUELINE_ABORTING_CHILD") {
        let directory = Directory::at(path.into());
        let runtime = begin(&directory);
        std::mem::forget(directory); // the parent's
        idle(&runtime);
        return stop(runtime);
    }
    let directory = Directory::new("abort");
    let runtime = begin(&directory);
    runtime.pause("adder").unwrap();
    runtime.publish_all(numbers(0..50)).wait().unwrap();
    stop(runtime);
    let mut deaths = 0;
    loop {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "an_event_that_kills_the_process_is_parked::fault_10_abort"])
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
    let runtime = begin(&directory);
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
