//! The server that clients talk to: actix's HTTP over sockets that are watched, on threads that
//! accept for themselves.
//!
//! What serves is put together as `actix_web::HttpServer` does it, which takes sockets as they
//! are, and from a thread that accepts for all.

use std::convert::Infallible;
use std::future::{poll_fn, ready};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::num::NonZeroUsize;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use actix::Arbiter;
use actix_http::error::DispatchError;
use actix_http::{HttpService, KeepAlive};
use actix_service::{
    IntoServiceFactory, Service, ServiceFactory, ServiceFactoryExt, fn_factory, map_config,
};
use actix_web::dev::{AppConfig, Payload, ServiceRequest, ServiceResponse, fn_service};
use actix_web::{App, HttpRequest, web};
use futures::future::{join_all, select_all};
use tokio::sync::{mpsc, oneshot};

use super::accept::{self, Acceptor, Crew};
use super::client_limit::ClientLimit;
use super::departure::Departure;
use super::expect::{self, Check};
use super::loads::Loads;
use super::patience::ClientTimes;
use super::served::{Accepted, Application, ClientService};
use super::stream::ClientStream;
use super::watch::Watch;

/// How long ending a connection may take.
const DISCONNECT: Duration = Duration::from_secs(1);

/// What holds for the server as a whole.
#[derive(Debug, Clone)]
pub struct ServerSettings {
    /// Worker threads.
    pub workers: NonZeroUsize,
    /// UpstreamPools' connections at once.
    pub max_connections: NonZeroUsize,
    /// How many of them one client may have open, if that is limited.
    pub client_limit: Option<Arc<ClientLimit>>,
    /// How long a client may take to say what it wants.
    pub client_times: ClientTimes,
    /// How long a client may take nothing of what is sent to it.
    pub idle_timeout: Duration,
    /// How long requests in flight may take when the server is to stop.
    pub drain_timeout: Duration,
}

/// What is served on one thread.
pub struct Site {
    configure: Box<dyn FnOnce(&mut web::ServiceConfig)>,
    check: Check,
}

/// What answers a request, or an error of actix-web's.
pub type Answered = Result<ServiceResponse, actix_web::Error>;

impl Site {
    /// A site with one handler, for all paths: actix's router would decode them before it
    /// compares. As a service rather than as a route it costs one box a request, not two, and
    /// no look into maps for what the handler has anyhow.
    pub fn new<F>(
        answer: impl Fn(HttpRequest, Payload) -> F + Clone + 'static,
        check: Check,
    ) -> Self
    where
        F: Future<Output = Answered> + 'static,
    {
        let service = fn_service(move |request: ServiceRequest| {
            let (request, payload) = request.into_parts();
            answer(request, payload)
        });
        Self {
            configure: Box::new(|app| {
                app.default_service(service);
            }),
            check,
        }
    }
}

/// A server that runs, until it is stopped or dropped.
pub struct Server {
    threads: Vec<Thread>,
    crew: Arc<Crew>,
    drain_timeout: Duration,
}

struct Thread {
    arbiter: Arbiter,
    /// Over when the thread has ended what it does, whatever the reason.
    end: oneshot::Receiver<Infallible>,
}

