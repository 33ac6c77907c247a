//! What these tests share: a command that is answered as a closure says.

use std::pin::Pin;
use std::sync::Arc;

use cueline::prelude::*;
use cueline::{ProcessorSpec, Serves};
use serde::{Deserialize, Serialize};

use crate::support::{quick, supervisor, within};

/// Answered with twice its value.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Twice {
    pub value: u64,
    pub key: Option<u32>,
}
impl Message for Twice {
    const NAME: &'static str = "twice";
    type Reply = u64;
    fn key(&self) -> Option<Key> {
        self.key.map(Key::from)
    }
}

pub fn twice(value: u64) -> Twice {
    Twice { value, key: None }
}

/// Another one.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Thrice(pub u64);
cueline::command!(Thrice, "thrice" => u64);

pub type Answer<'a> = Pin<Box<dyn Future<Output = Outcome<u64>> + 'a>>;
type Answers = dyn for<'a> Fn(&'a Twice, &'a mut Context) -> Answer<'a> + Send + Sync;
type AnswersThrice = dyn for<'a> Fn(&'a Thrice, &'a mut Context) -> Answer<'a> + Send + Sync;

pub struct Server(Arc<Answers>);
impl Processor for Server {}
impl Handle<Twice> for Server {
    async fn handle(&mut self, command: &Twice, cx: &mut Context) -> Outcome<u64> {
        (self.0)(command, cx).await
    }
}

pub struct ThriceServer(Arc<AnswersThrice>);
impl Processor for ThriceServer {}
impl Handle<Thrice> for ThriceServer {
    async fn handle(&mut self, command: &Thrice, cx: &mut Context) -> Outcome<u64> {
        (self.0)(command, cx).await
    }
}

/// A processor that answers `Twice` as the closure says.
pub fn server(
    answers: impl for<'a> Fn(&'a Twice, &'a mut Context) -> Answer<'a> + Send + Sync + 'static,
) -> ProcessorSpec<Server, (Serves<Twice>, ())> {
    let answers: Arc<Answers> = Arc::new(answers);
    processor("server", move || Server(answers.clone())).serves::<Twice>().retry(quick(3))
}

pub fn thrice_server(
    answers: impl for<'a> Fn(&'a Thrice, &'a mut Context) -> Answer<'a> + Send + Sync + 'static,
) -> ProcessorSpec<ThriceServer, (Serves<Thrice>, ())> {
    let answers: Arc<AnswersThrice> = Arc::new(answers);
    processor("thrice", move || ThriceServer(answers.clone())).serves::<Thrice>().retry(quick(3))
}

/// As it should be.
pub fn doubles<'a>(command: &'a Twice, _: &'a mut Context) -> Answer<'a> {
    Box::pin(async { Ok(command.value * 2) })
}

pub fn run(child: impl IntoChild) -> Runtime {
    Runtime::builder("test").threads(2).supervise(supervisor().child(child)).start().unwrap()
}

/// Waits until somebody waits for a reply.
pub fn one_is_sent(runtime: &Runtime) {
    let runtime = runtime.clone();
    within("somebody waits for a reply", move || {
        while runtime.requests().outstanding == 0 {
            std::thread::yield_now();
        }
    });
}

pub fn stop(runtime: &Runtime) {
    runtime.shutdown(secs(10)).wait().unwrap();
}
