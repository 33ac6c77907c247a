//! What a runtime consists of, before it starts.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr, ToSocketAddrs};

use super::handle::Runtime;
use crate::error::Error;
use crate::message::Event;
use crate::signal::Observer;
use crate::store::Store;
use crate::store::channel::Channel;
use crate::supervise::Supervisor;

/// Says what a runtime consists of; made by [`Runtime::builder`].
///
/// ```
/// # use cueline::prelude::*;
/// # fn main() -> Result<(), Error> {
/// let runtime = Runtime::builder("airline")
///     .store(Store::memory())
///     .threads(2)
///     .hop_limit(16)
///     .supervise(Supervisor::new("operations"))
///     .start()?;
/// assert!(runtime.why_not_ready().is_empty());
/// # Ok(())
/// # }
/// ```
pub struct RuntimeBuilder {
    pub(super) name: String,
    pub(super) store: Store,
    pub(super) supervisors: Vec<Supervisor>,
    pub(super) threads: usize,
    pub(super) hop_limit: u16,
    pub(super) observers: Vec<Box<dyn Observer>>,
    pub(super) serve: Option<Result<SocketAddr, Error>>,
    pub(super) channels: HashMap<&'static str, Channel>,
}

impl RuntimeBuilder {
    pub(super) fn new(name: impl Into<String>) -> Self {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            name: name.into(),
            store: Store::memory(),
            supervisors: Vec::new(),
            threads,
            hop_limit: 64,
            observers: Vec::new(),
            serve: None,
            channels: HashMap::new(),
        }
    }

    /// Where events and state are kept. Default: in memory.
    #[must_use]
    pub fn store(mut self, store: impl Into<Store>) -> Self {
        self.store = store.into();
        self
    }

    /// Says something about the channel of an event type. The last word counts.
    #[must_use]
    pub fn channel<E: Event>(mut self, channel: Channel) -> Self {
        self.channels.insert(E::NAME, channel);
        self
    }

    /// Adds a supervisor with its children.
    #[must_use]
    pub fn supervise(mut self, supervisor: Supervisor) -> Self {
        self.supervisors.push(supervisor);
        self
    }

    /// On how many threads processors live. Default: as many as the machine has cores.
    #[must_use]
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = threads;
        self
    }

    /// How many handlers may lie between an initiating event and its last descendant. A handler
    /// that publishes beyond that has its event parked, with the last topics of its path. Default:
    /// 64.
    #[must_use]
    pub fn hop_limit(mut self, hops: u16) -> Self {
        self.hop_limit = hops;
        self
    }

    /// Tells an observer of every fact the runtime states. Several may be added; metrics are kept
    /// in any case.
    #[must_use]
    pub fn observe(mut self, observer: impl Observer) -> Self {
        self.observers.push(Box::new(observer));
        self
    }

    /// Serves `/metrics`, `/healthz` and `/readyz` on that address. A port alone, as in `9600`, is
    /// served on the loopback address `127.0.0.1`; name another only if its network is trusted:
    /// there is no login. Port 0 picks a free one; [`Runtime::address`] tells which.
    #[must_use]
    pub fn serve(mut self, address: impl std::fmt::Display) -> Self {
        let address = address.to_string();
        let port = address.strip_prefix(':').unwrap_or(&address).parse::<u16>();
        let found = match port.map_or_else(
            |_| address.to_socket_addrs().map(Iterator::collect::<Vec<_>>),
            |port| Ok(vec![SocketAddr::from((Ipv4Addr::LOCALHOST, port))]),
        ) {
            Ok(addresses) => addresses.first().copied().ok_or("it names no address".to_owned()),
            Err(error) => Err(error.to_string()),
        };
        self.serve = Some(found.map_err(|why| {
            Error::config(format!("cannot serve on `{address}`: {why}; try `127.0.0.1:9600`"))
        }));
        self
    }

    /// Checks everything and starts it on threads of its own. Returns when all subscriptions are in
    /// place: what is published from now on reaches them.
    ///
    /// # Errors
    ///
    /// `Config`: names that clash or are ill-formed, a type handled twice, a bound of zero, an
    /// address that is none, `panic = "abort"`. `System`: a thread or a socket that the operating
    /// system refuses. Each says what to do.
    pub fn start(self) -> Result<Runtime, Error> {
        super::wiring::start(self)
    }
}
