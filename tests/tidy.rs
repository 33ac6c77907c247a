//! The layers hold: imports go down the floors, pure files are pure, files stay short.

#![allow(missing_docs, clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Modules from the bottom up: one may use those before it, never those after it.
const FLOORS: &[&str] = &[
    "clock",
    "error",
    "guard",
    "inflight",
    "message",
    "pulse",
    "slice",
    "signal", // 0 words
    "store",
    "queue", // 1 kept
    "workflow",
    "broker",
    "request",
    "supervise",
    "processor", // 2 moved
    "mediator",  // 3 decided
    "metrics",
    "console", // 4 watched
    "runtime", // 5 whole
    "testkit",
    "tools",
];

/// Files that decide: no clock, no I/O, no actors, no threads.
const PURE: &[&str] = &[
    "store/file/bytes.rs",
    "store/file/events.rs",
    "store/file/layout.rs",
    "store/file/needed.rs",
    "store/file/record.rs",
    "store/file/retained.rs",
    "store/file/scan.rs",
    "broker/dedup.rs",
    "queue/form.rs",
    "queue/lines.rs",
    "queue/load.rs",
    "queue/parked.rs",
    "queue/standing.rs",
    "queue/once.rs",
    "queue/state.rs",
    "queue/backoff.rs",
    "queue/report.rs",
    "queue/waiting.rs",
    "request/waits.rs",
    "processor/outcome.rs",
    "processor/pressure.rs",
    "queue/delayed.rs",
    "supervise/options.rs",
    "supervise/ledger.rs",
    "supervise/policy/mod.rs",
    "supervise/policy/failure.rs",
    "supervise/tree/nodes.rs",
    "supervise/tree/plan.rs",
    "supervise/policy/asked.rs",
    "supervise/policy/child.rs",
    "supervise/policy/round.rs",
    "supervise/tree/mod.rs",
    "supervise/tree/asked.rs",
    "supervise/tree/report.rs",
    "broker/durability.rs",
    "broker/holders.rs",
    "broker/routes.rs",
    "broker/topics.rs",
    "workflow/anew.rs",
    "workflow/came.rs",
    "workflow/core.rs",
    "workflow/effect.rs",
    "workflow/history.rs",
    "workflow/id.rs",
    "workflow/owed.rs",
    "workflow/replay.rs",
    "workflow/saved.rs",
    "workflow/step.rs",
    "workflow/steps.rs",
    "mediator/endings.rs",
    "mediator/again.rs",
    "mediator/index.rs",
    "mediator/recent.rs",
    "mediator/starting.rs",
    "mediator/record.rs",
    "queue/loose.rs",
    "metrics/catalog.rs",
    "message/envelope.rs",
    "message/key.rs",
];
const IMPURE: &[&str] = &[
    "actix",
    "tokio",
    "std::thread",
    "std::time::Instant",
    "SystemTime",
    "std::fs",
    "std::net",
    "parking_lot",
    "fastrand",
    "Timestamp::now",
];

/// One idea a file: longer than this it holds two.
const LONGEST: usize = 400;

fn sources() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|of| of == "rs") {
                let name = path.strip_prefix(&root).unwrap().display().to_string();
                found.push((name, fs::read_to_string(&path).unwrap()));
            }
        }
    }
    assert!(found.len() > 30, "the sources are there");
    found
}

fn module(file: &str) -> &str {
    file.split(['/', '.']).next().unwrap()
}

/// The modules a file names, its tests left out.
fn named(text: &str) -> BTreeSet<String> {
    let code = text.split("#[cfg(test)]\nmod tests").next().unwrap();
    let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
    let uses = lines.flat_map(|line| line.split("crate::").skip(1).map(str::to_owned));
    uses.filter_map(|rest| {
        let name: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        FLOORS.contains(&name.as_str()).then_some(name)
    })
    .collect()
}

#[test]
fn imports_go_down_the_floors_and_there_are_no_rings() {
    let floor: BTreeMap<&str, usize> =
        FLOORS.iter().enumerate().map(|(floor, module)| (*module, floor)).collect();
    for (file, text) in sources() {
        let Some(own) = floor.get(module(&file)) else { continue };
        for used in named(&text) {
            assert!(floor[used.as_str()] <= *own, "src/{file} uses {used}, which is above");
        }
    }
}

#[test]
fn what_decides_is_pure() {
    for (file, text) in sources() {
        if !PURE.contains(&file.as_str()) {
            continue;
        }
        let code = text.split("#[cfg(test)]").next().unwrap();
        let code: Vec<&str> =
            code.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
        for word in IMPURE {
            let found = code.iter().find(|line| line.contains(word));
            assert!(found.is_none(), "src/{file} decides, and must not know {word}: {found:?}");
        }
    }
}

#[test]
fn files_are_short_and_say_what_they_hold() {
    for (file, text) in sources() {
        let lines = text.lines().count();
        assert!(lines <= LONGEST, "src/{file} has {lines} lines: which second idea does it hold?");
        assert!(text.starts_with("//! "), "src/{file} does not say what it holds");
    }
}
