//! Several handlers were at work when the process died: of which event it died is known only if each is
//! delivered again with nothing beside it. Else what is innocent would be parked as well, in the end.

use std::fs::OpenOptions;
use std::io::Write;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use cueline::prelude::*;

use crate::support::{Directory, Log, Number, Sum, adder, idle, numbers, start, stop};

static AT_WORK: AtomicBool = AtomicBool::new(false);
const CHILD: &str = "CUELINE_ACCUSED_CHILD";

fn notes(directory: &std::path::Path) -> std::path::PathBuf {
    directory.with_extension("notes")
}

fn note(what: &str) {
    let Some(directory) = std::env::var_os(CHILD) else { return };
    let mut options = OpenOptions::new();
    let mut file = options.create(true).append(true).open(notes(directory.as_ref())).unwrap();
    file.write_all(what.as_bytes()).unwrap();
}

/// Is at work when the process dies of another.
#[allow(clippy::unnecessary_wraps)] // one of several
fn innocent(event: &Number, attempt: u32) -> Outcome {
    if event.value == 3 {
        AT_WORK.store(true, SeqCst);
        if attempt == 1 {
            loop {
                std::hint::spin_loop();
            }
        }
        std::thread::sleep(millis(20)); // its work: others have time to begin, if they may
        note("i");
    }
    Ok(())
}

#[allow(clippy::unnecessary_wraps)]
fn guilty(event: &Number, attempt: u32) -> Outcome {
    if event.value == 5 {
        while attempt == 1 && !AT_WORK.load(SeqCst) {
            std::hint::spin_loop();
        }
        if attempt > 1 {
            note("g");
        }
        std::process::abort();
    }
    Ok(())
}

#[allow(clippy::unnecessary_wraps)]
fn other(_: &Number, _: u32) -> Outcome {
    note("o");
    Ok(())
}

fn begin(directory: &Directory) -> Runtime {
    let log = Log::default();
    start(directory, |of| {
        of.child(adder("innocent", &log, innocent))
            .child(adder("guilty", &log, guilty))
            .child(adder("other", &log, other))
    })
}

#[test]
fn what_was_beside_it_is_not_parked_and_nothing_runs_beside_it_again() {
    if let Some(path) = std::env::var_os(CHILD) {
        let directory = Directory::at(path.into());
        let runtime = begin(&directory);
        std::mem::forget(directory); // the parent's
        ["innocent", "guilty"].iter().for_each(|name| runtime.resume(name).unwrap());
        idle(&runtime);
        return stop(runtime);
    }
    let directory = Directory::new("accused");
    let runtime = begin(&directory);
    ["innocent", "guilty", "other"].iter().for_each(|name| runtime.pause(name).unwrap());
    runtime.publish_all(numbers(0..20)).wait().unwrap();
    stop(runtime);
    let life = || {
        let name = "the_last_process_is_charged_to_whom_it_died_of::\
                    what_was_beside_it_is_not_parked_and_nothing_runs_beside_it_again";
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name])
            .env(CHILD, directory.path())
            .output()
            .unwrap();
        let notes = std::fs::read_to_string(notes(directory.path())).unwrap_or_default();
        std::fs::remove_file(self::notes(directory.path())).ok();
        (child.status.success(), notes)
    };
    let (ended_well, _) = life();
    assert!(!ended_well, "it dies with both at work");
    assert_eq!(life(), (false, "ig".to_owned()), "one after the other, and nothing beside them");
    let (ended_well, notes) = life();
    assert!(ended_well && notes.chars().all(|note| note == 'o'), "{notes}");
    let runtime = begin(&directory);
    idle(&runtime);
    let parked = runtime.parked();
    assert_eq!(parked.len(), 1);
    assert_eq!((&*parked[0].processor, parked[0].reason), ("guilty", "crashed"));
    assert_eq!(runtime.state::<Sum>("innocent", "all").unwrap().events, 20);
    assert_eq!(runtime.state::<Sum>("other", "all").unwrap().events, 20);
    stop(runtime);
}
