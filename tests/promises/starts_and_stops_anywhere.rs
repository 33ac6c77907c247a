use cueline::prelude::*;
use cueline::{ErrorKind, Unsettled};

use crate::support::{
    Log, Number, Word, idle, keyed, number, one, publish, supervisor, with, within,
};

#[test]
fn many_runtimes_live_in_one_process() {
    let runtimes: Vec<(Runtime, Log<u64>)> = (0..8)
        .map(|_| {
            let log = Log::default();
            let seen = log.clone();
            let runtime = one(with("numbers", move |event, _| {
                seen.push(event.value);
                Ok(())
            }));
            (runtime, log)
        })
        .collect();
    for (index, (runtime, _)) in runtimes.iter().enumerate() {
        publish(runtime, (0..10).map(|n| number(index as u64 * 100 + n)));
    }
    for (index, (runtime, log)) in runtimes.iter().enumerate() {
        idle(runtime);
        assert_eq!(log.all(), (0..10).map(|n| index as u64 * 100 + n).collect::<Vec<_>>());
    }
}

#[test]
fn inside_tokio_and_inside_actix_it_starts_waits_and_stops() {
    async fn all(started: &str) {
        let log = Log::default();
        let seen = log.clone();
        let runtime = one(with("numbers", move |event, _| {
            seen.push(event.value);
            Ok(())
        }));
        runtime.ready().await;
        runtime.publish(number(1)).await.unwrap();
        runtime.publish_all([number(2), number(3)]).await.unwrap();
        runtime.idle().await;
        assert_eq!(log.all(), [1, 2, 3], "inside {started}");
        assert!(runtime.shutdown(secs(5)).await.unwrap().is_empty());
        let refused = runtime.publish(number(4)).await.unwrap_err();
        assert!(matches!(refused, Refused::Closed(back) if back == number(4)));
        assert_eq!(runtime.shutdown(secs(5)).await.unwrap_err().kind(), ErrorKind::Closed);
    }
    within("tokio", || {
        tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .unwrap()
            .block_on(all("tokio"));
    });
    within("actix", || actix::System::new().block_on(all("actix")));
}

#[test]
fn dropped_without_shutdown_also_inside_async_it_just_ends() {
    within("drop", || {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
            for _ in 0..5 {
                let runtime = one(with("numbers", |_, _| Ok(())));
                runtime.publish(number(1)).await.unwrap();
                drop(runtime);
            }
        });
    });
}

struct Stuck;
impl Processor for Stuck {}
impl Handle<Number> for Stuck {
    async fn handle(&mut self, event: &Number, _: &mut Context) -> Outcome {
        if event.value == 0 {
            std::future::pending::<()>().await;
        }
        Ok(())
    }
}

#[test]
fn shutdown_gives_back_what_it_left_undone_with_its_payload() {
    let failing = with("failing", |event, _| match event.value {
        7 => Err(Failure::permanent("no")),
        _ => Err(Failure::transient("later")),
    });
    let patient = Retry::attempts(9).backoff(Backoff::new(secs(600), secs(600)));
    let runtime = Runtime::builder("test")
        .supervise(
            supervisor()
                .child(processor("stuck", || Stuck).on::<Number>())
                .child(failing.retry(patient)),
        )
        .start()
        .unwrap();
    publish(&runtime, [keyed(1, 7), keyed(1, 8), number(9), number(0), number(1)]);
    let undone = within("shutdown", move || runtime.shutdown(millis(300)).wait().unwrap());
    let found = |processor: &str, value: u64| {
        let mut of = undone.iter().filter(|of| {
            let same = |number: &Number| number.value == value;
            of.processor.as_ref() == processor
                && rmp_serde::from_slice::<Number>(&of.payload).is_ok_and(|number| same(&number))
        });
        of.next().map(|of| of.stood)
    };
    assert_eq!(found("stuck", 0), Some(Unsettled::Waiting), "it was in hand");
    assert_eq!(found("stuck", 1), Some(Unsettled::Waiting));
    assert_eq!(found("stuck", 7), None, "that one was handled");
    assert_eq!(found("failing", 7), Some(Unsettled::Parked));
    assert_eq!(found("failing", 8), Some(Unsettled::Behind));
    assert_eq!(found("failing", 9), Some(Unsettled::Retrying), "back-offs are not awaited");
}

#[test]
fn a_blocked_handler_does_not_hold_up_shutdown_past_its_timeout() {
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let wait = std::sync::Arc::new(parking_lot::Mutex::new(wait));
    let runtime = one(with("blocked", move |_, _| {
        wait.lock().recv().ok();
        Ok(())
    }));
    publish(&runtime, [number(1), number(2)]);
    let undone = within("shutdown", move || runtime.shutdown(millis(100)).wait().unwrap());
    assert_eq!(undone.len(), 2);
    drop(go);
}

