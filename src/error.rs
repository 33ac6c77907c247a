//! What can go wrong, as values: [`Error`] for the application that embeds a runtime, [`Refused`]
//! for a publisher, [`Failure`] for a handler.

use std::fmt;

/// What kind of mistake or state an [`Error`] reports. Match on this; the text is for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The program as written cannot run: names clash, a bound is zero, a type is handled twice.
    Config,
    /// The operating system refused something: a thread, a socket.
    System,
    /// The runtime has stopped, or is stopping.
    Closed,
    /// There is no processor, parked event or state by that name or id.
    NotFound,
    /// Something else changed the thing first; look again and decide anew.
    Conflict,
    /// A child could not start; the text says what it said.
    StartFailed,
    /// A child of a pool has nothing to do, and was not started.
    Ignored,
    /// The tree of supervisors gave up: the text names the child and what it said.
    GaveUp,
    /// What must outlive the process cannot be read or written; the text says what the file system
    /// said.
    Storage,
    /// What must outlive the process is damaged, and somebody has to decide what to do; the text says what
    /// is lost.
    Damaged,
    /// The disk is full, or the log has reached its limit: nothing new is taken in until enough has
    /// been consumed, or there is room again.
    NoSpace,
    /// An event, or what is to be kept together, is larger than a log takes.
    TooLarge,
    /// A channel is at its limit, and whoever sends is refused there.
    Full,
    /// No processor handles the command.
    NoHandler,
    /// Nobody answered in time. The command may still be handled.
    TimedOut,
    /// Whoever handled the command failed for good; see [`Error::failure`].
    Failed,
    /// Whoever asks would wait for itself: the text names the circle. Or it is further from what began it
    /// than the hop limit allows, which is a loop as well.
    WaitsForItself,
    /// A call that would wait for the runtime was made inside one of its own handlers.
    InsideHandler,
}

/// An error of the runtime itself: what happened, and what to do about it.
///
/// ```
/// use cueline::{ErrorKind, Runtime};
/// let error = Runtime::builder("Not A Name").start().err().unwrap();
/// assert_eq!(error.kind(), ErrorKind::Config);
/// assert!(error.to_string().contains("lower-case"));
/// ```
#[derive(Debug, Clone)]
pub struct Error {
    kind: ErrorKind,
    text: String,
    failure: Option<Failure>,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, text: impl Into<String>) -> Self {
        Self { kind, text: text.into(), failure: None }
    }

    pub(crate) fn config(text: impl Into<String>) -> Self {
        Self::new(ErrorKind::Config, text)
    }

    pub(crate) fn not_found(text: impl Into<String>) -> Self {
        Self::new(ErrorKind::NotFound, text)
    }

    pub(crate) fn closed() -> Self {
        Self::new(ErrorKind::Closed, "the runtime has stopped; start a new one to go on")
    }

    pub(crate) fn no_space() -> Self {
        Self::new(
            ErrorKind::NoSpace,
            "the disk is full, the log has reached its limit, or the process may open no more files: \
             publish again when processors have worked something off; free some room, raise `limit` or \
             `ulimit -n`, or look who is slow (`cueline-log stats`)",
        )
    }

    pub(crate) fn too_large(what: &str, most: usize) -> Self {
        Self::new(
            ErrorKind::TooLarge,
            format!(
                "{what} of more than {} MiB: keep what is large elsewhere, and publish where it is",
                most >> 20
            ),
        )
    }

    pub(crate) fn asked_inside_handler() -> Self {
        Self::new(
            ErrorKind::InsideHandler,
            "`runtime.request` was called inside a handler, of which nobody would know that it waits: use \
             `cx.request`",
        )
    }

    pub(crate) fn inside_handler(call: &str) -> Self {
        Self::new(
            ErrorKind::InsideHandler,
            format!(
                "`runtime.{call}` was called inside a handler, which would wait for itself or leave \
                 before its acknowledgement; use cx: `cx.publish` leaves together with it"
            ),
        )
    }

    /// The handler of a command failed for good.
    pub(crate) fn failed(command: &str, attempts: u32, failure: Failure) -> Self {
        let times = if attempts == 1 { "once".to_owned() } else { format!("{attempts} times") };
        let said = failure.chain().join(": ");
        let text = format!("`{command}` was tried {times}, and failed: {said}");
        Self { kind: ErrorKind::Failed, text, failure: Some(failure) }
    }

    /// A workflow failed.
    pub(crate) fn of_workflow(failure: Failure) -> Self {
        let text = format!("the workflow failed: {}", failure.chain().join(": "));
        Self { kind: ErrorKind::Failed, text, failure: Some(failure) }
    }

    /// What the handler of a command said ([`ErrorKind::Failed`]): its chain of errors and its reason.
    pub fn failure(&self) -> Option<&Failure> {
        self.failure.as_ref()
    }

    /// The kind, to match on.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Error {}

