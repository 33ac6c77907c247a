//! What the benches share: the payload, raw actix beside us, medians, a table.

#![allow(dead_code, missing_docs, clippy::unwrap_used)]

pub mod ours;
pub mod plain;
pub mod raw_actix;

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// 64 bytes.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub struct Payload(pub [u64; 8]);

impl Payload {
    pub fn new(number: u64) -> Self {
        Self([number; 8])
    }
}

/// Runs the cases in turn, `runs` times, and returns each one's median: what drifts drifts for all.
pub fn medians(runs: usize, cases: &[&dyn Fn() -> f64]) -> Vec<f64> {
    let mut all = vec![Vec::new(); cases.len()];
    for run in 0..=runs {
        for (case, results) in cases.iter().zip(&mut all) {
            let result = case();
            if run > 0 {
                results.push(result); // the first run warms up
            }
        }
    }
    all.into_iter().map(median).collect()
}

pub fn median(mut results: Vec<f64>) -> f64 {
    results.sort_by(f64::total_cmp);
    results[results.len() / 2]
}

/// How often each case is run: 5, or what `RUNS` says.
pub fn runs() -> usize {
    std::env::var("RUNS").ok().and_then(|runs| runs.parse().ok()).unwrap_or(5)
}

/// Whether the case was asked for: `cargo bench --bench delivery -- row` runs what has `row` in it.
pub fn wanted(case: &str) -> bool {
    let filters: Vec<String> = std::env::args().skip(1).filter(|of| !of.starts_with('-')).collect();
    filters.is_empty() || filters.iter().any(|filter| case.contains(filter.as_str()))
}

pub fn header() {
    println!("{:<46} {:>12} {:>12} {:>9} {:>10}", "case", "cueline", "beside it", "ratio", "goal");
}

/// `ours` and `theirs` in ns; the ratio is how many times faster we are.
pub fn row(case: &str, ours: f64, theirs: f64, goal: &str) {
    let ratio = theirs / ours;
    println!("{case:<46} {ours:>9.1} ns {theirs:>9.1} ns {ratio:>8.2}x {goal:>10}");
}

/// Processor time of this process so far, from the kernel (in ticks of 10 ms).
pub fn processor_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: u64 = fields[11..13].iter().map(|ticks| ticks.parse::<u64>().unwrap()).sum();
    Duration::from_millis(ticks * 10)
}

/// Bytes as bytes, not as a list of numbers.
pub mod bytes {
    use serde::de::{Deserializer, Visitor};
    use serde::ser::Serializer;

    pub fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_bytes(bytes)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        struct Bytes;
        impl Visitor<'_> for Bytes {
            type Value = Vec<u8>;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("bytes")
            }
            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
                Ok(bytes.to_vec())
            }
        }
        from.deserialize_byte_buf(Bytes)
    }
}
