use std::cell::RefCell;
use std::process::Command;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use cueline::ErrorKind;
use cueline::prelude::*;
use parking_lot::Mutex;

use crate::support::{Log, Number, idle, number, one, publish, supervisor, with, within};

/// Says so when its thread ends.
struct Ends(Log<String>);
impl Drop for Ends {
    fn drop(&mut self) {
        self.0.push("ended".to_owned());
    }
}

thread_local! {
    static ENDS: RefCell<Option<Ends>> = const { RefCell::new(None) };
}

struct Watched(Log<String>);
impl Processor for Watched {
    async fn started(&mut self, _: &mut Context) -> Outcome {
        ENDS.set(Some(Ends(self.0.clone())));
        Ok(())
    }
}
impl Handle<Number> for Watched {
    async fn handle(&mut self, event: &Number, _: &mut Context) -> Outcome {
        self.0.push(event.value.to_string());
        Ok(())
    }
}

#[test]
fn a_removed_blocking_processor_gives_its_threads_back_when_it_is_through() {
    let log = Log::default();
    let watched = log.clone();
    let runtime = one(with("stays", |_, _| Ok(())));
    let blocking = processor("blocks", move || Watched(watched.clone())).on::<Number>();
    runtime.add("tests", blocking.blocking().instances(2)).wait().unwrap();
    publish(&runtime, (0..10).map(number));
    runtime.remove("blocks").unwrap();
    let ended = log.clone();
    within(
        "both threads",
        move || {
            while ended.all().iter().filter(|said| *said == "ended").count() < 2 {}
        },
    );
    assert_eq!(log.all().len(), 12, "after what was published before");
    publish(&runtime, [number(10)]);
    idle(&runtime);
}

/// In a process of its own, which may not have more than some hundred threads.
#[test]
fn where_there_is_no_thread_for_a_blocking_processor_it_is_an_error_that_says_so() {
    if std::env::var_os("CUELINE_TEST_CHILD").is_some() {
        let greedy = || with("greedy", |_, _| Ok(())).blocking().instances(5_000);
        let error = Runtime::builder("test").supervise(supervisor().child(greedy())).start().err();
        let error = error.unwrap();
        assert_eq!(error.kind(), ErrorKind::System);
        assert!(error.to_string().contains("`greedy`"), "{error}");

        let modest = || supervisor().child(with("modest", |_, _| Ok(())));
        let runtime = loop {
            // As soon as the threads of the one that failed have ended.
            if let Ok(runtime) = Runtime::builder("test").supervise(modest()).start() {
                break runtime;
            }
        };
        let error = runtime.add("tests", greedy()).wait().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::StartFailed);
        publish(&runtime, [number(1)]);
        runtime.idle().wait();
        assert_eq!(runtime.processors().len(), 1);
        runtime.shutdown(secs(60)).wait().unwrap();
        return;
    }
    let name = "threads_end_with_their_work::\
                where_there_is_no_thread_for_a_blocking_processor_it_is_an_error_that_says_so";
    // A thread that was made, and then finds no memory for its own set-up, ends the process: `std`
    // does that, and it is not what this is about.
    let no_memory = |child: &std::process::Output| {
        String::from_utf8_lossy(&child.stderr).contains("alternative stack")
    };
    let child = (0..9)
        .map(|_| {
            Command::new("sh")
                .args(["-c", "ulimit -v 4000000 && exec \"$0\" --exact \"$1\""])
                .arg(std::env::current_exe().unwrap())
                .arg(name)
                .env("CUELINE_TEST_CHILD", "1")
                .output()
                .unwrap()
        })
        .find(|child| !no_memory(child))
        .unwrap();
    assert!(child.status.success(), "{child:?}");
}

type Gate = Arc<Mutex<Receiver<()>>>;

struct Blocks(Log<String>, Sender<()>, Gate);
impl Processor for Blocks {
    async fn started(&mut self, _: &mut Context) -> Outcome {
        ENDS.set(Some(Ends(self.0.clone())));
        Ok(())
    }
}
impl Handle<Number> for Blocks {
    async fn handle(&mut self, _: &Number, cx: &mut Context) -> Outcome {
        *cx.state::<u64>("handled")? += 1;
        self.1.send(()).ok();
        self.2.lock().recv().ok();
        Ok(())
    }
}

/// What was given back as undone is not done after all.
#[test]
fn what_a_blocked_thread_finishes_after_a_shutdown_is_refused() {
    let ((begun, has_begun), (open, opened)) = (channel(), channel());
    let (log, gate) = (Log::default(), Arc::new(Mutex::new(opened)));
    let ends = log.clone();
    let make = move || Blocks(ends.clone(), begun.clone(), gate.clone());
    let runtime = one(processor("blocks", make).on::<Number>());
    publish(&runtime, [number(1)]);
    has_begun.recv().unwrap();
    let undone = runtime.shutdown(millis(10)).wait().unwrap();
    assert_eq!(undone.len(), 1);
    drop::<Sender<()>>(open);
    let ended = log.clone();
    within("the thread ends", move || while ended.all().is_empty() {});
    assert_eq!(runtime.state::<u64>("blocks", "handled"), None);
}
