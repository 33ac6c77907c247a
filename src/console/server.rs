//! The plain endpoints.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use actix_web::{App, HttpResponse, HttpServer, web};

use super::Watched;

type Data = web::Data<Arc<dyn Watched>>;

/// Serves on that address; returns where it listens. Runs until its thread's system ends.
pub(crate) fn serve(address: SocketAddr, watched: Arc<dyn Watched>) -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind(address)?;
    let bound = listener.local_addr()?;
    let data = web::Data::new(watched);
    let server = HttpServer::new(move || {
        App::new()
            .app_data(data.clone())
            .route("/metrics", web::get().to(metrics))
            .route("/healthz", web::get().to(healthz))
            .route("/readyz", web::get().to(readyz))
            .default_service(web::to(elsewhere))
    });
    let server = server.workers(1).disable_signals().shutdown_timeout(1).listen(listener)?.run();
    actix_rt::spawn(server);
    Ok(bound)
}

async fn metrics(watched: Data) -> HttpResponse {
    match watched.metrics() {
        Some(text) => {
            HttpResponse::Ok().content_type("text/plain; version=0.0.4; charset=utf-8").body(text)
        }
        None => text(HttpResponse::NotFound(), "built without the feature `prometheus`\n"),
    }
}

/// Alive: the control thread answers.
async fn healthz() -> HttpResponse {
    text(HttpResponse::Ok(), "ok\n")
}

/// Ready: everything is built and takes events. If not, the body says why.
async fn readyz(watched: Data) -> HttpResponse {
    let why = watched.not_ready();
    if why.is_empty() {
        return text(HttpResponse::Ok(), "ready\n");
    }
    text(HttpResponse::ServiceUnavailable(), why.join("\n") + "\n")
}

async fn elsewhere() -> HttpResponse {
    text(HttpResponse::NotFound(), "there are /metrics, /healthz and /readyz\n")
}

fn text(mut response: actix_web::HttpResponseBuilder, body: impl Into<String>) -> HttpResponse {
    response
        .content_type("text/plain; charset=utf-8")
        .insert_header(("x-content-type-options", "nosniff"))
        .body(body.into())
}
