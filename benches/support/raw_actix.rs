//! The same work on raw actix, with what it has: `try_send` into mailboxes that never fill (a full
//! one would have to be polled), no ids, no metrics, no supervision.

use std::sync::mpsc::{Sender, channel};
use std::time::Instant;

use actix::prelude::*;
use actix_broker::{Broker, BrokerSubscribe, SystemBroker};

use super::Payload;

struct Ping(Payload);
impl Message for Ping {
    type Result = ();
}

struct Count {
    sum: u64,
    left: u64,
    done: Sender<()>,
}
impl Actor for Count {
    type Context = Context<Self>;
}
impl Handler<Ping> for Count {
    type Result = ();
    fn handle(&mut self, event: Ping, _: &mut Self::Context) {
        self.sum = self.sum.wrapping_add(std::hint::black_box(event.0.0[0]));
        self.left -= 1;
        if self.left == 0 {
            self.done.send(()).unwrap();
        }
    }
}

fn start_on<A: Actor<Context = Context<A>>>(
    arbiter: &Arbiter,
    make: impl FnOnce() -> A + Send + 'static,
) -> Addr<A> {
    let (tell, told) = channel();
    arbiter.spawn_fn(move || {
        let address = A::create(|context| {
            context.set_mailbox_capacity(usize::MAX >> 8);
            make()
        });
        tell.send(address).unwrap();
    });
    told.recv().unwrap()
}

/// Nanoseconds a delivery: `try_send` to each of the subscribers, spread over the threads.
pub fn broadcast(subscribers: usize, threads: usize, events: u64) -> f64 {
    System::new().block_on(async move {
        let arbiters: Vec<Arbiter> = (0..threads).map(|_| Arbiter::new()).collect();
        let (done, all_done) = channel();
        let addresses: Vec<Addr<Count>> = (0..subscribers)
            .map(|number| {
                let done = done.clone();
                start_on(&arbiters[number % threads], move || Count { sum: 0, left: events, done })
            })
            .collect();
        let began = Instant::now();
        for number in 0..events {
            for address in &addresses {
                address.try_send(Ping(Payload::new(number))).map_err(|_| ()).unwrap();
            }
        }
        (0..subscribers).for_each(|_| all_done.recv().unwrap());
        let took = began.elapsed();
        arbiters.iter().for_each(|arbiter| {
            arbiter.stop();
        });
        took.as_nanos() as f64 / (events * subscribers as u64) as f64
    })
}

#[derive(Clone)]
struct Shared(Payload);
impl Message for Shared {
    type Result = ();
}
struct Subscribed {
    sum: u64,
    left: u64,
    ready: Sender<()>,
    done: Sender<()>,
}
impl Actor for Subscribed {
    type Context = Context<Self>;
    fn started(&mut self, context: &mut Self::Context) {
        self.subscribe_sync::<SystemBroker, Shared>(context);
        self.ready.send(()).unwrap();
    }
}
impl Handler<Shared> for Subscribed {
    type Result = ();
    fn handle(&mut self, event: Shared, _: &mut Self::Context) {
        self.sum = self.sum.wrapping_add(std::hint::black_box(event.0.0[0]));
        self.left -= 1;
        if self.left == 0 {
            self.done.send(()).unwrap();
        }
    }
}

/// Nanoseconds a delivery through `actix-broker`'s system broker.
pub fn actix_broker(subscribers: usize, threads: usize, events: u64) -> f64 {
    System::new().block_on(async move {
        let arbiters: Vec<Arbiter> = (0..threads).map(|_| Arbiter::new()).collect();
        let (done, all_done) = channel();
        let (ready, all_ready) = channel();
        for number in 0..subscribers {
            let (done, ready) = (done.clone(), ready.clone());
            arbiters[number % threads].spawn_fn(move || {
                Subscribed::create(|context| {
                    context.set_mailbox_capacity(usize::MAX >> 8);
                    Subscribed { sum: 0, left: events, ready, done }
                });
            });
        }
        (0..subscribers).for_each(|_| all_ready.recv().unwrap());
        actix_rt::task::yield_now().await;
        let began = Instant::now();
        for number in 0..events {
            Broker::<SystemBroker>::issue_async(Shared(Payload::new(number)));
            if number % 64 == 63 {
                // The broker lives on this thread: it gets its turn.
                actix_rt::task::yield_now().await;
            }
        }
        for _ in 0..subscribers {
            loop {
                match all_done.try_recv() {
                    Ok(()) => break,
                    Err(_) => actix_rt::task::yield_now().await,
                }
            }
        }
        let took = began.elapsed();
        arbiters.iter().for_each(|arbiter| {
            arbiter.stop();
        });
        took.as_nanos() as f64 / (events * subscribers as u64) as f64
    })
}

struct Stage {
    next: Recipient<Ping>,
}
impl Actor for Stage {
    type Context = Context<Self>;
}
impl Handler<Ping> for Stage {
    type Result = ();
    fn handle(&mut self, event: Ping, _: &mut Self::Context) {
        self.next.do_send(event);
    }
}

/// Five actors in a row, on two threads in turn: nanoseconds an event, end to end.
pub fn row_of_five(events: u64) -> f64 {
    System::new().block_on(async move {
        let arbiters = [Arbiter::new(), Arbiter::new()];
        let (done, all_done) = channel();
        let last = start_on(&arbiters[0], move || Count { sum: 0, left: events, done });
        let mut next: Recipient<Ping> = last.recipient();
        let mut first = None;
        for number in 1..5 {
            let stage = start_on(&arbiters[number % 2], move || Stage { next });
            next = stage.clone().recipient();
            first = Some(stage);
        }
        let first = first.unwrap();
        let began = Instant::now();
        for number in 0..events {
            first.try_send(Ping(Payload::new(number))).map_err(|_| ()).unwrap();
        }
        all_done.recv().unwrap();
        let took = began.elapsed();
        arbiters.iter().for_each(|arbiter| {
            arbiter.stop();
        });
        took.as_nanos() as f64 / events as f64
    })
}
