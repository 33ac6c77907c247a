//! Asking and being answered, both ways, timed side by side: through the inbox that all requests share, by
//! the command's id, and through a temporary queue for each request. `cargo run --release --example
//! request_reply`

use std::time::{Duration, Instant};

use cueline::prelude::*;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct FindSeats {
    flight: u32,
    people: u32,
}
cueline::command!(FindSeats, "seats.find" => Found, key: |command| command.flight);

#[derive(Debug, Serialize, Deserialize)]
struct Found {
    seats: u32,
    left: u32,
}

struct Seats;
impl Processor for Seats {}
impl Handle<FindSeats> for Seats {
    async fn handle(&mut self, find: &FindSeats, cx: &mut Context) -> Outcome<Found> {
        // What was sold is kept together with the reply, or not at all.
        let sold = cx.state::<u32>(find.flight)?;
        if *sold + find.people > 180 {
            return Err(Failure::permanent("sold out").reason("sold_out"));
        }
        *sold += find.people;
        Ok(Found { seats: find.people, left: 180 - *sold })
    }
}

fn main() -> Result<(), Error> {
    let seats = processor("seats", || Seats).serves::<FindSeats>().instances(2);
    let desk = Supervisor::new("desk").child(seats);
    let runtime = Runtime::builder("airline").threads(2).supervise(desk).start()?;

    let found = runtime.request(FindSeats { flight: 1, people: 4 }).timeout(secs(2)).wait()?;
    println!("4 people on flight 1: {found:?}");
    let refused = runtime.request(FindSeats { flight: 1, people: 177 }).wait();
    println!(
        "177 more: {}",
        refused.map_or_else(|error| error.to_string(), |of| format!("{of:?}"))
    );
    let asked = (2..=5).map(|flight| FindSeats { flight, people: 10 * flight });
    let gathered = runtime.request_all(asked).timeout(secs(2)).wait();
    let left: Vec<u32> = gathered.into_iter().flatten().map(|found| found.left).collect();
    println!("left on flights 2 to 5, asked at once: {left:?}");

    const REQUESTS: u32 = 20_000;
    let ask = |number| FindSeats { flight: 1_000 + number, people: 1 };
    let by_id = each(REQUESTS, |number| runtime.request(ask(number)).wait().map(drop))?;
    let by_queue = each(REQUESTS, |number| {
        runtime.request(ask(REQUESTS + number)).temporary_queue().wait().map(drop)
    })?;
    println!("{REQUESTS} requests, one after the other, from another thread:");
    println!("  by correlation id, one inbox for all:  {by_id:>8.2?} each");
    println!("  a temporary queue for each:            {by_queue:>8.2?} each");
    runtime.shutdown(secs(5)).wait()?;
    Ok(())
}

fn each(requests: u32, mut ask: impl FnMut(u32) -> Result<(), Error>) -> Result<Duration, Error> {
    let began = Instant::now();
    (0..requests).try_for_each(&mut ask)?;
    Ok(began.elapsed() / requests)
}
