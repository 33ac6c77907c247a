//! Several handlers were at work when the process died: of which event it died is known only if each is
//! delivered again with nothing beside it. Else what is innocent would be parked as well, in the end.

use std::fs::OpenOptions;
use std::io::Write;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use cueline::prelude::*;
use cueline::{Channel, Retention};
use serde::{Deserialize, Serialize};

use crate::support::{Directory, Log, Number, Sum, adder, fine, idle, numbers, start, stop};

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

#[derive(Serialize, Deserialize)]
struct Bomb;
cueline::event!(Bomb, "bomb");

struct Cellar;
impl Processor for Cellar {}
impl Handle<Bomb> for Cellar {
    async fn handle(&mut self, _: &Bomb, _: &mut Context) -> Outcome {
        std::process::abort();
    }
}
impl Handle<Number> for Cellar {
    async fn handle(&mut self, _: &Number, _: &mut Context) -> Outcome {
        Ok(())
    }
}

/// Nobody waits for what is not wanted any more.
#[test]
fn a_type_that_is_not_handled_any_more_is_not_waited_for() {
    let cellar = || processor("cellar", || Cellar).on::<Number>();
    if let Some(path) = std::env::var_os(CHILD) {
        let directory = Directory::at(path.into());
        let runtime = start(&directory, |of| of.child(cellar().on::<Bomb>()));
        std::mem::forget(directory); // the parent's
        runtime.publish(Bomb).wait().unwrap();
        return idle(&runtime);
    }
    let directory = Directory::new("bomb");
    let name = "the_last_process_is_charged_to_whom_it_died_of::\
                a_type_that_is_not_handled_any_more_is_not_waited_for";
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name])
        .env(CHILD, directory.path())
        .output()
        .unwrap();
    assert!(!child.status.success(), "it dies of it");
    for (round, waits) in [true, false].into_iter().enumerate() {
        let runtime = start(&directory, |of| of.child(cellar()));
        let why = runtime.why_not_ready();
        assert!(waits || !why.iter().any(|why| why.contains("process died")), "{round}: {why:?}");
        let before = std::time::Instant::now();
        runtime.publish_all(numbers(0..10)).wait().unwrap();
        idle(&runtime);
        assert!(before.elapsed() < secs(4), "it is known at once that nobody wants it");
        stop(runtime);
    }
}

/// Dies of it once.
fn dies_once(event: &Number, attempt: u32) -> Outcome {
    if event.value == 3 && attempt == 1 {
        std::process::abort();
    }
    fine(event, attempt)
}

/// What a child says that started after all.
const STARTED: i32 = 3;

/// A start that comes to nothing counts the death, and so does the next one: it is the same death.
#[test]
fn a_start_that_is_refused_charges_nobody_once_more() {
    let begin = |directory: &Directory, channel| {
        let accused = adder("accused", &Log::default(), dies_once);
        Runtime::builder("test")
            .store(Store::directory(directory.path()))
            .channel::<Number>(channel)
            .supervise(Supervisor::new("tests").child(accused))
            .start()
    };
    let usual = Channel::default();
    if let Some(path) = std::env::var_os(CHILD) {
        let directory = Directory::at(path.into());
        let refused = std::env::var_os("CUELINE_REFUSED_CHILD").is_some();
        // What is new of the channel is written first; what was died of comes then.
        let other = usual.retain(Retention::Age(hours(1)));
        let runtime = begin(&directory, if refused { other } else { usual });
        std::mem::forget(directory); // the parent's
        if refused {
            // Written together with what is new of the channel, it is on disk.
            let Err(error) = runtime else { std::process::exit(STARTED) };
            assert!(error.to_string().contains("the log cannot be written"), "{error}");
            return;
        }
        let runtime = runtime.unwrap();
        runtime.publish_all(numbers(0..10)).wait().unwrap();
        return idle(&runtime);
    }
    let name = "the_last_process_is_charged_to_whom_it_died_of::\
                a_start_that_is_refused_charges_nobody_once_more";
    let own = std::env::current_exe().unwrap();
    let refused = || {
        let directory = Directory::new("refused");
        let mut dies = Command::new(&own);
        dies.args(["--exact", name]).env(CHILD, directory.path());
        assert!(!dies.output().unwrap().status.success(), "it dies of it");
        let refused = Command::new("strace")
            .args(["-f", "-qq", "-o", "/dev/null", "-e", "inject=fdatasync:error=EIO:when=2+"])
            .arg(&own)
            .args(["--exact", name, "--nocapture"])
            .env(CHILD, directory.path())
            .env("CUELINE_REFUSED_CHILD", "1")
            .output()
            .expect("`./test` installs strace");
        let error = String::from_utf8_lossy(&refused.stderr);
        let code = refused.status.code();
        assert!(matches!(code, Some(0 | STARTED)), "{error}");
        (code == Some(0)).then_some(directory)
    };
    let directory = (0..50).find_map(|_| refused()).expect("one start in fifty is refused");
    let runtime = begin(&directory, usual).unwrap();
    idle(&runtime);
    assert!(runtime.parked().is_empty(), "it died once, and is parked as if it had twice");
    assert_eq!(runtime.state::<Sum>("accused", "all").unwrap().events, 10);
    stop(runtime);
}
