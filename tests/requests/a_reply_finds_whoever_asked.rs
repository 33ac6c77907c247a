//! Replies find whoever asked, however many ask at once, and say what is committed.

use cueline::ErrorKind;
use cueline::prelude::*;
use futures_util::future::join_all;

use crate::support::{Heard, supervisor, within};
use crate::world::{doubles, one_is_sent, run, server, stop, twice};

#[test]
fn from_plain_threads_and_from_tasks() {
    let runtime = run(server(doubles).instances(3));
    std::thread::scope(|threads| {
        for thread in 0..4 {
            let runtime = &runtime;
            threads.spawn(move || {
                for value in thread * 1_000..thread * 1_000 + 200 {
                    assert_eq!(runtime.request(twice(value)).wait().unwrap(), value * 2);
                }
            });
        }
    });
    let asked = (0..500).map(|value| runtime.request(twice(value)));
    let replies = pollster::block_on(join_all(asked));
    assert!(replies.into_iter().map(Result::unwrap).eq((0..500).map(|value| value * 2)));
    assert_eq!(runtime.requests().outstanding, 0);
    stop(&runtime);
}

/// Whoever has the reply sees what the handler kept and published.
#[test]
fn it_comes_when_the_outcome_is_committed() {
    let runtime = run(server(|command, cx| {
        Box::pin(async move {
            *cx.state::<u64>("sum")? += command.value;
            Ok(command.value)
        })
    }));
    for value in 1..=100 {
        runtime.request(twice(value)).wait().unwrap();
        assert_eq!(runtime.state::<u64>("server", "sum"), Some((1..=value).sum()));
    }
    stop(&runtime);
}

#[test]
fn each_is_counted_by_its_outcome() {
    let heard = Heard::default();
    let tests = supervisor().child(server(doubles));
    let runtime = Runtime::builder("test").observe(heard.clone()).supervise(tests);
    let runtime = runtime.serve("127.0.0.1:0").start().unwrap();
    for value in 0..32 {
        runtime.request(twice(value)).wait().unwrap();
    }
    assert_eq!(heard.count("Requested { command: \"twice\", outcome: Answered"), 32);
    let metrics = runtime.metrics().unwrap();
    let line = "cueline_requests_total{command=\"twice\",outcome=\"answered\"} 32";
    assert!(metrics.contains(line), "{metrics}");
    assert!(metrics.contains("outcome=\"timed_out\"} 0"), "all are there from the start");
    stop(&runtime);
}

/// Also of a request that is alone it is known how long it took.
#[test]
fn one_alone_is_measured() {
    let tests = supervisor().child(server(doubles));
    let runtime = Runtime::builder("test").supervise(tests).serve("127.0.0.1:0").start().unwrap();
    runtime.request(twice(1)).wait().unwrap();
    let metrics = runtime.metrics().unwrap();
    let line = "cueline_request_seconds_count{command=\"twice\"} 1\n";
    assert!(metrics.contains(line), "{metrics}");
    stop(&runtime);
}

/// It carries on what the command descends from.
#[test]
fn a_handler_asks_and_its_command_descends_from_its_event() {
    let heard: crate::support::Log<_> = crate::support::Log::default();
    let log = heard.clone();
    let answers = crate::world::thrice_server(move |command, cx| {
        let log = log.clone();
        Box::pin(async move {
            let envelope = cx.envelope().unwrap();
            log.push((envelope.correlation, envelope.causation, envelope.hops));
            Ok(command.0 * 3)
        })
    });
    let seen = heard.clone();
    let asks = server(move |command, cx| {
        let seen = seen.clone();
        Box::pin(async move {
            let envelope = cx.envelope().unwrap();
            seen.push((envelope.correlation, Some(envelope.id), envelope.hops + 1));
            let both = futures_util::future::join(
                cx.request(crate::world::Thrice(command.value)),
                cx.request(crate::world::Thrice(command.value + 1)),
            );
            let (one, other) = both.await;
            Ok(one? + other?)
        })
    });
    let runtime = Runtime::builder("test").supervise(supervisor().child(answers).child(asks));
    let runtime = runtime.start().unwrap();
    assert_eq!(runtime.request(twice(1)).wait().unwrap(), 3 + 6);
    let all = heard.all();
    assert_eq!((all.len(), all[0]), (3, all[1]));
    assert_eq!(all[1], all[2]);
    let topology = runtime.topology();
    let of = |topic: &str| topology.iter().find(|of| of.topic == topic).unwrap().clone();
    assert!(of("twice").seen_publishers.contains("outside"));
    assert!(
        of("thrice").seen_publishers.contains("server")
            && of("thrice").consumers.contains("thrice")
    );
    stop(&runtime);
}

#[test]
fn the_application_s_own_call_is_refused_inside_a_handler() {
    let (give, given) = std::sync::mpsc::channel::<Runtime>();
    let given = parking_lot::Mutex::new(Some(given));
    let runtime = run(server(move |command, _| {
        let runtime = given.lock().take().map(|given| given.recv().unwrap());
        Box::pin(async move {
            if let Some(runtime) = runtime {
                let refused = runtime.request(twice(1)).await.unwrap_err();
                assert_eq!(refused.kind(), ErrorKind::InsideHandler);
                assert!(refused.to_string().contains("cx.request"), "{refused}");
            }
            Ok(command.value)
        })
    }));
    give.send(runtime.clone()).unwrap();
    assert_eq!(runtime.request(twice(7)).wait().unwrap(), 7);
    stop(&runtime);
}

#[test]
fn whoever_waits_when_the_runtime_stops_is_told() {
    let gate = crate::support::Gate::default();
    let held = gate.clone();
    let runtime = run(server(move |_, _| {
        Box::pin(async {
            std::future::pending::<()>().await;
            Ok(0)
        })
    }));
    let asked = runtime.clone();
    let waits = std::thread::spawn(move || {
        held.open();
        asked.request(twice(1)).timeout(hours(1)).wait()
    });
    gate.pass();
    one_is_sent(&runtime);
    runtime.shutdown(millis(1)).wait().ok();
    let told = within("it is told", move || waits.join().unwrap().unwrap_err());
    assert_eq!(told.kind(), ErrorKind::Closed);
}
