//! What is scraped and probed is served, and is right.

#![allow(missing_docs, clippy::unwrap_used)]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::sync::Arc;

use cueline::CATALOG;
use cueline::prelude::*;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

#[derive(Serialize, Deserialize)]
struct Number(u64);
cueline::event!(Number, "number");

struct Picky;
impl Processor for Picky {}
impl Handle<Number> for Picky {
    async fn handle(&mut self, event: &Number, cx: &mut Context) -> Outcome {
        match (event.0 % 10, cx.attempt()) {
            (1, 1) => Err(Failure::transient("once")),
            (2, _) => Err(Failure::permanent("never")),
            (3, 1) => panic!("on demand"),
            _ => Ok(()),
        }
    }
}

fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    let body = answer.split_once("\r\n\r\n").unwrap().1;
    (status, body.to_owned())
}

fn start(held: usize) -> (Runtime, SocketAddr) {
    let picky = processor("picky", || Picky).on::<Number>().held(held);
    let runtime = Runtime::builder("test")
        .supervise(Supervisor::new("tests").child(picky))
        .serve("127.0.0.1:0")
        .start()
        .unwrap();
    let address = runtime.address().unwrap();
    (runtime, address)
}

fn value(metrics: &str, series: &str) -> u64 {
    let line = metrics.lines().find(|line| line.starts_with(series));
    line.unwrap_or_else(|| panic!("no {series} in\n{metrics}"))
        .rsplit(' ')
        .next()
        .unwrap()
        .parse()
        .unwrap()
}

#[test]
fn counts_are_exact_and_promtool_finds_nothing() {
    let (runtime, address) = start(1_000);
    runtime.publish_all((0..100).map(Number)).wait().unwrap();
    runtime.idle().wait();
    let (status, metrics) = get(address, "/metrics");
    assert_eq!(status, 200);
    assert_eq!(value(&metrics, "cueline_events_published_total{topic=\"number\"}"), 100);
    assert_eq!(value(&metrics, "cueline_events_handled_total{processor=\"picky\"}"), 90);
    let of = |name: &str| value(&metrics, &format!("{name}{{processor=\"picky\"}}"));
    let by = |name: &str, cause: &str| value(&metrics, &format!("{name}{{cause=\"{cause}\"}}"));
    assert_eq!(of("cueline_events_retried_total"), 20);
    assert_eq!(of("cueline_events_parked_total"), 10);
    assert_eq!(of("cueline_processor_restarts_total"), 10);
    assert_eq!(by("cueline_failure_causes_total", "failed"), 10);
    assert_eq!(by("cueline_failure_causes_total", "panicked"), 10);
    assert_eq!(by("cueline_failure_causes_total", "permanent"), 10);
    assert_eq!(by("cueline_restart_causes_total", "panic"), 10);
    assert_eq!(by("cueline_restart_causes_total", "timeout"), 0, "there from the start");
    let parked = "cueline_held_events{processor=\"picky\",state=\"parked\"}";
    assert_eq!(value(&metrics, parked), 10);

    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool, of Debian's package prometheus; ./test installs it");
    promtool.stdin.take().unwrap().write_all(metrics.as_bytes()).unwrap();
    let found = promtool.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&found.stderr).into_owned()
        + &String::from_utf8_lossy(&found.stdout);
    assert!(found.status.success() && said.trim().is_empty(), "{said}");
}

#[test]
fn everything_that_is_scraped_is_in_the_catalogue() {
    let (runtime, address) = start(1_000);
    runtime.publish_all((0..100).map(Number)).wait().unwrap();
    runtime.idle().wait();
    let (_, metrics) = get(address, "/metrics");
    for line in metrics.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let name = line.split(' ').next().unwrap();
        assert!(CATALOG.iter().any(|metric| metric.name == name), "{name} is not in the catalogue");
    }
}

