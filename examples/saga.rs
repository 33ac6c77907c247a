//! A saga: an order is placed, paid from a customer's credit, and confirmed; what was done is undone if the
//! credit does not suffice. The customer has 100, and buys for 20, 70, 20 and 5: the third order cannot be
//! paid.
//!
//! `cargo run --release --example saga`; with `-- --store DIR` it is kept, and goes on where it was.

use clap::Parser;
use cueline::prelude::*;
use serde::{Deserialize, Serialize};

/// Somebody buys something: this is what begins the saga.
#[derive(Serialize, Deserialize)]
struct Bought {
    order: u32,
    customer: String,
    price: u32,
}
cueline::event!(Bought, "bought", key: |bought| &bought.customer);

/// Places an order, which is not confirmed yet.
#[derive(Serialize, Deserialize)]
struct Place {
    order: u32,
}
cueline::command!(Place, "order.place" => Done);

/// Takes an order back.
#[derive(Serialize, Deserialize)]
struct Withdraw {
    order: u32,
}
cueline::command!(Withdraw, "order.withdraw" => Done);

/// Confirms an order.
#[derive(Serialize, Deserialize)]
struct Confirm {
    order: u32,
}
cueline::command!(Confirm, "order.confirm" => Done);

/// Takes the price from the customer's credit; what is left is the reply.
#[derive(Serialize, Deserialize)]
struct Reserve {
    customer: String,
    price: u32,
}
cueline::command!(Reserve, "credit.reserve" => u32, key: |reserve| &reserve.customer);

/// Gives it back.
#[derive(Serialize, Deserialize)]
struct Release {
    customer: String,
    price: u32,
}
cueline::command!(Release, "credit.release" => u32, key: |release| &release.customer);

#[derive(Default, Clone, Serialize, Deserialize)]
struct Orders {
    placed: Vec<u32>,
    confirmed: Vec<u32>,
}

struct OrderBook;
impl Processor for OrderBook {}
impl Handle<Place> for OrderBook {
    async fn handle(&mut self, place: &Place, cx: &mut Context) -> Outcome<Done> {
        cx.state::<Orders>("all")?.placed.push(place.order);
        Ok(Done)
    }
}
impl Handle<Withdraw> for OrderBook {
    async fn handle(&mut self, withdraw: &Withdraw, cx: &mut Context) -> Outcome<Done> {
        cx.state::<Orders>("all")?.placed.retain(|order| *order != withdraw.order);
        Ok(Done)
    }
}
impl Handle<Confirm> for OrderBook {
    async fn handle(&mut self, confirm: &Confirm, cx: &mut Context) -> Outcome<Done> {
        cx.state::<Orders>("all")?.confirmed.push(confirm.order);
        Ok(Done)
    }
}

/// What a customer may still spend: 100 to begin with.
#[derive(Clone, Serialize, Deserialize)]
struct Credit(u32);
impl Default for Credit {
    fn default() -> Self {
        Self(100)
    }
}

struct Bank;
impl Processor for Bank {}
impl Handle<Reserve> for Bank {
    async fn handle(&mut self, reserve: &Reserve, cx: &mut Context) -> Outcome<u32> {
        let credit = cx.state::<Credit>(&reserve.customer)?;
        let left = credit.0.checked_sub(reserve.price).ok_or_else(|| {
            let text = format!("{} has {} left, not {}", reserve.customer, credit.0, reserve.price);
            Failure::permanent(text).reason("no_credit")
        })?;
        credit.0 = left;
        Ok(left)
    }
}
impl Handle<Release> for Bank {
    async fn handle(&mut self, release: &Release, cx: &mut Context) -> Outcome<u32> {
        let credit = cx.state::<Credit>(&release.customer)?;
        credit.0 += release.price;
        Ok(credit.0)
    }
}

/// The saga: each step says what undoes it.
struct Purchase;
impl Workflow for Purchase {
    const NAME: &'static str = "purchase";
    type Input = Bought;
    type Output = u32;
    type Expects = ();
    async fn run(&self, bought: Bought, steps: Steps) -> Outcome<u32> {
        let Bought { order, customer, price } = bought;
        steps.call(Place { order }).undo_with(move |_, _| Withdraw { order }).await?;
        let reserve = Reserve { customer: customer.clone(), price };
        let left = steps.call(reserve).undo_with(move |_, _| Release { customer, price }).await?;
        steps.call(Confirm { order }).await?;
        Ok(left)
    }
}

/// Says how each saga ended.
struct Tells;
impl cueline::Observer for Tells {
    fn observe(&self, signal: &cueline::Signal<'_>) {
        if let cueline::Signal::WorkflowEnded { id, outcome, .. } = signal {
            println!("purchase {id}: {}", outcome.as_str());
        }
    }
}

/// A saga over two processors: orders and credit.
#[derive(Parser)]
struct Options {
    /// Where to keep everything; in memory if not said.
    #[arg(long)]
    store: Option<std::path::PathBuf>,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let options = Options::parse();
    let store = options.store.map_or_else(Store::memory, |path| Store::directory(path).into());
    let shop = Supervisor::new("shop")
        .child(
            processor("orders", || OrderBook)
                .serves::<Place>()
                .serves::<Withdraw>()
                .serves::<Confirm>(),
        )
        .child(processor("bank", || Bank).serves::<Reserve>().serves::<Release>())
        .child(Mediator::for_domain("sales").workflow(Purchase).starts_on::<Bought>());
    let runtime = Runtime::builder("saga").store(store).observe(Tells).supervise(shop).start()?;

    for (order, price) in (1..).zip([20, 70, 20, 5]) {
        println!("ann buys for {price}");
        runtime.publish(Bought { order, customer: "ann".to_owned(), price }).wait()?;
        runtime.idle().wait(); // one after the other, to see it
    }
    let orders: Orders = runtime.state("orders", "all").unwrap_or_default();
    let credit: Credit = runtime.state("bank", "ann").unwrap_or_default();
    println!("placed: {:?}, confirmed: {:?}", orders.placed, orders.confirmed);
    println!("orders: {}", orders.confirmed.len());
    println!("credit: {}", credit.0);
    runtime.shutdown(secs(5)).wait()?;
    Ok(())
}
