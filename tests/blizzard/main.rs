//! The main job: its report is exactly right, also with panics; bad files are named.

#![allow(missing_docs, clippy::unwrap_used)]

mod faults;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use serde_json::{Value, json};

fn built() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let cargo = Command::new(env!("CARGO"))
            .args(["build", "--release", "--example", "blizzard"])
            .current_dir(root)
            .output()
            .unwrap();
        assert!(cargo.status.success(), "{}", String::from_utf8_lossy(&cargo.stderr));
        let target = std::env::var_os("CARGO_TARGET_DIR").map_or(root.join("target"), Into::into);
        target.join("release/examples/blizzard")
    })
}

fn blizzard(arguments: &[&str]) -> Output {
    Command::new(built()).args(arguments).output().unwrap()
}

fn report(arguments: &[&str]) -> Value {
    let ran = blizzard(arguments);
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    serde_json::from_slice(&ran.stdout).unwrap()
}

/// The counts of the data's README.
fn check(report: &Value) {
    let expected = json!({
        "flights": 6104, "departed": 5175, "arrived": 5168, "cancelled": 929, "diverted": 9,
        "never_arrived": 7, "departed_late": 2000, "no_tail_number": 345,
        "unknown_tail_number": 926, "parked": {"unknown_airport": 142},
        "hours_without_weather": 0, "cancelled_without_seats": 447,
        "workflows_started": 929 + 9 + 7, "workflows_waiting": 447, "aircraft_replaced": 9 + 7,
        "cared_for_twice": 0, "passengers_waiting": 0,
        "cancelled_by_carrier": {
            "UA": 153, "EV": 150, "B6": 139, "DL": 127, "AA": 91, "MQ": 87, "9E": 67, "US": 57,
            "WN": 32, "FL": 11, "VX": 10, "AS": 2, "YV": 2, "F9": 1
        }
    });
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(report[name], *value, "{name}: {report}");
    }
    conserved(report);
}

/// Every stranded passenger is rebooked, refunded or waiting; every workflow ends in one way.
fn conserved(report: &Value) {
    let of = |names: &[&str]| names.iter().map(|name| report[name].as_u64().unwrap()).sum::<u64>();
    let cared = of(&["seats_rebooked", "passengers_refunded", "passengers_waiting"]);
    assert_eq!(of(&["stranded_passengers"]), cared, "{report}");
    assert!(of(&["seats_rebooked"]) > 0 && of(&["passengers_refunded"]) > 0, "{report}");
    let ended = of(&["workflows_finished", "workflows_compensated", "workflows_waiting"]);
    assert_eq!(of(&["workflows_started"]), ended, "{report}");
}

/// Who gets the last seats, and what is sent for it, is another matter in each run.
fn deliveries_of_events(report: &Value) -> u64 {
    report["deliveries"].as_u64().unwrap() - report["commands_sent"].as_u64().unwrap()
}

#[test]
fn the_report_is_what_the_data_says() {
    let report = report(&["--json"]);
    check(&report);
    assert_eq!(report["restarts"], 0);
}

#[test]
fn it_is_the_same_with_a_panic_in_every_hundredth_event() {
    let quiet = report(&["--json"]);
    let report = report(&["--json", "--panic-every", "100"]);
    check(&report);
    for name in ["stranded_passengers", "storms", "waiting_behind", "events_published"] {
        assert_eq!(report[name], quiet[name], "{name}");
    }
    assert_eq!(deliveries_of_events(&report), deliveries_of_events(&quiet));
    // 5,175 departed, 5,168 arrived, 9 were diverted and 929 cancelled: 11,281 events at the board; and
    // whenever a hundredth command to hold seats came.
    let restarts = report["restarts"].as_u64().unwrap();
    let commands = report["commands_sent"].as_u64().unwrap();
    assert!((113..=112 + commands / 100).contains(&restarts), "{restarts} of {commands}");
}

/// It fails and is slow, and nothing of that is in what it counts.
#[test]
fn it_is_the_same_with_failures_and_a_slow_hangar() {
    let quiet = report(&["--json"]);
    let report = report(&["--json", "--fail-every", "100", "--panic-every", "150", "--slow", "1"]);
    check(&report);
    for name in ["stranded_passengers", "storms", "waiting_behind", "events_published"] {
        assert_eq!(report[name], quiet[name], "{name}");
    }
    assert_eq!(deliveries_of_events(&report), deliveries_of_events(&quiet));
    let seconds = |report: &Value| report["seconds"].as_f64().unwrap();
    assert!(seconds(&report) > 6.1, "6,104 flights of a millisecond: {}", seconds(&report));
}

fn bad(name: &str, text: &str) -> String {
    let path = std::env::temp_dir().join(format!("cueline-{}-{name}.csv", std::process::id()));
    std::fs::write(&path, text).unwrap();
    let ran = blizzard(&["--json", "--flights", path.to_str().unwrap()]);
    std::fs::remove_file(&path).unwrap();
    assert_eq!(ran.status.code(), Some(2), "{name}");
    assert!(ran.stdout.is_empty());
    let said = String::from_utf8(ran.stderr).unwrap();
    assert_eq!(said.lines().count(), 1, "one line: {said}");
    assert!(said.contains(name) && said.contains("line 1"), "{said}");
    said
}

fn week() -> String {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/data");
    std::fs::read_to_string(data.join("flights-2013-02-04-to-10.csv")).unwrap()
}