#[test]
fn ready_says_why_not_and_alive_stays_alive() {
    let (runtime, address) = start(3);
    pollster::block_on(runtime.ready()).unwrap();
    let gate = Arc::new(Notify::new());
    let opened = gate.clone();
    let late = processor("late", move || Late(opened.clone())).on::<Number>();
    let added = runtime.add("tests", late);
    let (status, why) = get(address, "/readyz");
    assert!(status == 503 && why.contains("starting"), "{status} {why}");
    gate.notify_one();
    assert!(added.wait().unwrap());
    pollster::block_on(runtime.ready()).unwrap();
    assert_eq!(get(address, "/healthz").0, 200);
    assert_eq!(get(address, "/readyz"), (200, "ready\n".to_owned()));
    runtime.publish_all((0..100).map(|_| Number(2))).wait().unwrap();
    while !runtime.processors()[0].stopped {
        std::thread::yield_now();
    }
    let (status, why) = get(address, "/readyz");
    assert!(
        status == 503 && why.contains("`picky`") && why.contains("3 events of"),
        "{status} {why}"
    );
    assert_eq!(get(address, "/healthz").0, 200);
    assert_eq!(get(address, "/elsewhere").0, 404);
}

/// Starts when its gate is open, and again never.
struct Late(Arc<Notify>);
impl Processor for Late {
    async fn started(&mut self, _: &mut Context) -> Outcome {
        self.0.notified().await;
        Ok(())
    }
}
impl Handle<Number> for Late {
    async fn handle(&mut self, _: &Number, _: &mut Context) -> Outcome {
        self.0.notified().await;
        Ok(())
    }
}

#[test]
fn while_it_stops_it_is_not_ready_but_alive() {
    let (runtime, address) = start(3);
    let gate = Arc::new(Notify::new());
    gate.notify_one();
    let opened = gate.clone();
    runtime
        .add("tests", processor("late", move || Late(opened.clone())).on::<Number>())
        .wait()
        .unwrap();
    pollster::block_on(runtime.ready()).unwrap();
    runtime.publish(Number(0)).wait().unwrap();
    let stopping = runtime.clone();
    let stops = std::thread::spawn(move || stopping.shutdown(secs(600)).wait().unwrap());
    while get(address, "/readyz").1.starts_with("ready") {}
    let (status, why) = get(address, "/readyz");
    assert!(status == 503 && why.contains("stopping"), "{status} {why}");
    assert_eq!(get(address, "/healthz").0, 200);
    gate.notify_one();
    assert!(stops.join().unwrap().is_empty());
}

#[derive(Serialize, Deserialize)]
struct Ask {
    key: u32,
    what: u32,
}
cueline::event!(Ask, "ask", key: |event| event.key);
#[derive(Serialize, Deserialize)]
struct Unheard;
cueline::event!(Unheard, "unheard");

struct Does;
impl Processor for Does {
    async fn stopping(&mut self, _: &mut Context) -> Outcome {
        Err(Failure::permanent("stopping"))
    }
}
impl Handle<Ask> for Does {
    async fn handle(&mut self, event: &Ask, _: &mut Context) -> Outcome {
        match event.what {
            1 => Err(Failure::transient("later")),
            2 => Err(Failure::permanent("never")),
            3 => panic!("on demand"),
            _ => Ok(()),
        }
    }
}

