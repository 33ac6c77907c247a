//! row
use cueline::prelude::*;
#[path = "../benches/support/mod.rs"]
mod support;
fn main() {
    let a: Vec<String> = std::env::args().collect();
    let n: u64 = a[1].parse().unwrap();
    let _ = secs(1);
    println!("{:.1} ns", if a.len() > 2 { support::raw_actix::row_of_five(n) } else { support::ours::row_of_five(2, n) });
}