/// A publication that was not accepted. It gives back what was not: nothing is lost by it.
///
/// `Debug` and `Display` never show the event.
///
/// ```
/// use cueline::Refused;
/// let refused = Refused::Full("an event");
/// assert!(refused.to_string().contains("no room"));
/// assert_eq!(refused.into_event(), Some("an event"));
/// ```
pub enum Refused<E> {
    /// A subscription of this topic is full, and the caller did not want to wait.
    Full(E),
    /// The runtime has stopped, or is stopping.
    Closed(E),
    /// The call was made inside a handler: it would wait for itself, or leave before its
    /// acknowledgement. Use `cx.publish`.
    InsideHandler(E),
    /// The disk is full, or the log has reached its limit. It is taken again as soon as there is room,
    /// without a restart.
    NoSpace(E),
    /// The log cannot be written now; the error says why. It is tried again all the time, and the event
    /// is taken again as soon as it can, without a restart.
    LogFailed(E, Error),
    /// The event cannot be published as it is; the error says why.
    Invalid(E, Error),
    /// It was handed over, and it is not known whether it will be kept: the log cannot be written. The
    /// error says why. The event cannot be given back; if it is published again under the same
    /// [`dedup_key`](crate::Publish::dedup_key), it is there once.
    NotKept(Error),
}

impl<E> Refused<E> {
    /// Takes the refused event out again; none if it was handed over ([`Refused::NotKept`]).
    pub fn into_event(self) -> Option<E> {
        match self {
            Self::Full(event)
            | Self::Closed(event)
            | Self::InsideHandler(event)
            | Self::NoSpace(event)
            | Self::LogFailed(event, _)
            | Self::Invalid(event, _) => Some(event),
            Self::NotKept(_) => None,
        }
    }
}

impl<E> Refused<E> {
    /// Another time it may be taken in.
    pub(crate) fn is_for_now(&self) -> bool {
        matches!(self, Self::Full(_) | Self::NoSpace(_) | Self::LogFailed(..))
    }

    /// Why it was refused.
    pub(crate) fn into_error(self) -> Error {
        match self {
            Self::Invalid(_, error) | Self::LogFailed(_, error) | Self::NotKept(error) => error,
            Self::Closed(_) => Error::closed(),
            Self::NoSpace(_) => Error::no_space(),
            Self::InsideHandler(_) => Error::asked_inside_handler(),
            Self::Full(_) => Error::new(ErrorKind::Full, self.to_string()),
        }
    }

    /// Nothing is taken in now.
    pub(crate) fn unable(event: E, why: Error) -> Self {
        match why.kind() {
            ErrorKind::NoSpace => Self::NoSpace(event),
            _ => Self::LogFailed(event, why),
        }
    }
}

impl<E> fmt::Display for Refused<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full(_) => f.write_str(
                "full: a subscription of this topic has no room; wait with `publish`, raise its \
                 `bound`, or let it drop with `when_full`",
            ),
            Self::Closed(_) => Error::closed().fmt(f),
            Self::InsideHandler(_) => Error::inside_handler("publish").fmt(f),
            Self::NoSpace(_) => Error::no_space().fmt(f),
            Self::Invalid(_, error) | Self::LogFailed(_, error) | Self::NotKept(error) => {
                error.fmt(f)
            }
        }
    }
}

impl<E> fmt::Debug for Refused<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Self::Full(_) => "Full",
            Self::Closed(_) => "Closed",
            Self::InsideHandler(_) => "InsideHandler",
            Self::NoSpace(_) => "NoSpace",
            Self::LogFailed(..) => "LogFailed",
            Self::Invalid(..) => "Invalid",
            Self::NotKept(_) => "NotKept",
        };
        write!(f, "{name}({self})")
    }
}

