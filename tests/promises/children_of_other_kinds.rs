//! Plain actors and members of pools: supervised like processors.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

use actix::{Actor, ActorContext, Context as ActorContextOf, Handler, Message as ActorMessage};
use cueline::prelude::*;
use cueline::{ChildKind, ChildState, actor, actor_with};

use crate::support::{Log, Number, idle, keyed, publish, supervisor, within};

#[derive(ActorMessage)]
#[rtype(result = "usize")]
enum Ask {
    WhoAreYou,
    Panic,
    Stop,
}

/// Knows the how-manieth it is.
struct Bell(usize);
impl Actor for Bell {
    type Context = ActorContextOf<Self>;
}
impl Handler<Ask> for Bell {
    type Result = usize;
    fn handle(&mut self, ask: Ask, ctx: &mut Self::Context) -> usize {
        match ask {
            Ask::WhoAreYou => {}
            Ask::Panic => panic!("it was told to"),
            Ask::Stop => ctx.stop(),
        }
        self.0
    }
}

fn bells() -> (cueline::ActorSpec<Bell>, Arc<AtomicUsize>) {
    let made = Arc::new(AtomicUsize::new(0));
    let counts = made.clone();
    (actor("bell", move || Bell(counts.fetch_add(1, SeqCst))), made)
}

fn who(runtime: &Runtime) -> Option<usize> {
    let bell = runtime.actor::<Bell>("tests/bell")?;
    pollster::block_on(bell.send(Ask::WhoAreYou)).ok()
}

fn comes(runtime: &Runtime, number: usize) {
    let asks = runtime.clone();
    within("it is there", move || while who(&asks) != Some(number) {});
}

#[test]
fn a_plain_actor_is_started_anew_when_it_panics_or_stops() {
    let (spec, _) = bells();
    let runtime = Runtime::builder("test").supervise(supervisor().child(spec)).start().unwrap();
    comes(&runtime, 0);
    for (told, next) in [(Ask::Panic, 1), (Ask::Stop, 2)] {
        runtime.actor::<Bell>("tests/bell").unwrap().do_send(told);
        comes(&runtime, next);
    }
    let child = runtime.tree().children[0].children[0].clone();
    assert_eq!(
        (child.kind, child.state, child.restarts),
        (ChildKind::Actor, ChildState::Running, 2)
    );
    assert_eq!(child.last_failure.as_deref(), Some("normal"));
    assert!(runtime.processors().is_empty(), "it is no processor");
    // Stopped by hand it stays down, and has no address.
    let sup = runtime.supervisor("tests").unwrap();
    sup.stop("bell").wait().unwrap();
    assert_eq!(who(&runtime), None);
    sup.restart("bell").wait().unwrap();
    comes(&runtime, 3);
    within("shutdown", move || runtime.shutdown(secs(30)).wait()).unwrap();
}

/// Does not stop when it is asked to.
struct Stubborn(Arc<AtomicBool>);
impl Actor for Stubborn {
    type Context = ActorContextOf<Self>;
    fn stopping(&mut self, _: &mut Self::Context) -> actix::Running {
        actix::Running::Continue
    }
}
impl Drop for Stubborn {
    fn drop(&mut self) {
        self.0.store(true, SeqCst);
    }
}

#[test]
fn an_actor_that_will_not_stop_is_killed() {
    let gone = Arc::new(AtomicBool::new(false));
    let tells = gone.clone();
    let stubborn = actor("stubborn", move || Stubborn(tells.clone())).stop_within(millis(20));
    let runtime = Runtime::builder("test").supervise(supervisor().child(stubborn)).start().unwrap();
    pollster::block_on(runtime.ready()).unwrap();
    let sup = runtime.supervisor("tests").unwrap();
    let end = sup.watch("stubborn").unwrap();
    within("it is stopped", move || sup.stop("stubborn").wait()).unwrap();
    assert_eq!(end.wait(), Some(Reason::Killed));
    within("it is dropped", move || while !gone.load(SeqCst) {});
    assert!(runtime.actor::<Stubborn>("tests/stubborn").is_none());
}

struct Fails;
impl Actor for Fails {
    type Context = ActorContextOf<Self>;
    fn started(&mut self, _: &mut Self::Context) {
        panic!("in started");
    }
}

#[test]
fn an_actor_that_cannot_start_is_an_error_of_who_adds_it() {
    let runtime = Runtime::builder("test").supervise(supervisor()).start().unwrap();
    pollster::block_on(runtime.ready()).unwrap();
    let error = runtime.add("tests", actor("fails", || Fails)).wait().unwrap_err();
    assert!(error.to_string().contains("it panicked: in started"), "{error}");
    let factory = actor("fails", || -> Bell { panic!("in the factory") });
    let error = runtime.add("tests", factory).wait().unwrap_err();
    assert!(error.to_string().contains("in the factory"), "{error}");
    assert_eq!(runtime.supervisor("tests").unwrap().count().unwrap().specs, 0);
}

