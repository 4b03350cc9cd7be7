//! The server that clients talk to: actix's own, over sockets that are watched.
//!
//! It is put together as `actix_web::HttpServer` does it, which takes sockets as they are.

use std::io;
use std::net::TcpListener;
use std::num::NonZeroUsize;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix_http::{HttpService, Protocol};
use actix_service::{IntoServiceFactory, ServiceFactoryExt, map_config};
use actix_web::App;
use actix_web::dev::{AppConfig, Server, fn_service};
use log::debug;
#[cfg(target_os = "linux")]
use socket2::SockRef;
use tokio::net::TcpStream;

use super::connection::{ClientConnection, Watch};
use super::departure::Departure;
use super::patience::ClientTimes;
use super::stream::ClientStream;
use super::{Worker, configure};

/// How long a connection may be idle.
const KEEP_ALIVE: Duration = Duration::from_secs(5);
/// How long ending a connection may take.
const DISCONNECT: Duration = Duration::from_secs(1);

/// What holds for the server as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerSettings {
    /// Worker threads.
    pub workers: NonZeroUsize,
    /// Clients' connections at once.
    pub max_connections: NonZeroUsize,
    /// How long a client may take for the head of a request.
    pub header_timeout: Duration,
    /// How long a client may take nothing of what is sent to it.
    pub idle_timeout: Duration,
    /// How long requests in flight may take when the server is to stop.
    pub drain_timeout: Duration,
}

/// Serves on `listener`; `worker` is called on each worker thread.
pub fn serve(
    settings: ServerSettings,
    listener: TcpListener,
    departure: Arc<Departure>,
    worker: impl Fn() -> Worker + Send + Clone + 'static,
) -> io::Result<Server> {
    let address = listener.local_addr()?;
    let server = Server::build()
        .workers(settings.workers.get())
        // Of each worker; the acceptor stops while all have so many.
        .max_concurrent_connections((settings.max_connections.get() / settings.workers).max(1))
        .shutdown_timeout(settings.drain_timeout.as_secs().max(1))
        .disable_signals();
    let stop = server.graceful_shutdown_signal();
    let server = server.listen("clients", listener, move || {
        let (stop, worker, departure) = (stop.clone(), worker(), Arc::clone(&departure));
        let watch = Watch::start(ClientTimes {
            head: settings.header_timeout,
            keep_alive: KEEP_ALIVE,
        });
        let app = App::new().configure(|app| configure(app, worker));
        let app = app
            .into_factory()
            .map_err(|error: actix_web::Error| error.error_response());
        let service = HttpService::build()
            .graceful_shutdown_signal(move || {
                let stop = stop.clone();
                async move { stop.notified().await }
            })
            .keep_alive(KEEP_ALIVE)
            // The watch does it, and for every head.
            .client_request_timeout(Duration::ZERO)
            .client_disconnect_timeout(DISCONNECT)
            .local_addr(address)
            .on_connect_ext(|stream: &ClientStream, connection| {
                connection.insert(Rc::clone(stream.connection()));
            })
            .finish(map_config(app, |()| AppConfig::default()));
        fn_service(move |socket: TcpStream| {
            if let Err(error) = prepare(&socket, settings.idle_timeout) {
                debug!("a client's socket cannot be set up: {error}");
            }
            let peer = socket.peer_addr().ok();
            let connection = ClientConnection::open(&watch, &departure);
            let stream = ClientStream::new(socket, connection);
            async move { Ok((stream, Protocol::Http1, peer)) }
        })
        .and_then(service)
    })?;
    Ok(server.run())
}

fn prepare(socket: &TcpStream, idle: Duration) -> io::Result<()> {
    // What is written is meant to go out: Nagle's algorithm would keep the end of a large
    // response back until the client acknowledges the rest, which takes it 40 ms.
    socket.set_nodelay(true)?;
    // TCP_USER_TIMEOUT (RFC 5482): a client that takes nothing of what is sent to it is
    // disconnected by the kernel, because actix waits for ever. A window that stays shut
    // counts, too.
    #[cfg(target_os = "linux")]
    SockRef::from(socket).set_tcp_user_timeout(Some(idle))?;
    Ok(())
}