/// Serves on `listener`; `site` is called on each worker thread.
///
/// # Errors
///
/// The kernel's, and a thread's that could not begin.
///
/// # Panics
///
/// Outside an actix system, to which the threads belong.
pub async fn serve(
    settings: ServerSettings,
    listener: TcpListener,
    departure: Arc<Departure>,
    site: impl Fn() -> Site + Send + Clone + 'static,
) -> io::Result<Server> {
    accept::prepare(&listener, settings.idle_timeout)?;
    let address = listener.local_addr()?;
    let most = (settings.max_connections.get() / settings.workers).max(1);
    let (desks, orders): (Vec<_>, Vec<_>) = (0..settings.workers.get())
        .map(|_| mpsc::unbounded_channel())
        .unzip();
    let crew = Arc::new(Crew::new(Loads::new(settings.workers, most), desks));
    let mut server = Server {
        threads: Vec::new(),
        crew: Arc::clone(&crew),
        drain_timeout: settings.drain_timeout,
    };
    let mut begun = Vec::new();
    for (number, orders) in orders.into_iter().enumerate() {
        let listener = listener.try_clone()?;
        let (crew, departure, site) = (Arc::clone(&crew), Arc::clone(&departure), site.clone());
        let (client_times, client_limit) = (settings.client_times, settings.client_limit.clone());
        let (begins, beginning) = oneshot::channel();
        let (ends, end) = oneshot::channel();
        let arbiter = Arbiter::try_new()?;
        arbiter.spawn_fn(move || {
            actix_web::rt::spawn(async move {
                // Dropped with the task, even by a panic.
                let _ends = ends;
                let service = client_service(client_times, address, most, departure, site()).await;
                let acceptor = service
                    .map_err(|()| io::Error::other("the service of a thread cannot begin"))
                    .and_then(|service| {
                        Acceptor::new(service, listener, number, orders, crew, client_limit)
                    });
                match acceptor {
                    Ok(acceptor) => {
                        let _ = begins.send(Ok(()));
                        acceptor.run().await;
                    }
                    Err(error) => {
                        let _ = begins.send(Err(error));
                    }
                }
            });
        });
        server.threads.push(Thread { arbiter, end });
        begun.push(beginning);
    }
    for beginning in begun {
        beginning.await.unwrap_or_else(|_| Err(ended()))?;
    }
    Ok(server)
}

impl Server {
    /// UpstreamPools' connections that are open.
    pub fn open(&self) -> usize {
        self.crew.open()
    }

    /// Waits until a thread ends that was not told to; never over while all is well.
    pub async fn failed(&mut self) -> io::Error {
        let ends = self.threads.iter_mut().map(|thread| &mut thread.end);
        let _ = select_all(ends).await;
        ended()
    }

    /// Stops: accepts nothing more, ends connections that wait for a request, and gives the
    /// others the time that it has to drain.
    pub async fn stop(mut self) {
        self.crew.leave();
        let ends = join_all(self.threads.iter_mut().map(|thread| &mut thread.end));
        let _ = tokio::time::timeout(self.drain_timeout, ends).await;
    }
}

/// What is open is broken off.
impl Drop for Server {
    fn drop(&mut self) {
        for thread in &self.threads {
            thread.arbiter.stop();
        }
    }
}

fn ended() -> io::Error {
    io::Error::other("a worker thread has ended")
}

/// What serves the connections of one worker thread, `most` at once.
async fn client_service(
    client_times: ClientTimes,
    address: SocketAddr,
    most: usize,
    departure: Arc<Departure>,
    site: Site,
) -> Result<
    ClientService<impl Application, impl Service<Accepted, Response = (), Error = DispatchError>>,
    (),
> {
    let Site { configure, check } = site;
    let app = App::new().configure(configure).into_factory();
    let app = app.map_err(|error: actix_web::Error| error.error_response());
    let app = map_config(app, |()| AppConfig::default());
    let app = Rc::new(app.new_service(()).await?);
    let shared = Rc::clone(&app);
    let shared = move || ready(Ok::<_, ()>(Rc::clone(&shared)));
    let watch = Watch::start(client_times, most);
    let over = Rc::clone(&watch);
    let service = HttpService::build()
        .graceful_shutdown_signal(move || {
            let over = Rc::clone(&over);
            // Who waits for a request is woken by the watch, and looks then.
            poll_fn(move |_| {
                if over.is_over() {
                    Poll::Ready(())
                } else {
                    Poll::Pending
                }
            })
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
    Ok(ClientService {
        app,
        actix: Rc::new(service.new_service(()).await?),
        watch,
        departure,
    })
}