#[test]
fn files_that_cannot_be_used_are_named_with_line_and_column() {
    assert!(bad("empty", "").contains("empty"));
    assert!(bad("headless", week().split_once('\n').unwrap().1).contains("not the header"));
    let said = bad("column", &week().replacen("dep_delay", "depdelay", 1));
    assert!(said.contains("`dep_delay`") && said.contains("missing"), "{said}");
    let ran = blizzard(&["--flights", "/nowhere/flights.csv"]);
    assert_eq!(ran.status.code(), Some(2));
    assert!(String::from_utf8(ran.stderr).unwrap().contains("/nowhere/flights.csv"));
}

#[test]
fn bad_rows_among_good_ones_are_parked_and_the_run_goes_on() {
    let mut rows: Vec<String> = week().lines().map(str::to_owned).collect();
    rows[10] = rows[10].chars().take(20).collect(); // torn
    rows[20] = rows[20].replace("2013-", "20x3-"); // no time
    rows[30].insert(12, '"'); // a stray quote
    let mut fields: Vec<&str> = rows[40].split(',').collect();
    fields[17] = "99"; // no minute of any hour
    rows[40] = fields.join(",");
    let path = std::env::temp_dir().join(format!("cueline-{}-rows.csv", std::process::id()));
    std::fs::write(&path, rows.join("\n")).unwrap();
    let report = report(&["--json", "--flights", path.to_str().unwrap()]);
    std::fs::remove_file(&path).unwrap();
    assert_eq!(report["flights"], 6100);
    assert_eq!(report["parked"]["bad_row"], 4);
}

#[test]
fn weather_that_cannot_be_used_is_named_too() {
    let ran = blizzard(&["--weather", "/nowhere/weather.csv"]);
    assert_eq!(ran.status.code(), Some(2));
    assert!(String::from_utf8(ran.stderr).unwrap().contains("/nowhere/weather.csv"));
}

#[test]
fn help_names_every_option() {
    let help = String::from_utf8(blizzard(&["--help"]).stdout).unwrap();
    for option in [
        "--flights",
        "--weather",
        "--panic-every",
        "--fail-every",
        "--slow",
        "--speed",
        "--serve",
        "--json",
    ] {
        assert!(help.contains(option), "{option}: {help}");
    }
}

/// Serves while it runs slowly and after its report, until it is asked to end.
#[test]
fn served_and_slowed_down_it_can_be_watched_until_ctrl_c() {
    let mut child = Command::new(built())
        .args(["--serve", "127.0.0.1:0", "--speed", "100", "--json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    let served = said.find(|line| line.contains("http://")).expect("it says where it serves");
    let address = served.split("http://").nth(1).unwrap().split(['/', ' ']).next().unwrap();
    let mut report = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut report).unwrap();
    let report: Value = serde_json::from_str(&report).unwrap();
    check(&report);
    assert_eq!(report["events_published"], 30_466, "however fast it runs");
    // A week of 168 hours at 100 a second.
    assert!(report["seconds"].as_f64().unwrap() > 1.5, "{}", report["seconds"]);
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut metrics = String::new();
    stream.read_to_string(&mut metrics).unwrap();
    let published = "cueline_events_published_total{topic=\"flight.scheduled\"} 6104";
    assert!(metrics.contains(published), "{metrics}");
    let id = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
    assert!(child.wait().unwrap().success());
}

/// A directory that is gone at the end.
struct Data(PathBuf);

impl Data {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("cueline-{}-{name}", std::process::id()));
        std::fs::remove_dir_all(&path).ok();
        Self(path)
    }

    fn report(&self, more: &[&str]) -> Value {
        let data = self.0.to_str().unwrap();
        report(&[&["--json", "--data", data], more].concat())
    }

    /// Runs it until it dies.
    fn crash(&self, after: &str, more: &[&str]) {
        let data = self.0.to_str().unwrap();
        let ran = blizzard(&[&["--json", "--data", data, "--crash-after", after], more].concat());
        assert_eq!(ran.status.code(), None, "{}", String::from_utf8_lossy(&ran.stderr));
        assert!(ran.stdout.is_empty());
    }
}

impl Drop for Data {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

/// What the report says of the flights, and not of the run.
fn of_the_flights(mut report: Value) -> Value {
    let of_the_run =
        ["events_published", "deliveries", "restarts", "seconds", "deliveries_per_second"];
    // Who comes first gets the last seats.
    let of_the_race = [
        "workflows_finished",
        "workflows_compensated",
        "seats_rebooked",
        "passengers_refunded",
        "beds",
        "commands_sent",
    ];
    for name in of_the_run.iter().chain(&of_the_race) {
        report.as_object_mut().unwrap().remove(*name).unwrap();
    }
    report.as_object_mut().unwrap().retain(|name, _| !name.ends_with("_us"));
    report
}

#[test]
fn killed_again_and_again_it_goes_on_and_its_report_is_exactly_right() {
    let (data, quiet) = (Data::new("killed"), of_the_flights(report(&["--json", "--memory"])));
    for (after, more) in [("1", &[][..]), ("700", &["--panic-every", "50"]), ("2500", &[])] {
        data.crash(after, more);
    }
    let report = data.report(&["--panic-every", "100"]);
    check(&report);
    assert_eq!(of_the_flights(report.clone()), quiet);
    // Once more, with nothing left to do.
    let again = data.report(&[]);
    check(&again);
    for name in ["deliveries", "commands_sent"] {
        assert_eq!(again[name], 0, "{name}");
    }
    for name in ["workflows_finished", "seats_rebooked", "passengers_refunded", "beds"] {
        assert_eq!(again[name], report[name], "{name}");
    }
    assert_eq!(of_the_flights(again), quiet);
}

#[test]
fn in_memory_and_on_disk_it_is_the_same() {
    let memory = of_the_flights(report(&["--json", "--memory"]));
    assert_eq!(of_the_flights(report(&["--json"])), memory);
}
