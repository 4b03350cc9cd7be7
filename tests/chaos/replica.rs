//! What the campaign's replicas run: this very program, asked to be one.
//!
//! Every request takes a tenth of a second, so that there is always something in flight to
//! be lost. A POST is reported to the accounting server before it is answered.

use std::io::{self, BufRead, BufReader, Write};
use std::net::IpAddr;
use std::time::Duration;

use actix_web::web::{self, Bytes, Data};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::accounting::{GO_ON, HELLO, POST};

/// How long a request takes.
const WORK: Duration = Duration::from_millis(100);
/// From one event of a stream to the next.
const TICK: Duration = Duration::from_millis(50);
/// What is allocated at a time until memory is exhausted.
const BITE: usize = 1 << 20;
/// The variable with the accounting server's address.
pub const ACCOUNTING: &str = "CHAOS_ACCOUNTING";

/// This instance: its replica's name, and a number of this instance's own.
struct Me(String);

/// Serves at an address of this machine until told to stop.
pub fn run(at: IpAddr) -> io::Result<()> {
    let variable = |name: &str| std::env::var(name).map_err(io::Error::other);
    let port: u16 = variable("PORT")?.parse().map_err(io::Error::other)?;
    let (name, accounting) = (variable("SERVER_ID")?, variable(ACCOUNTING)?);
    if !may_begin(&accounting, &name)? {
        return Err(io::Error::other("this instance was refused"));
    }
    let me = Data::new(Me(format!("{name} {}", fastrand::u64(..))));
    let accounting = Data::new(accounting);
    actix_web::rt::System::new().block_on(async move {
        HttpServer::new(move || {
            App::new()
                .app_data(Data::clone(&accounting))
                .app_data(Data::clone(&me))
                .route("/heartbeat", web::get().to(HttpResponse::Ok))
                .route("/owner", web::get().to(owner))
                .route("/events", web::get().to(events))
                .route("/count/{id}", web::post().to(count))
                .route("/exhaust_memory", web::post().to(exhaust_memory))
                .default_service(web::to(answer))
        })
        .workers(1)
        .bind((at, port))?
        .run()
        .await
    })
}

fn may_begin(accounting: &str, name: &str) -> io::Result<bool> {
    let mut socket = std::net::TcpStream::connect(accounting)?;
    writeln!(socket, "{HELLO} {name}")?;
    let mut answer = String::new();
    BufReader::new(socket).read_line(&mut answer)?;
    Ok(answer.trim() == GO_ON)
}

async fn owner(me: Data<Me>) -> HttpResponse {
    HttpResponse::Ok().body(me.0.clone())
}

async fn answer(request: HttpRequest, body: Bytes) -> HttpResponse {
    tokio::time::sleep(WORK).await;
    if request.method() == "GET" {
        return HttpResponse::Ok().finish();
    }
    HttpResponse::Ok().body(body)
}

async fn count(id: web::Path<u64>, accounting: Data<String>) -> HttpResponse {
    let written = write_down(&accounting, *id).await;
    tokio::time::sleep(WORK).await;
    match written {
        Ok(()) => HttpResponse::Ok().finish(),
        Err(error) => HttpResponse::InternalServerError().body(error.to_string()),
    }
}

async fn write_down(accounting: &str, id: u64) -> io::Result<()> {
    let mut socket = tokio::net::TcpStream::connect(accounting).await?;
    let line = format!("{POST} {id}\n");
    socket.write_all(line.as_bytes()).await?;
    let mut answer = [0; GO_ON.len()];
    socket.read_exact(&mut answer).await?;
    Ok(())
}

/// Allocates memory without end, on a thread of its own.
async fn exhaust_memory() -> HttpResponse {
    std::thread::spawn(|| {
        let mut allocated = Vec::new();
        loop {
            allocated.push(vec![1u8; BITE]);
        }
    });
    HttpResponse::Accepted().finish()
}

async fn events() -> HttpResponse {
    let ticks = futures::stream::unfold(0u64, |count| async move {
        tokio::time::sleep(TICK).await;
        let event = Bytes::from(format!("data: {count}\n\n"));
        Some((Ok::<_, io::Error>(event), count + 1))
    });
    HttpResponse::Ok()
        .content_type("text/event-stream")
        .streaming(ticks)
}
