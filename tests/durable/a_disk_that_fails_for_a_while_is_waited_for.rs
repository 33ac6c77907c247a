//! Row 18, and DESIGN's "one failed sync poisons the log": what was not synced is written anew, elsewhere,
//! until that succeeds. Until then nobody is told that anything is kept; then all goes on, in the same
//! process.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;

use cueline::prelude::*;
use cueline::{Acknowledge, ErrorKind};
use serde::{Deserialize, Serialize};

use crate::support::{Directory, Log, Number, idle, numbers, stop};

const TEST: &str = "a_disk_that_fails_for_a_while_is_waited_for::fault_18_in_the_same_process";

#[derive(Serialize, Deserialize)]
struct Payment(u64);
cueline::event!(Payment, "payment");

#[derive(Serialize, Deserialize)]
struct Receipt(u64);
cueline::event!(Receipt, "receipt");

struct Clerk;
impl Processor for Clerk {}
impl Handle<Payment> for Clerk {
    async fn handle(&mut self, event: &Payment, cx: &mut Context) -> Outcome {
        *cx.state::<u64>("sum")? += event.0;
        cx.publish(Receipt(event.0));
        Ok(())
    }
}

struct Archive;
impl Processor for Archive {}
impl Handle<Receipt> for Archive {
    async fn handle(&mut self, event: &Receipt, cx: &mut Context) -> Outcome {
        *cx.state::<u64>("sum")? += event.0;
        Ok(())
    }
}

fn begin(directory: &Directory) -> Runtime {
    let clerk = processor("clerk", || Clerk).on::<Payment>().emits::<Receipt>();
    let archive = processor("archive", || Archive).on::<Receipt>();
    Runtime::builder("test")
        .store(Store::directory(directory.path()))
        .supervise(Supervisor::new("tests").child(clerk).child(archive))
        .serve(0)
        .start()
        .unwrap()
}

fn readyz(address: SocketAddr) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

const PAYMENTS: u64 = 240;
const PUBLISHERS: u64 = 8;

/// That test in a process of its own; these syncs of each thread fail.
fn where_syncs_fail(test: &str, which: &str, child: &str) {
    let inject = format!("inject=fdatasync:error=EIO:when={which}");
    let ran = Command::new("strace")
        .args(["-f", "-qq", "-o", "/dev/null", "-e", &inject])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env("CUELINE_FAILING_CHILD", child)
        .output()
        .expect("`./test` installs strace");
    let [out, error] = [&ran.stdout, &ran.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    assert!(ran.status.success(), "{out}{error}");
}

fn failures(runtime: &Runtime) -> f64 {
    let metrics = runtime.metrics().unwrap();
    let failures =
        metrics.lines().find_map(|line| line.strip_prefix("cueline_log_failures_total "));
    failures.unwrap().parse().unwrap()
}

struct Once(Log);
impl Processor for Once {}
impl Handle<Number> for Once {
    async fn handle(&mut self, event: &Number, cx: &mut Context) -> Outcome {
        self.0.note(event.value, cx.attempt());
        Ok(())
    }
}

/// What is settled before it is handled is handled when that is on disk, however long it takes.
#[test]
fn what_is_acknowledged_before_waits_for_the_disk_and_is_handled_then() {
    let begin = |directory: &Directory, log: &Log| {
        let log = log.clone();
        let once = processor("once", move || Once(log.clone()))
            .on::<Number>()
            .acknowledge(Acknowledge::BeforeHandling);
        Runtime::builder("test")
            .store(Store::directory(directory.path()))
            .supervise(Supervisor::new("tests").child(once))
            .serve(0)
            .start()
            .unwrap()
    };
    let log = Log::default();
    if let Some(path) = std::env::var_os("CUELINE_FAILING_CHILD") {
        let directory = Directory::at(path.into());
        let runtime = begin(&directory, &log);
        std::mem::forget(directory); // the parent's
        idle(&runtime);
        assert!(failures(&runtime) >= 7.0);
        assert_eq!(log.take(), (0..100).collect::<Vec<_>>());
        return stop(runtime);
    }
    let directory = Directory::new("before");
    let runtime = begin(&directory, &log);
    runtime.pause("once").unwrap();
    runtime.publish_all(numbers(0..100)).wait().unwrap();
    stop(runtime);
    assert!(log.take().is_empty());
    where_syncs_fail(
        "a_disk_that_fails_for_a_while_is_waited_for::\
         what_is_acknowledged_before_waits_for_the_disk_and_is_handled_then",
        "8..14",
        directory.path().to_str().unwrap(),
    );
}

#[test]
fn fault_18_in_the_same_process() {
    if std::env::var_os("CUELINE_FAILING_CHILD").is_none() {
        return where_syncs_fail(TEST, "8..14", "1");
    }
    let directory = Directory::new("fails");
    let runtime = begin(&directory);
    let address = runtime.address().unwrap();
    // Several at a time: whenever the disk fails, somebody is waiting for it.
    let pay = |numbers: std::ops::RangeInclusive<u64>| {
        let (mut refused, mut unknown, mut said) = (0, 0, false);
        for number in numbers {
            let mut payment = Payment(number);
            loop {
                let key = format!("payment {number}");
                match runtime.publish(payment).dedup_key(key).wait() {
                    Ok(_) => break,
                    Err(Refused::LogFailed(back, error)) => {
                        assert_eq!(error.kind(), ErrorKind::Storage);
                        (payment, refused) = (back, refused + 1);
                    }
                    Err(Refused::NotKept(error)) => {
                        assert!(error.to_string().contains("Input/output error"), "{error}");
                        (payment, unknown) = (Payment(number), unknown + 1);
                    }
                    Err(other) => panic!("{other}"),
                }
                let why = readyz(address);
                said |= why.contains("the log cannot be written") && why.contains(" 503 ");
            }
        }
        (refused, unknown, said)
    };
    let told = std::thread::scope(|scope| {
        let each = PAYMENTS / PUBLISHERS;
        let all = (0..PUBLISHERS).map(|of| of * each + 1..=(of + 1) * each);
        let threads: Vec<_> = all.map(|numbers| scope.spawn(|| pay(numbers))).collect();
        let told = threads.into_iter().map(|thread| thread.join().unwrap());
        told.fold((0, 0, false), |all, one| (all.0 + one.0, all.1 + one.1, all.2 || one.2))
    });
    let (refused, unknown, said) = told;
    assert!(refused > 0 && unknown > 0 && said, "{told:?}");
    idle(&runtime);
    assert!(readyz(address).contains(" 200 "), "{:?}", runtime.why_not_ready());
    assert!(failures(&runtime) >= 7.0);
    let sum = PAYMENTS * (PAYMENTS + 1) / 2;
    let sums = |runtime: &Runtime| {
        ["clerk", "archive"].map(|of| runtime.state::<u64>(of, "sum").unwrap_or_default())
    };
    assert_eq!(sums(&runtime), [sum, sum], "each once");
    stop(runtime);
    let runtime = begin(&directory);
    idle(&runtime);
    assert_eq!(sums(&runtime), [sum, sum], "and it is on disk");
    stop(runtime);
}
