//! Whoever asks on behalf of somebody who waits, waits no longer than that one.

use std::time::{Duration, Instant};

use cueline::ErrorKind;
use cueline::prelude::*;

use crate::support::{Log, idle, number, supervisor, with, within};
use crate::world::{Thrice, server, thrice_server, twice};

#[test]
fn a_handler_sees_how_long_somebody_waits() {
    let seen: Log<Option<Duration>> = Log::default();
    let (of_command, of_event) = (seen.clone(), seen.clone());
    let looks = server(move |command, cx| {
        of_command.push(cx.time_left());
        Box::pin(async { Ok(command.value) })
    });
    let looks_too = with("events", move |_, cx| {
        of_event.push(cx.time_left());
        Ok(())
    });
    let tests = supervisor().child(looks).child(looks_too);
    let runtime = Runtime::builder("test").supervise(tests).start().unwrap();
    runtime.request(twice(1)).timeout(secs(3_600)).wait().unwrap();
    runtime.publish(number(1)).wait().unwrap();
    idle(&runtime);
    let all = seen.all();
    assert!(all[0].is_some_and(|left| left > secs(3_000) && left <= secs(3_600)), "{all:?}");
    assert_eq!(all[1], None);
    runtime.shutdown(secs(5)).wait().unwrap();
}

#[test]
fn the_inner_request_ends_with_the_outer_one() {
    let ended: Log<(ErrorKind, bool)> = Log::default();
    let log = ended.clone();
    let asks = server(move |command, cx| {
        let log = log.clone();
        Box::pin(async move {
            let began = Instant::now();
            let inner = cx.request(Thrice(command.value)).timeout(hours(1)).await.unwrap_err();
            log.push((inner.kind(), began.elapsed() < secs(60)));
            Ok(0)
        })
    });
    let never = thrice_server(|_, _| Box::pin(std::future::pending()));
    let tests = supervisor().child(asks).child(never);
    let runtime = Runtime::builder("test").supervise(tests).start().unwrap();
    let late = runtime.request(twice(1)).timeout(millis(500)).wait().unwrap_err();
    assert_eq!(late.kind(), ErrorKind::TimedOut);
    let told = ended.clone();
    within("the inner one is told", move || {
        while told.all().is_empty() {
            std::thread::yield_now();
        }
    });
    assert_eq!(ended.all(), [(ErrorKind::TimedOut, true)]);
    runtime.shutdown(millis(1)).wait().ok();
}