struct Hooked(Log<String>, &'static str);
impl Processor for Hooked {
    async fn stopping(&mut self, _: &mut Context) -> Outcome {
        self.0.push(format!("stopping {}", self.1));
        Ok(())
    }
}
impl Handle<Number> for Hooked {
    async fn handle(&mut self, event: &Number, cx: &mut Context) -> Outcome {
        self.0.push(format!("{} {}", self.1, event.value));
        if self.1 == "first" {
            cx.publish(Word("late".to_owned()));
        }
        Ok(())
    }
}
impl Handle<Word> for Hooked {
    async fn handle(&mut self, _: &Word, _: &mut Context) -> Outcome {
        self.0.push(format!("{} word", self.1));
        Ok(())
    }
}

#[test]
fn shutdown_drains_what_waits_and_what_that_publishes_then_runs_the_hooks() {
    let log = Log::default();
    let (one, two) = (log.clone(), log.clone());
    let runtime = Runtime::builder("test")
        .supervise(
            supervisor()
                .child(processor("first", move || Hooked(one.clone(), "first")).on::<Number>())
                .child(processor("second", move || Hooked(two.clone(), "second")).on::<Word>()),
        )
        .start()
        .unwrap();
    runtime.publish_all((0..20).map(number)).wait().unwrap();
    let undone = within("shutdown", move || runtime.shutdown(secs(20)).wait().unwrap());
    assert!(undone.is_empty());
    let said = log.all();
    assert_eq!(said.iter().filter(|said| *said == "second word").count(), 20);
    assert_eq!(said.iter().filter(|said| said.starts_with("stopping")).count(), 2);
}

#[test]
fn inside_a_handler_waiting_for_the_runtime_is_refused_with_advice() {
    let log = Log::default();
    let (seen, shared) = (log.clone(), std::sync::Arc::new(parking_lot::Mutex::new(None)));
    let handle: std::sync::Arc<parking_lot::Mutex<Option<Runtime>>> = shared.clone();
    let runtime = one(with("eager", move |_, _| {
        let runtime = handle.lock().clone().unwrap();
        seen.push(runtime.publish(number(2)).wait().unwrap_err().to_string());
        seen.push(runtime.publish_all([number(2)]).wait().unwrap_err().to_string());
        seen.push(runtime.shutdown(secs(1)).wait().unwrap_err().to_string());
        Ok(())
    }));
    *shared.lock() = Some(runtime.clone());
    publish(&runtime, [number(1)]);
    idle(&runtime);
    assert_eq!(log.all().len(), 3);
    assert!(log.all().iter().all(|said| said.contains("use cx")), "{:?}", log.all());
    shared.lock().take();
}

#[test]
fn a_removed_processor_neither_holds_up_shutdown_nor_loses_what_it_had() {
    let patient = Retry::attempts(9).backoff(Backoff::new(secs(600), secs(600)));
    let runtime = one(with("leaving", |event, _| match event.value {
        1 => Err(Failure::transient("later")),
        2 => Err(Failure::permanent("never")),
        _ => Ok(()),
    })
    .retry(patient));
    publish(&runtime, (0..4).map(number));
    let all = runtime.clone();
    within("all handled", move || while all.processors()[0].waiting > 0 {});
    runtime.remove("leaving").unwrap();
    assert!(runtime.processors().is_empty());
    // It must not wait for a retry that is due in ten minutes.
    let undone = within("shutdown", move || runtime.shutdown(secs(3_600)).wait().unwrap());
    let stood: Vec<Unsettled> = undone.iter().map(|of| of.stood).collect();
    assert_eq!(stood, [Unsettled::Retrying, Unsettled::Parked]);
}

/// In a process of its own, because a signal is the whole process's.
#[test]
fn sigterm_is_told_and_does_not_end_the_process_by_itself() {
    if std::env::var_os("CUELINE_TEST_CHILD").is_some() {
        let runtime = one(with("numbers", |_, _| Ok(())));
        let signal = runtime.stop_signal();
        // Only when the handler of the signal is in place the process may tell itself to end.
        pollster::block_on(runtime.ready());
        let told = std::thread::spawn(move || pollster::block_on(signal));
        while !told.is_finished() {
            let id = std::process::id().to_string();
            if std::fs::read_to_string("/proc/self/status").unwrap().lines().any(catches_sigterm) {
                std::process::Command::new("kill").args(["-TERM", &id]).status().unwrap();
            }
        }
        assert_eq!(told.join().unwrap(), "SIGTERM");
        runtime.shutdown(secs(5)).wait().unwrap();
        return;
    }
    let name = "starts_and_stops_anywhere::sigterm_is_told_and_does_not_end_the_process_by_itself";
    let child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name])
        .env("CUELINE_TEST_CHILD", "1")
        .output()
        .unwrap();
    assert!(child.status.success(), "{child:?}");
}

/// Whether a line of `/proc/self/status` says that signal 15 is caught.
fn catches_sigterm(line: &str) -> bool {
    let caught =
        line.strip_prefix("SigCgt:").and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok());
    caught.is_some_and(|bits| bits & (1 << 14) != 0)
}