impl<E> std::error::Error for Refused<E> {}

/// What a handler returns: `Ok`, or a [`Failure`].
pub type Outcome<T = ()> = Result<T, Failure>;

/// Why a handler did not do its work.
///
/// Any error becomes a *transient* failure by `?`: the event is retried with back-off and parked
/// when its attempts are used up. [`Failure::permanent`] parks it at once. The error and its
/// sources are turned to text here and now, so errors need not be `Send`.
///
/// `Failure` does not implement [`std::error::Error`] on purpose: that is what lets `?` take any
/// error.
///
/// ```
/// use cueline::prelude::*;
///
/// fn seats(text: &str) -> Outcome<u32> {
///     let seats: u32 = text.parse()?; // transient
///     if seats > 900 {
///         return Err(Failure::permanent("no aircraft has that many seats").reason("bad_seats"));
///     }
///     Ok(seats)
/// }
/// assert!(seats("1000").is_err());
/// ```
#[derive(Debug, Clone)]
pub struct Failure(Box<Facts>);

/// Boxed, so that a handler's `Ok` stays one word.
#[derive(Debug, Clone)]
struct Facts {
    permanent: bool,
    reason: Option<&'static str>,
    chain: Vec<String>,
}

impl Failure {
    /// A failure that may pass: try again.
    pub fn transient(text: impl Into<String>) -> Self {
        Self(Box::new(Facts { permanent: false, reason: None, chain: vec![text.into()] }))
    }

    /// A failure that no repetition cures: park the event.
    pub fn permanent(text: impl Into<String>) -> Self {
        Self(Box::new(Facts { permanent: true, reason: None, chain: vec![text.into()] }))
    }

    /// Names the reason by a fixed word, by which parked events are grouped and counted.
    #[must_use]
    pub fn reason(mut self, reason: &'static str) -> Self {
        self.0.reason = Some(reason);
        self
    }

    /// Whether retrying is pointless.
    pub fn is_permanent(&self) -> bool {
        self.0.permanent
    }

    /// The error and its sources, outermost first.
    pub fn chain(&self) -> &[String] {
        &self.0.chain
    }

    /// The reason that it was named by ([`Failure::reason`]).
    pub fn named_reason(&self) -> Option<&'static str> {
        self.0.reason
    }

    /// As it was, when it comes back from where it was kept.
    pub(crate) fn restored(
        permanent: bool,
        reason: Option<&'static str>,
        chain: Vec<String>,
    ) -> Self {
        Self(Box::new(Facts { permanent, reason, chain }))
    }

    pub(crate) fn into_chain(self) -> Vec<String> {
        self.0.chain
    }

    fn of(error: &dyn std::error::Error, permanent: bool) -> Self {
        let mut chain = vec![error.to_string()];
        let mut source = error.source();
        while let Some(error) = source {
            chain.push(error.to_string());
            source = error.source();
        }
        Self(Box::new(Facts { permanent, reason: None, chain }))
    }
}

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::of(&error, false)
    }
}

/// Says of a boxed error, an `anyhow::Error` or a plain text whether to try again.
///
/// ```
/// use cueline::prelude::*;
/// fn look_up(tail: &str) -> Result<u32, Box<dyn std::error::Error>> {
///     Err(format!("the registry does not answer for {tail}").into())
/// }
/// fn handle() -> Outcome<u32> {
///     look_up("N14228").transient()
/// }
/// assert!(!handle().unwrap_err().is_permanent());
/// ```
pub trait FailureExt<T> {
    /// Retry, then park.
    fn transient(self) -> Outcome<T>;
    /// Park at once.
    fn permanent(self) -> Outcome<T>;
}

impl<T, E: Into<Box<dyn std::error::Error>>> FailureExt<T> for Result<T, E> {
    fn transient(self) -> Outcome<T> {
        self.map_err(|error| Failure::of(&*error.into(), false))
    }

    fn permanent(self) -> Outcome<T> {
        self.map_err(|error| Failure::of(&*error.into(), true))
    }
}
