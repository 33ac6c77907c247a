//! Inside an actix-web server: a handler publishes and answers at once, a processor works on.
//! Starts the server, calls it, and stops it. `cargo run --example in_actix_web`

use std::io::{Read, Write};
use std::net::TcpStream;

use actix_web::{App, HttpResponse, HttpServer, web};
use cueline::prelude::*;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct OrderPlaced {
    item: String,
}
cueline::event!(OrderPlaced, "order.placed");

struct Kitchen;
impl Processor for Kitchen {}
impl Handle<OrderPlaced> for Kitchen {
    async fn handle(&mut self, event: &OrderPlaced, _: &mut Context) -> Outcome {
        tokio::time::sleep(millis(20)).await;
        println!("kitchen: {} is ready", event.item);
        Ok(())
    }
}

async fn order(item: web::Path<String>, runtime: web::Data<Runtime>) -> HttpResponse {
    match runtime.publish(OrderPlaced { item: item.into_inner() }).await {
        Ok(id) => HttpResponse::Accepted().body(format!("order {id} is taken")),
        Err(refused) => HttpResponse::ServiceUnavailable().body(refused.to_string()),
    }
}

#[actix_web::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let house =
        Supervisor::new("house").child(processor("kitchen", || Kitchen).on::<OrderPlaced>());
    let runtime = Runtime::builder("in_actix_web").supervise(house).start()?;
    let shared = web::Data::new(runtime.clone());
    let server = HttpServer::new(move || {
        App::new().app_data(shared.clone()).route("/order/{item}", web::post().to(order))
    })
    .workers(1)
    .bind("127.0.0.1:0")?;
    let address = server.addrs()[0];
    let server = server.run();
    let handle = server.handle();
    actix_web::rt::spawn(server);
    for item in ["soup", "bread"] {
        let answer = web::block(move || call(address, item)).await??;
        println!("server: {answer}");
    }
    runtime.idle().await;
    runtime.shutdown(secs(1)).await?;
    handle.stop(true).await;
    Ok(())
}

/// The body of the answer to one request.
fn call(address: std::net::SocketAddr, item: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    write!(stream, "POST /order/{item} HTTP/1.1\r\nHost: house\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer.rsplit("\r\n").next().unwrap_or_default().to_owned())
}
