//! What an earlier version wrote is read by every later one: `logs/` holds a log of each release, with its
//! workflows under way, and `histories/` what those did. Nothing in there is ever changed. For a release, those
//! of the next one are made by `CUELINE_MAKE_GOLDEN=0.2 cargo test --test golden`.

#![allow(missing_docs, clippy::unwrap_used)]

mod queue;
mod trips;
mod workflows;

use std::path::{Path, PathBuf};

use cueline::prelude::*;
use serde::{Deserialize, Serialize};

fn golden(of: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(of)
}

/// What lies there, of each release.
fn releases(of: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(golden(of)).unwrap();
    let mut all: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    all.sort();
    all
}

/// Kept under its path, which is therefore never another one.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
struct Sold {
    seats: Vec<u64>,
}

/// Nobody wants it, and it fills segments, so that there is a checkpoint.
#[derive(Serialize, Deserialize)]
struct Ballast(String);
cueline::event!(Ballast, "ballast");

fn is_checkpoint(name: &str) -> bool {
    name.strip_suffix(".checkpoint").is_some()
}

fn names(directory: &Path) -> impl Iterator<Item = String> {
    let entries = std::fs::read_dir(directory).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap())
}

/// Writes until there is a checkpoint.
fn fill(runtime: &Runtime, directory: &Path) {
    while names(directory).filter(|name| is_checkpoint(name)).count() < 1 {
        // A log that small is full now and then.
        match runtime.publish(Ballast("x".repeat(100_000))).wait() {
            Ok(_) | Err(Refused::NoSpace(_)) => {}
            Err(other) => panic!("{other}"),
        }
    }
}

/// Leaves what a log is made of, and nothing that is made again.
fn strip(directory: &Path) {
    for name in names(directory).collect::<Vec<_>>() {
        let path = directory.join(&name);
        if is_checkpoint(&name) {
            continue;
        }
        if name.strip_suffix(".log").is_none() {
            std::fs::remove_file(path).unwrap();
            continue;
        }
        // What is behind the last frame was reserved; that may end with zeros as well.
        let bytes = std::fs::read(&path).unwrap();
        let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 64);
        std::fs::write(&path, &bytes[..used.min(bytes.len())]).unwrap();
    }
}

/// A log to work with.
struct Copy(PathBuf);

impl Copy {
    fn of(golden: &Path, name: &str) -> Self {
        let name = format!("cueline-golden-{name}-{}", std::process::id());
        let copy = Self(std::env::temp_dir().join(name));
        std::fs::remove_dir_all(&copy.0).ok();
        std::fs::create_dir(&copy.0).unwrap();
        for entry in std::fs::read_dir(golden).unwrap() {
            let path = entry.unwrap().path();
            std::fs::copy(&path, copy.0.join(path.file_name().unwrap())).unwrap();
        }
        copy
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

/// The first of all tests, if it is to be made.
fn make() {
    static MADE: std::sync::Once = std::sync::Once::new();
    MADE.call_once(|| {
        let Some(release) = std::env::var_os("CUELINE_MAKE_GOLDEN") else { return };
        let logs = golden("logs").join(&release);
        if !logs.join("queue").exists() {
            std::fs::create_dir_all(logs.join("queue")).unwrap();
            queue::make(&logs.join("queue"));
        }
        let histories = golden("histories").join(&release);
        std::fs::create_dir_all(&histories).unwrap();
        workflows::make(&logs.join("workflows"), &histories);
    });
}
