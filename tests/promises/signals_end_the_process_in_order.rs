//! Each in a process of its own: a signal is the whole process's.

use cueline::prelude::*;

use crate::support::{Number, in_a_process_of_its_own, number, one, publish, with, within};

struct Stuck;
impl Processor for Stuck {}
impl Handle<Number> for Stuck {
    async fn handle(&mut self, _: &Number, _: &mut Context) -> Outcome {
        std::future::pending().await
    }
}

fn kill_myself(signal: &str) {
    let id = std::process::id().to_string();
    std::process::Command::new("kill").args([signal, &id]).status().unwrap();
}

/// Only when the handler of the signal is in place the process may tell itself to end.
fn until_sigterm_is_caught() {
    let status = || std::fs::read_to_string("/proc/self/status").unwrap();
    while !status().lines().any(catches_sigterm) {
        std::thread::yield_now();
    }
}

/// Whether a line of `/proc/self/status` says that signal 15 is caught.
fn catches_sigterm(line: &str) -> bool {
    let caught =
        line.strip_prefix("SigCgt:").and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok());
    caught.is_some_and(|bits| bits & (1 << 14) != 0)
}

#[test]
fn sigterm_is_told_and_does_not_end_the_process_by_itself() {
    let test =
        "signals_end_the_process_in_order::sigterm_is_told_and_does_not_end_the_process_by_itself";
    if let Some(child) = in_a_process_of_its_own(test) {
        assert!(child.status.success(), "{child:?}");
        return;
    }
    let runtime = one(with("numbers", |_, _| Ok(())));
    let signal = runtime.stop_signal();
    until_sigterm_is_caught();
    kill_myself("-TERM");
    assert_eq!(within("the signal", move || pollster::block_on(signal)), "SIGTERM");
    runtime.shutdown(secs(5)).wait().unwrap();
}

#[test]
fn the_second_signal_ends_a_process_whose_way_to_the_end_takes_too_long() {
    use std::os::unix::process::ExitStatusExt;
    let test = "signals_end_the_process_in_order::the_second_signal_ends_a_process_whose_way_to_the_end_takes_too_long";
    if let Some(child) = in_a_process_of_its_own(test) {
        assert_eq!(child.status.signal(), Some(2), "{child:?}");
        return;
    }
    let runtime = one(processor("stuck", || Stuck).on::<Number>());
    publish(&runtime, [number(0)]);
    let signal = runtime.stop_signal();
    until_sigterm_is_caught();
    kill_myself("-TERM");
    within("the signal", move || pollster::block_on(signal));
    std::thread::spawn(move || runtime.shutdown(secs(600)).wait());
    kill_myself("-INT");
    within("the end", std::thread::park);
}
