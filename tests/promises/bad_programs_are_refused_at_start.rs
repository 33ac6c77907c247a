use cueline::prelude::*;
use cueline::{ErrorKind, IntoChild};
use serde::{Deserialize, Serialize};

use crate::support::{Number, number, one, supervisor, with};

#[derive(Serialize, Deserialize)]
struct Impostor;
cueline::event!(Impostor, "number");

#[derive(Serialize, Deserialize)]
struct Shouting;
cueline::event!(Shouting, "Flight Cancelled");

struct Any;
impl Processor for Any {}
impl<E: Event> Handle<E> for Any {
    async fn handle(&mut self, _: &E, _: &mut Context) -> Outcome {
        Ok(())
    }
}

fn refused(children: Vec<Box<dyn FnOnce(Supervisor) -> Supervisor>>) -> String {
    let all = children.into_iter().fold(supervisor(), |all, add| add(all));
    let error = Runtime::builder("test").supervise(all).start().err().expect("it must not start");
    assert_eq!(error.kind(), ErrorKind::Config);
    error.to_string()
}

fn child(child: impl IntoChild + 'static) -> Box<dyn FnOnce(Supervisor) -> Supervisor> {
    Box::new(move |all| all.child(child))
}

#[test]
fn two_types_of_one_name_are_named_both() {
    let text = refused(vec![
        child(processor("a", || Any).on::<Number>()),
        child(processor("b", || Any).on::<Impostor>()),
    ]);
    assert!(text.contains("Number") && text.contains("Impostor"), "{text}");
    let text = refused(vec![child(processor("a", || Any).on::<Number>().emits::<Impostor>())]);
    assert!(text.contains("Number") && text.contains("Impostor"), "{text}");
}

#[test]
fn two_types_of_one_name_are_refused_at_first_publish_if_undeclared() {
    let runtime = one(with("numbers", |_, _| Ok(())));
    let refused = runtime.publish(Impostor).wait().unwrap_err();
    assert!(refused.to_string().contains("Number"), "{refused}");
    runtime.publish(number(1)).wait().unwrap();
}

#[test]
fn ill_formed_names_say_what_a_good_one_looks_like() {
    let text = refused(vec![child(processor("a", || Any).on::<Shouting>())]);
    assert!(text.contains("Flight Cancelled") && text.contains("flight.cancelled"), "{text}");
    let text = refused(vec![child(processor("Delay Board", || Any).on::<Number>())]);
    assert!(text.contains("Delay Board"), "{text}");
}

#[test]
fn a_type_handled_twice_and_two_processors_of_one_name_are_named() {
    let text = refused(vec![child(processor("a", || Any).on::<Number>().on::<Number>())]);
    assert!(text.contains("`a`") && text.contains("twice"), "{text}");
    let text = refused(vec![
        child(processor("same", || Any).on::<Number>()),
        child(processor("same", || Any).on::<Number>()),
    ]);
    assert!(text.contains("`same`"), "{text}");
}

#[test]
fn a_processor_that_neither_handles_nor_publishes_anything_is_refused() {
    let text = refused(vec![child(processor("idle", || Any))]);
    assert!(text.contains("`idle`") && text.contains(".on::<E>()"), "{text}");
}

#[test]
fn two_types_of_one_name_in_one_processor_are_named_both() {
    let text = refused(vec![child(processor("a", || Any).on::<Number>().on::<Impostor>())]);
    assert!(text.contains("Number") && text.contains("Impostor"), "{text}");
}

#[test]
fn bounds_of_zero_are_refused() {
    let zeros: [fn() -> Box<dyn FnOnce(Supervisor) -> Supervisor>; 4] = [
        || child(processor("a", || Any).on::<Number>().instances(0)),
        || child(processor("a", || Any).on::<Number>().bound(0)),
        || child(processor("a", || Any).on::<Number>().bound_bytes(0)),
        || child(processor("a", || Any).on::<Number>().held(0)),
    ];
    for zero in zeros {
        let text = refused(vec![zero()]);
        assert!(text.contains("(0)"), "{text}");
    }
}

#[test]
fn channels_that_take_or_know_nothing_are_refused() {
    use cueline::{Acknowledge, Channel};
    let channels = [
        (Channel::default().limit(0), "`limit(0)`"),
        (Channel::default().limit_bytes(0), "`limit_bytes(0)`"),
        (Channel::default().dedup(hours(1), 0), "`dedup(.., 0)`"),
        (Channel::default().dedup(millis(0), 9), "`dedup(0, ..)`"),
    ];
    for (channel, named) in channels {
        let error = Runtime::builder("test").channel::<Number>(channel).start().err().unwrap();
        assert!(error.to_string().contains(named), "{error}");
    }
    let lease = Acknowledge::ByHand { lease: millis(0) };
    let of = child(processor("a", || Any).on::<Number>().acknowledge(lease));
    assert!(refused(vec![of]).contains("a lease of zero"));
}

#[test]
fn an_address_that_is_taken_or_wrong_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let error = Runtime::builder("test").serve(address).start().err().unwrap();
    assert!(error.to_string().contains(&address.to_string()), "{error}");
    let error = Runtime::builder("test").serve("nowhere").start().err().unwrap();
    assert!(error.to_string().contains("nowhere"), "{error}");
}
