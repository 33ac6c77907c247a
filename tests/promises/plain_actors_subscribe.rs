use actix::prelude::*;
// Both preludes at once: what both name is named here.
use cueline::prelude::*;
use cueline::{Context, Message, Supervisor};

use crate::support::{Log, Number, idle, number, publish};

struct Plain {
    log: Log<(u64, u32)>,
}

impl Actor for Plain {
    type Context = actix::Context<Self>;
}

impl Handler<Delivered<Number>> for Plain {
    type Result = Outcome;

    fn handle(&mut self, event: Delivered<Number>, _: &mut Self::Context) -> Outcome {
        let attempt = event.envelope().attempt;
        if event.value == 2 && attempt == 1 {
            return Err(Failure::transient("once"));
        }
        self.log.push((event.value, attempt));
        Ok(())
    }
}

/// Compiles beside `actix::prelude`: a processor and an actor in one file.
struct Ours;
impl Processor for Ours {}
impl Handle<Number> for Ours {
    async fn handle(&mut self, _: &Number, _: &mut Context) -> Outcome {
        Ok(())
    }
}

#[test]
fn events_are_settled_when_the_actor_has_answered() {
    let log = Log::default();
    let seen = log.clone();
    let (tell, told) = std::sync::mpsc::channel();
    let thread = std::thread::spawn(move || {
        let system = System::new();
        system.block_on(async move {
            let actor = Plain { log: seen }.start();
            tell.send((actor.recipient::<Delivered<Number>>(), System::current())).unwrap();
        });
        system.run().unwrap();
    });
    let (recipient, system) = told.recv().unwrap();
    let _: &str = <Number as Message>::NAME;
    let runtime = Runtime::builder("test")
        .supervise(
            Supervisor::new("tests")
                .child(cueline::recipient("plain", recipient).retry(crate::support::quick(3)))
                .child(processor("ours", || Ours).on::<Number>()),
        )
        .start()
        .unwrap();
    publish(&runtime, (0..5).map(number));
    idle(&runtime);
    let mut done = log.all();
    done.sort();
    assert_eq!(done, [(0, 1), (1, 1), (2, 2), (3, 1), (4, 1)]);
    system.stop();
    thread.join().unwrap();
}
