//! What the campaign's replicas run: this very program, asked to be one.
//!
//! Every request takes a tenth of a second, so that there is always something in flight to
//! be lost. A POST is written down before it is answered: what stands there twice was
//! executed twice.

use std::fs::File;
use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix_web::web::{self, Bytes, Data};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer};

/// How long a request takes.
const WORK: Duration = Duration::from_millis(100);
/// From one event of a stream to the next.
const TICK: Duration = Duration::from_millis(50);
/// Where POSTs are written down.
pub const LEDGER: &str = "CHAOS_LEDGER";

type Ledger = Data<Arc<Mutex<File>>>;

pub fn run() -> std::io::Result<()> {
    let port: u16 = std::env::var("PORT")
        .ok()
        .and_then(|port| port.parse().ok())
        .expect("the balancer sets PORT");
    let ledger = std::env::var_os(LEDGER).expect("the campaign sets it");
    let ledger = File::options().create(true).append(true).open(ledger)?;
    let ledger = Arc::new(Mutex::new(ledger));
    actix_web::rt::System::new().block_on(async move {
        HttpServer::new(move || {
            App::new()
                .app_data(Data::new(Arc::clone(&ledger)))
                .route("/heartbeat", web::get().to(HttpResponse::Ok))
                .route("/events", web::get().to(events))
                .route("/count/{id}", web::post().to(count))
                .default_service(web::to(answer))
        })
        .workers(1)
        .bind(("127.0.0.1", port))?
        .run()
        .await
    })
}

async fn answer(request: HttpRequest, body: Bytes) -> HttpResponse {
    tokio::time::sleep(WORK).await;
    if request.method() == "GET" {
        return HttpResponse::Ok().body(std::process::id().to_string());
    }
    HttpResponse::Ok().body(body)
}

async fn count(id: web::Path<u64>, ledger: Ledger) -> HttpResponse {
    let written = {
        let mut ledger = ledger.lock().expect("no thread panics with it");
        // In one piece: others write to it at the same time.
        ledger.write_all(format!("{id}\n").as_bytes())
    };
    tokio::time::sleep(WORK).await;
    match written {
        Ok(()) => HttpResponse::Ok().finish(),
        Err(error) => HttpResponse::InternalServerError().body(error.to_string()),
    }
}

async fn events() -> HttpResponse {
    let ticks = futures::stream::unfold(0u64, |count| async move {
        tokio::time::sleep(TICK).await;
        let event = Bytes::from(format!("data: {count}\n\n"));
        Some((Ok::<_, std::io::Error>(event), count + 1))
    });
    HttpResponse::Ok()
        .content_type("text/event-stream")
        .streaming(ticks)
}