#[test]
fn a_pool_of_actors_gives_each_its_argument() {
    let template = actor_with("bell", |number: &usize| Bell(*number));
    let pool = Pool::new("bells", template);
    let runtime = Runtime::builder("test").supervise(supervisor().child(pool)).start().unwrap();
    let pool = runtime.pool::<usize>("tests/bells").unwrap();
    let child = pool.start(42).wait().unwrap();
    let name = pool.children().unwrap()[0].name.clone();
    let bell = runtime.actor::<Bell>(&format!("tests/bells/{name}")).unwrap();
    assert_eq!(pollster::block_on(bell.send(Ask::WhoAreYou)).unwrap(), 42);
    pool.stop(&child).wait().unwrap();
    assert!(!bell.connected());
}

/// What a pool's members are made from is there for others to come, and each is found by its names.
#[test]
fn a_pool_of_supervisors_starts_others_when_some_are_gone() {
    let hall = Supervisor::new("hall").child(actor("bell", || Bell(7)));
    let pool = Pool::new("halls", hall);
    let runtime = Runtime::builder("test").supervise(supervisor().child(pool)).start().unwrap();
    let pool = runtime.pool::<()>("tests/halls").unwrap();
    let first = pool.start(()).wait().unwrap();
    pool.start(()).wait().unwrap();
    pool.stop(&first).wait().unwrap();
    pool.start(()).wait().unwrap();
    let names: Vec<String> = pool.children().unwrap().into_iter().map(|hall| hall.name).collect();
    assert_eq!(names.len(), 2);
    for name in names {
        let bell = runtime.actor::<Bell>(&format!("tests/halls/{name}/bell")).unwrap();
        assert_eq!(pollster::block_on(bell.send(Ask::WhoAreYou)).unwrap(), 7);
    }
    runtime.shutdown(secs(10)).wait().unwrap();
}

/// A member that leaves by its own name takes nothing of the others with it.
#[test]
fn a_member_is_removed_by_its_name_and_another_started() {
    let log = Log::default();
    let seen = log.clone();
    let template = processor_with("member", move |number: &u32| Member(*number, seen.clone()))
        .on::<Number>()
        .own_subscription(|_: &u32, _| true);
    let pool = Pool::new("pool", template);
    let runtime = Runtime::builder("test").supervise(supervisor().child(pool)).start().unwrap();
    let pool = runtime.pool::<u32>("tests/pool").unwrap();
    pool.start(0).wait().unwrap();
    let name = pool.children().unwrap()[0].name.clone();
    runtime.remove(&name).unwrap();
    pool.start(1).wait().unwrap();
    publish(&runtime, [keyed(0, 5)]);
    idle(&runtime);
    assert_eq!(log.all(), [(1, 0, 5)]);
}

/// Writes down who handled what.
struct Member(u32, Log<(u32, u32, u64)>);
impl Processor for Member {}
impl Handle<Number> for Member {
    async fn handle(&mut self, event: &Number, _: &mut Context) -> Outcome {
        self.1.push((self.0, event.key.unwrap_or_default(), event.value));
        Ok(())
    }
}

#[test]
fn members_of_a_pool_share_its_events_and_keep_the_order_of_each_key() {
    let log = Log::default();
    let seen = log.clone();
    let template = processor_with("member", move |number: &u32| Member(*number, seen.clone()));
    let pool = Pool::new("pool", template.on::<Number>());
    let runtime =
        Runtime::builder("test").threads(2).supervise(supervisor().child(pool)).start().unwrap();
    let pool = runtime.pool::<u32>("tests/pool").unwrap();
    let members: Vec<_> = (0..4).map(|number| pool.start(number).wait().unwrap()).collect();
    publish(&runtime, (0..1_000).map(|value| keyed(value as u32 % 7, value)));
    pool.stop(&members[0]).wait().unwrap();
    publish(&runtime, (1_000..2_000).map(|value| keyed(value as u32 % 7, value)));
    idle(&runtime);
    let log = log.all();
    assert_eq!(log.len(), 2_000, "each once");
    for key in 0..7 {
        let own: Vec<u64> =
            log.iter().filter(|(_, of, _)| *of == key).map(|(.., value)| *value).collect();
        assert!(own.is_sorted(), "{key}");
    }
}

#[test]
fn members_with_subscriptions_of_their_own_get_what_is_theirs() {
    let log = Log::default();
    let seen = log.clone();
    let template = processor_with("member", move |number: &u32| Member(*number, seen.clone()))
        .on::<Number>()
        .own_subscription(|number: &u32, key| key == Some(&Key::from(*number)));
    let pool = Pool::new("pool", template);
    let runtime = Runtime::builder("test").supervise(supervisor().child(pool)).start().unwrap();
    let pool = runtime.pool::<u32>("tests/pool").unwrap();
    let members: Vec<_> = (0..3).map(|number| pool.start(number).wait().unwrap()).collect();
    publish(&runtime, (0..30).map(|value| keyed(value as u32 % 5, value)));
    idle(&runtime);
    let log = log.all();
    assert_eq!(log.len(), 18);
    assert!(log.iter().all(|(member, key, _)| member == key));
    // One that is gone for good has left nothing, since it was through.
    pool.stop(&members[0]).wait().unwrap();
    assert_eq!(runtime.processors().len(), 2);
    assert!(runtime.parked().is_empty());
}
