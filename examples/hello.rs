//! Two events, three processors, one output. `cargo run --example hello`

use cueline::prelude::*;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct GuestArrived {
    name: String,
}
cueline::event!(GuestArrived, "guest.arrived", key: |event| &event.name);

#[derive(Serialize, Deserialize)]
struct GuestGreeted {
    text: String,
}
cueline::event!(GuestGreeted, "guest.greeted");

struct Greeter;
impl Processor for Greeter {}
impl Handle<GuestArrived> for Greeter {
    async fn handle(&mut self, event: &GuestArrived, cx: &mut Context) -> Outcome {
        cx.publish(GuestGreeted { text: format!("Hello, {}!", event.name) });
        Ok(())
    }
}

struct Counter;
impl Processor for Counter {}
impl Handle<GuestArrived> for Counter {
    async fn handle(&mut self, _: &GuestArrived, cx: &mut Context) -> Outcome {
        *cx.state::<u32>("guests")? += 1;
        Ok(())
    }
}

struct Printer;
impl Processor for Printer {}
impl Handle<GuestGreeted> for Printer {
    async fn handle(&mut self, event: &GuestGreeted, _: &mut Context) -> Outcome {
        println!("{}", event.text);
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let hall = Supervisor::new("hall")
        .child(processor("greeter", || Greeter).on::<GuestArrived>().emits::<GuestGreeted>())
        .child(processor("counter", || Counter).on::<GuestArrived>())
        .child(processor("printer", || Printer).on::<GuestGreeted>());
    let runtime = Runtime::builder("hello").supervise(hall).start()?;
    for name in ["Ada", "Joe", "Barbara"] {
        runtime.publish(GuestArrived { name: name.to_owned() }).wait()?;
    }
    runtime.idle().wait();
    println!("{} guests", runtime.state::<u32>("counter", "guests").unwrap_or_default());
    runtime.shutdown(secs(1)).wait()?;
    Ok(())
}
