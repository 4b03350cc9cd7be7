//! The demo replica: a web server small enough to read in one sitting, for trying
//! Ringmaster out and for testing it.
//!
//! | route | answer |
//! | --- | --- |
//! | `GET /home` | 200 `{"message":"Hello from Server: 3","status":"successful"}` |
//! | `GET /heartbeat` | 200, empty |
//! | `/whoami` | the request as it arrived, in JSON: what a proxy did to it shows here |
//! | `GET /slow?ms=N` | like `/home`, N milliseconds later (60 s at most) |
//! | `POST\|PUT /echo` | the body, streamed back |
//! | anything else | 404 `{"message":"...","status":"failure"}` |
//!
//! It runs as a program of its own (`ringmaster-server`), inside the balancer's
//! (`ringmaster replica`), or on a port of the caller's choice in a test:
//!
//! ```no_run
//! ringmaster_server::serve(ringmaster_server::Options {
//!     listen: "127.0.0.1:5001".parse().unwrap(),
//!     id: "Server1".to_owned(),
//!     keep_alive: true,
//! })
//! .unwrap();
//! ```

mod routes;
mod shutdown;

use std::io;
use std::net::SocketAddr;

use actix_web::http::KeepAlive;
use actix_web::{App, HttpServer, rt};

pub use routes::{configure, display_id};

/// Connections waiting to be accepted; the kernel caps it at `net.core.somaxconn`.
const BACKLOG: u32 = 4096;

/// The settings of a demo replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The address to listen on.
    pub listen: SocketAddr,
    /// The replica's name, as in `SERVER_ID`; `Server3` calls itself `3`.
    pub id: String,
    /// Whether a connection serves more than one request. Servers without that are common.
    pub keep_alive: bool,
}

/// Serves until SIGTERM or SIGINT, then finishes the requests in flight. Must not be
/// called from async code: it brings its own runtime.
pub fn serve(options: Options) -> io::Result<()> {
    rt::System::new().block_on(run(options))
}

/// [`serve`], for callers who have an actix system already.
pub async fn run(options: Options) -> io::Result<()> {
    // Signal handlers come before the port opens, so that a signal is handled from then on. As
    // process 1 of a container, it also needs a handler to be stoppable at all.
    let mut signals = shutdown::Signals::new()?;
    let connections = shutdown::Connections::default();

    let id = display_id(&options.id);
    let counted = connections.clone();
    let keep_alive = match options.keep_alive {
        true => KeepAlive::default(),
        false => KeepAlive::Disabled,
    };
    let server = HttpServer::new(move || App::new().configure(|app| configure(app, &id)))
        // One thread is enough for a demo, and starts fastest.
        .workers(1)
        .keep_alive(keep_alive)
        .backlog(BACKLOG)
        .on_connect(move |_, data| {
            data.insert(counted.guard());
        })
        .disable_signals()
        .bind(options.listen)
        .map_err(|error| {
            io::Error::new(
                error.kind(),
                format!("cannot listen on {}: {error}", options.listen),
            )
        })?
        .run();
    let handle = server.handle();
    let serving = rt::spawn(server);

    signals.recv().await;
    shutdown::finish(handle, connections, signals).await;
    serving.abort();
    Ok(())
}