/// Everything that can happen to events, and what the metrics make of it.
#[test]
fn everything_that_happens_is_counted_where_it_belongs() {
    let made = std::sync::atomic::AtomicUsize::new(0);
    let does = processor("does", move || {
        // The second one cannot be built at first.
        let made = made.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        assert_ne!(made, 1, "the factory");
        Does
    });
    let later = Retry::attempts(9).backoff(Backoff::new(secs(3_600), secs(3_600)));
    let does = does.on_if(|ask: &Ask| ask.what != 9).retry(later).bound(4).held(4);
    let drops = processor("drops", || Picky).on::<Number>().bound(2);
    let runtime = Runtime::builder("test")
        .supervise(
            Supervisor::new("tests")
                .backoff(Backoff::none())
                .child(does)
                .child(drops.when_full(WhenFull::DropNewest)),
        )
        .serve(0)
        .start()
        .unwrap();
    pollster::block_on(runtime.ready()).unwrap();
    let ask = |key: u32, what: u32| runtime.publish(Ask { key, what }).wait().unwrap();
    ask(1, 0);
    ask(1, 9);
    runtime.publish(Unheard).wait().unwrap();
    ask(2, 3);
    runtime.idle().wait();
    let parked = ask(3, 2);
    ask(3, 0);
    runtime.idle().wait();
    runtime.resubmit("does", parked).unwrap();
    runtime.idle().wait();
    runtime.discard("does", parked).unwrap();
    runtime.idle().wait();
    let held = ask(3, 2);
    ask(3, 0);
    runtime.idle().wait();
    ask(4, 1);
    // Held: the panicked one, the last parked one and the one behind it, and the one to be retried.
    while !runtime.processors()[0].stopped {}
    runtime.pause("does").unwrap();
    for key in 10..14 {
        ask(key, 0);
    }
    assert!(runtime.try_publish(Ask { key: 14, what: 0 }).is_err());
    runtime.tell(Ask { key: 15, what: 0 }).unwrap();
    runtime.tell(Ask { key: 16, what: 0 }).unwrap();
    runtime.pause("drops").unwrap();
    for number in 0..5 {
        runtime.publish(Number(number)).wait().unwrap();
    }
    let dropped = "cueline_events_dropped_total{processor=\"drops\"} ";
    while value(&runtime.metrics().unwrap(), dropped) < 3 {}
    let metrics = runtime.metrics().unwrap();
    let is = |series: &str, expected: u64| {
        assert_eq!(value(&metrics, &format!("cueline_{series} ")), expected, "{series}");
    };
    is("events_unrouted_total{topic=\"unheard\"}", 1);
    is("events_refused_total{topic=\"ask\"}", 3);
    is("refusals_total{how=\"returned\"}", 1);
    is("refusals_total{how=\"dropped\"}", 2);
    is("events_filtered_total", 1);
    is("events_resubmitted_total", 1);
    is("events_dropped_total{processor=\"does\"}", 1);
    is("events_dropped_total{processor=\"drops\"}", 3);
    is("drop_reasons_total{reason=\"discarded\"}", 1);
    is("drop_reasons_total{reason=\"newest\"}", 3);
    is("processor_restarts_total{processor=\"does\"}", 2);
    is("restart_causes_total{cause=\"panic\"}", 2);
    is("processor_start_failures_total{processor=\"does\"}", 1);
    is("held_events{processor=\"does\",state=\"parked\"}", 2);
    is("held_events{processor=\"does\",state=\"waiting_behind\"}", 1);
    is("held_events{processor=\"does\",state=\"retrying\"}", 1);
    is("subscription_stopped{processor=\"does\"}", 1);
    is("queue_events{processor=\"does\"}", 4);
    is("queue_bytes{processor=\"does\"}", 4 * size_of::<Ask>() as u64);
    is("restart_seconds_count", 2);
    let of_it = "{processor=\"does\"}";
    for (seconds, labels) in [("handling", of_it), ("waiting", of_it), ("end_to_end", "")] {
        let series = format!("cueline_{seconds}_seconds_count{labels} ");
        assert!(value(&metrics, &series) > 0, "{series}");
    }
    let oldest = "cueline_queue_oldest_seconds{processor=\"does\"} ";
    let oldest = metrics.lines().find_map(|line| line.strip_prefix(oldest)).unwrap();
    assert!(oldest.parse::<f64>().unwrap() > 0.0);
    let undone = runtime.shutdown(secs(600)).wait().unwrap();
    assert!(undone.iter().any(|event| event.id == held && event.key == Some(3.into())));
    let metrics = runtime.metrics().unwrap();
    let failed = "cueline_hook_failures_total{hook=\"stopping\"} ";
    assert_eq!(value(&metrics, failed), 1);
}

#[test]
fn a_port_alone_is_served_on_the_loopback_address_only() {
    for port in ["0", ":0"] {
        let runtime = Runtime::builder("test").serve(port).start().unwrap();
        let address = runtime.address().unwrap();
        assert!(address.ip().is_loopback(), "{address}");
        assert_eq!(get(address, "/healthz").0, 200);
    }
    assert!(Runtime::builder("test").serve(0).start().unwrap().address().is_some());
}
