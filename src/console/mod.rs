//! What a runtime shows over HTTP. For now the plain endpoints: `/metrics`, `/healthz` and
//! `/readyz`, served on the control thread, where no user code can hold them up.

mod server;

pub(crate) use server::serve;

/// What the endpoints ask of a runtime.
pub(crate) trait Watched: Send + Sync {
    /// All metrics in Prometheus' text format; none if they are not rendered here.
    fn metrics(&self) -> Option<String>;

    /// What keeps the runtime from being ready, one line each; empty if it is.
    fn not_ready(&self) -> Vec<String>;
}
