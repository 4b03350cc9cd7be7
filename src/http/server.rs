//! The server that clients talk to: actix's own, over sockets that are watched.
//!
//! It is put together as `actix_web::HttpServer` does it, which takes sockets as they are.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::num::NonZeroUsize;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix_http::error::DispatchError;
use actix_http::{HttpService, KeepAlive};
use actix_service::{
    IntoServiceFactory, Service, ServiceFactory, ServiceFactoryExt, fn_factory, map_config,
};
use actix_web::dev::{AppConfig, Server, fn_service};
use actix_web::{App, web};

use super::departure::Departure;
use super::expect::{self, Check};
use super::patience::ClientTimes;
use super::served::{Accepted, ClientService};
use super::stream::ClientStream;
use super::watch::Watch;

/// How long ending a connection may take.
const DISCONNECT: Duration = Duration::from_secs(1);

/// What holds for the server as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerSettings {
    /// Worker threads.
    pub workers: NonZeroUsize,
    /// Clients' connections at once.
    pub max_connections: NonZeroUsize,
    /// How long a client may take to say what it wants.
    pub client_times: ClientTimes,
    /// How long a client may take nothing of what is sent to it.
    pub idle_timeout: Duration,
    /// How long requests in flight may take when the server is to stop.
    pub drain_timeout: Duration,
}

/// What is served on one thread.
pub struct Site {
    /// Its routes.
    pub configure: Box<dyn FnOnce(&mut web::ServiceConfig)>,
    /// Whether a request may be told to go on with its body, which waits for that.
    pub check: Check,
}

/// Serves on `listener`; `site` is called on each worker thread.
pub fn serve(
    settings: ServerSettings,
    listener: TcpListener,
    departure: Arc<Departure>,
    site: impl Fn() -> Site + Send + Clone + 'static,
) -> io::Result<Server> {
    let address = listener.local_addr()?;
    let most = (settings.max_connections.get() / settings.workers).max(1);
    let server = Server::build()
        .workers(settings.workers.get())
        // Of each worker; the acceptor stops while all have so many.
        .max_concurrent_connections(most)
        .shutdown_timeout(settings.drain_timeout.as_secs().max(1))
        .disable_signals();
    let stop = server.graceful_shutdown_signal();
    let server = server.listen("clients", listener, move || {
        let (site, stop, departure) = (site.clone(), stop.clone(), Arc::clone(&departure));
        fn_factory(move || {
            let stop = stop.clone();
            let stop = move || {
                let stop = stop.clone();
                async move { stop.notified().await }
            };
            client_service(
                settings,
                address,
                most,
                stop,
                Arc::clone(&departure),
                site(),
            )
        })
    })?;
    Ok(server.run())
}

/// What serves the connections of one worker thread, `most` at once, until `stop` is over.
async fn client_service<Stop: Future<Output = ()> + 'static>(
    settings: ServerSettings,
    address: SocketAddr,
    most: usize,
    stop: impl Fn() -> Stop + 'static,
    departure: Arc<Departure>,
    site: Site,
) -> Result<ClientService<impl Service<Accepted, Response = (), Error = DispatchError>>, ()> {
    let Site { configure, check } = site;
    let app = App::new().configure(configure).into_factory();
    let app = app.map_err(|error: actix_web::Error| error.error_response());
    let watch = Watch::start(settings.client_times, most);
    watch.end_at(stop());
    let service = HttpService::build()
        .graceful_shutdown_signal(stop)
        // The watch does both, for every head and with one timer for all.
        .keep_alive(KeepAlive::Os)
        .client_request_timeout(Duration::ZERO)
        .client_disconnect_timeout(DISCONNECT)
        .local_addr(address)
        .on_connect_ext(|stream: &ClientStream, connection| {
            connection.insert(Rc::clone(stream.connection()));
        })
        .expect(fn_service(move |request| {
            expect::go_on(request, Rc::clone(&check))
        }))
        .finish(map_config(app, |()| AppConfig::default()));
    Ok(ClientService {
        actix: Rc::new(service.new_service(()).await?),
        watch,
        departure,
        idle_timeout: settings.idle_timeout,
    })
}
