//! The server that clients talk to: actix's own, over sockets that are watched.
//!
//! It is put together as `actix_web::HttpServer` does it, which takes sockets as they are.

use std::future::ready;
use std::io;
use std::net::TcpListener;
use std::num::NonZeroUsize;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix_http::{HttpService, KeepAlive};
use actix_service::{
    IntoServiceFactory, ServiceFactory, ServiceFactoryExt, fn_factory, map_config,
};
use actix_web::dev::{AppConfig, Server, fn_service};
use actix_web::{App, web};

use super::departure::Departure;
use super::expect::{self, Check};
use super::patience::ClientTimes;
use super::served::ClientService;
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
        let Site { configure, check } = site();
        let app = App::new().configure(configure).into_factory();
        let app = app.map_err(|error: actix_web::Error| error.error_response());
        let app = map_config(app, |()| AppConfig::default());
        let (stop, departure) = (stop.clone(), Arc::clone(&departure));
        fn_factory(move || {
            let (stop, departure) = (stop.clone(), Arc::clone(&departure));
            let (app, check) = (app.new_service(()), Rc::clone(&check));
            async move {
                let app = Rc::new(app.await?);
                let watch = Watch::start(settings.client_times, most);
                let stopped = stop.clone();
                watch.end_at(async move { stopped.notified().await });
                let shared = Rc::clone(&app);
                let shared = move || ready(Ok::<_, ()>(Rc::clone(&shared)));
                let service = HttpService::build()
                    .graceful_shutdown_signal(move || {
                        let stop = stop.clone();
                        async move { stop.notified().await }
                    })
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
                    .finish(fn_factory(shared));
                let actix = service.new_service(()).await;
                actix.map(|actix| ClientService {
                    app,
                    actix: Rc::new(actix),
                    watch,
                    departure,
                    idle_timeout: settings.idle_timeout,
                })
            }
        })
    })?;
    Ok(server.run())
}
