//! Every engine passes the same suite.

#![allow(missing_docs)]

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

use cueline::Store;
use cueline::testkit::{Engine, conform};

/// A directory that is gone when nobody opens it any more.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, SeqCst);
        let name = format!("cueline-engines-{}-{number}", std::process::id());
        Self(std::env::temp_dir().join(name))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

#[test]
fn memory() {
    conform(&Engine::new(Store::memory));
}

#[test]
fn the_log_on_disk() {
    conform(&Engine::that_survives(|| {
        let place = Scratch::new();
        move || Store::directory(&place.0)
    }));
}

/// As small as it may be: segments are full all the time, and given back.
#[test]
fn a_small_log_on_disk() {
    conform(&Engine::that_survives(|| {
        let place = Scratch::new();
        move || Store::directory(&place.0).limit(16 << 20)
    }));
}
