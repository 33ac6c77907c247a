//! The path of an event: nanoseconds a delivery, beside raw actix, `actix-broker` and a raw
//! channel in the same run. `cargo bench --bench delivery`.

#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use std::time::Instant;

use support::{header, medians, ours, raw_actix, row, runs, wanted};

fn main() {
    header();
    let runs = runs();
    if wanted("broadcast 8") {
        let found = medians(
            runs,
            &[
                &|| ours::broadcast(8, 2, 500_000, 1, true),
                &|| raw_actix::broadcast(8, 2, 150_000),
                &|| raw_actix::actix_broker(8, 2, 100_000),
            ],
        );
        row("broadcast 8, two threads, one by one / actix", found[0], found[1], ">= 5");
        row("  / actix-broker", found[0], found[2], ">= 5");
    }
    if wanted("broadcast 64") {
        let found = medians(
            runs,
            &[
                &|| ours::broadcast(64, 2, 150_000, 1, true),
                &|| raw_actix::broadcast(64, 2, 20_000),
                &|| raw_actix::actix_broker(64, 2, 20_000),
            ],
        );
        row("broadcast 64, two threads, one by one / actix", found[0], found[1], ">= 10");
        row("  / actix-broker", found[0], found[2], ">= 10");
    }
    if wanted("one to one") {
        let found = medians(
            runs,
            &[
                &|| ours::broadcast(1, 1, 2_000_000, 1, true),
                &|| ours::broadcast(1, 1, 4_000_000, 64, true),
                &|| raw_actix::broadcast(1, 1, 1_000_000),
                &|| raw_channel(4_000_000),
            ],
        );
        row("one to one, other thread, one by one / actix", found[0], found[2], ">= 2.5");
        row("one to one, publish_all of 64 / actix", found[1], found[2], ">= 5");
        row("  (one by one / crossbeam channel, bounded)", found[0], found[3], "-");
    }
    if wanted("row") {
        let found = medians(
            runs,
            &[&|| ours::row_of_five(2, 500_000), &|| raw_actix::row_of_five(300_000)],
        );
        row("five in a row, two threads, per event / actix", found[0], found[1], ">= 2");
    }
    if wanted("subscribers") {
        let found = medians(
            runs,
            &[
                &|| ours::broadcast(8, 2, 400_000, 1, true),
                &|| ours::broadcast(64, 2, 60_000, 1, true),
                &|| ours::broadcast(512, 2, 8_000, 1, true),
            ],
        );
        row("a delivery with 64 subscribers / with 8", found[1], found[0], ">= 1");
        row("a delivery with 512 subscribers / with 8", found[2], found[0], ">= 1");
    }
    if wanted("metrics") {
        let found = medians(
            runs * 2,
            &[&|| ours::broadcast(8, 2, 500_000, 1, true), &|| {
                ours::broadcast(8, 2, 500_000, 1, false)
            }],
        );
        row("broadcast 8 with metrics / without", found[0], found[1], ">= 0.9");
    }
}

/// One event at a time through a bounded crossbeam channel: a limit, not a peer.
fn raw_channel(events: u64) -> f64 {
    let (send, receive) = crossbeam_channel::bounded(65_536);
    let consumer = std::thread::spawn(move || {
        let mut sum = 0u64;
        while let Ok(support::Payload(payload)) = receive.recv() {
            sum = sum.wrapping_add(std::hint::black_box(payload[0]));
        }
        sum
    });
    let began = Instant::now();
    for number in 0..events {
        send.send(support::Payload::new(number)).unwrap();
    }
    drop(send);
    consumer.join().unwrap();
    began.elapsed().as_nanos() as f64 / events as f64
}
