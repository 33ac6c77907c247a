//! `cueline-log` tells what is in a log, also while a runtime writes it, and where it is damaged.

#![allow(missing_docs, clippy::unwrap_used)]

use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use cueline::prelude::*;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Ordered {
    number: u64,
    customer: String,
}
cueline::event!(Ordered, "order.placed", key: |event| &event.customer);

struct Desk;
impl Processor for Desk {}
impl Handle<Ordered> for Desk {
    async fn handle(&mut self, event: &Ordered, cx: &mut Context) -> Outcome {
        if event.number == 3 {
            return Err(Failure::permanent("no such thing"));
        }
        *cx.state::<u64>("orders")? += 1;
        Ok(())
    }
}

struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let name = format!("cueline-tools-{name}-{}", std::process::id());
        Self(std::env::temp_dir().join(name))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

fn run(arguments: &[&str], directory: &Path) -> Output {
    let (command, more) = arguments.split_first().unwrap();
    Command::new(env!("CARGO_BIN_EXE_cueline-log"))
        .arg(command)
        .arg(directory)
        .args(more)
        .output()
        .unwrap()
}

fn said(arguments: &[&str], directory: &Path) -> String {
    let ran = run(arguments, directory);
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    String::from_utf8(ran.stdout).unwrap()
}

fn start(directory: &Path) -> Runtime {
    let desk = processor("desk", || Desk).on::<Ordered>();
    let store = Store::directory(directory);
    let shop = Runtime::builder("shop").store(store).supervise(Supervisor::new("shop").child(desk));
    shop.start().unwrap()
}

fn order(number: u64) -> Ordered {
    Ordered { number, customer: format!("customer {}", number % 4) }
}

#[test]
fn it_tells_what_is_there_also_while_a_runtime_runs() {
    let directory = Directory::new("looks");
    let runtime = start(&directory.0);
    for number in 0..10 {
        runtime.publish(order(number)).wait().unwrap();
    }
    runtime.idle().wait();
    let tail = said(&["tail", "--last", "2"], &directory.0);
    let lines: Vec<&str> = tail.lines().collect();
    assert_eq!(lines.len(), 2);
    assert!(lines[1].contains("order.placed") && lines[1].contains("customer 1"), "{tail}");
    assert!(lines[1].contains(r#"{"customer":"customer 1","number":9}"#), "{tail}");
    runtime.shutdown(secs(5)).wait().unwrap();

    let inspected = said(&["inspect"], &directory.0);
    assert!(inspected.contains("channel     order.placed  10 events"), "{inspected}");
    assert!(inspected.contains("next        position 10"), "{inspected}");
    // Number 3 is parked, and 7 waits behind it.
    let desk = "processor   desk  at position 10  0 behind  2 held  1 parked  1 states";
    assert!(inspected.contains(desk), "{inspected}");
    assert!(said(&["verify"], &directory.0).contains("all right"));
    let export = said(&["export", "--json", "--channel", "order.placed"], &directory.0);
    assert_eq!(export, said(&["export", "--channel", "order.placed"], &directory.0));
    let events: Vec<serde_json::Value> =
        export.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(events.len(), 10);
    assert_eq!(events[3]["event"]["number"], 3);
    assert_eq!((&events[3]["position"], &events[3]["key"]), (&3.into(), &"customer 3".into()));
    assert_eq!(said(&["export", "--json", "--channel", "nothing"], &directory.0), "");
}

#[test]
fn it_names_damage_by_segment_and_place_and_changes_nothing() {
    let directory = Directory::new("damage");
    let runtime = start(&directory.0);
    for number in 10..20 {
        runtime.publish(order(number)).wait().unwrap();
    }
    runtime.shutdown(secs(5)).wait().unwrap();
    let path = directory.0.join("0000000000000000.log");
    let segment = std::fs::File::options().read(true).write(true).open(&path).unwrap();
    let mut byte = [0];
    segment.read_exact_at(&mut byte, 4_400).unwrap();
    segment.write_all_at(&[byte[0] ^ 1], 4_400).unwrap();
    let before = std::fs::read(&path).unwrap();
    let ran = run(&["verify"], &directory.0);
    let text = String::from_utf8(ran.stdout).unwrap();
    assert_eq!(ran.status.code(), Some(1), "{text}");
    assert!(text.starts_with("DAMAGED     segment 0000000000000000: bytes 4"), "{text}");
    assert!(text.contains("1 frames lost"), "{text}");
    assert!(std::fs::read(&path).unwrap() == before);
}

#[test]
fn what_is_no_log_is_an_error() {
    let nowhere = run(&["inspect"], Path::new("/nowhere/at/all"));
    assert_eq!(nowhere.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&nowhere.stderr).contains("/nowhere/at/all is no directory"));
    let directory = Directory::new("empty");
    std::fs::create_dir_all(&directory.0).unwrap();
    let empty = run(&["verify"], &directory.0);
    assert_eq!(empty.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&empty.stderr).contains("there is no log in"));
}
