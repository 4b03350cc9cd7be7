//! The server that clients talk to: threads that accept connections for themselves, and answer
//! requests by an application of actix-web's.

use std::convert::Infallible;
use std::io;
use std::net::TcpListener;
use std::num::NonZeroUsize;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix::Arbiter;
use actix_service::{
    IntoServiceFactory, Service, ServiceFactory, ServiceFactoryExt, apply_fn, map_config,
};
use actix_web::dev::{AppConfig, ServiceRequest, ServiceResponse, fn_service};
use actix_web::{App, web};
use futures::future::{join_all, select_all};
use tokio::sync::{mpsc, oneshot};

use crate::access_log::AccessLog;
use crate::config::Limits;
use crate::http::connection::h1::Application;
use crate::http::connection::state::ClientRequest;
use crate::http::connection::sweeper::ConnectionSweeper;
use crate::http::drain::GracefulShutdown;
use crate::http::listener::acceptor::{self, Acceptor, ClientService, WorkerGroup};
use crate::http::listener::client_limit::ClientLimit;
use crate::http::listener::loads::Loads;
use crate::upstream::Stats;
use crate::upstream::stats::ConnectionCounters;

/// What holds for the server as a whole.
#[derive(Debug, Clone)]
pub struct ServerSettings {
    /// Worker threads.
    pub workers: NonZeroUsize,
    /// Clients' connections at once.
    pub max_connections: NonZeroUsize,
    /// How many of them one client may have open, if that is limited.
    pub client_limit: Option<Arc<ClientLimit>>,
    /// How long anything may take.
    pub limits: Limits,
    /// Where connections are counted.
    pub stats: Arc<Stats>,
}

/// malloc has 1,032 bytes at most from a thread's own cache; a larger box costs 1,500 instructions a
/// request. actix-web puts a few words around a handler's future.
const MAX_FUTURE_BYTES: usize = 1_000;

/// What is served on one thread.
pub struct Site {
    configure: Box<dyn FnOnce(&mut web::ServiceConfig)>,
    /// Whether handlers look at actix's map of headers.
    has_header_map: bool,
    access_log: Option<Rc<AccessLog>>,
}

/// What answers a request, or an error of actix-web's.
pub type Answered = Result<ServiceResponse, actix_web::Error>;

impl Site {
    /// A site of actix-web's services.
    pub fn configured(configure: impl FnOnce(&mut web::ServiceConfig) + 'static) -> Self {
        Self {
            configure: Box::new(configure),
            has_header_map: true,
            access_log: None,
        }
    }

    /// A site with one handler, for all paths: actix's router would decode them before it
    /// compares. As a service rather than as a route it costs one box a request, not two, and
    /// no look into maps for what the handler has anyhow. The request's own map of headers is empty:
    /// they are in the `ClientRequest` beside it.
    pub fn new<F>(answer: impl Fn(ServiceRequest) -> F + Clone + 'static) -> Self
    where
        F: Future<Output = Answered> + 'static,
    {
        // Without optimization, futures are larger.
        const { assert!(cfg!(debug_assertions) || size_of::<F>() <= MAX_FUTURE_BYTES) };
        let service = fn_service(answer);
        Self {
            configure: Box::new(|app| {
                app.default_service(service);
            }),
            has_header_map: false,
            access_log: None,
        }
    }

    /// The same, with lines in this log for what cannot be read as a request.
    pub fn with_access_log(self, access_log: Option<Rc<AccessLog>>) -> Self {
        Self { access_log, ..self }
    }
}

/// A server that runs, until it is stopped or dropped.
pub struct Server {
    threads: Vec<Thread>,
    group: Arc<WorkerGroup>,
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
    shutdown: Arc<GracefulShutdown>,
    site: impl Fn() -> Site + Send + Clone + 'static,
) -> io::Result<Server> {
    acceptor::prepare(&listener, settings.limits.idle_timeout)?;
    let most = (settings.max_connections.get() / settings.workers).max(1);
    let (mailboxes, orders): (Vec<_>, Vec<_>) = (0..settings.workers.get())
        .map(|_| mpsc::unbounded_channel())
        .unzip();
    let group = Arc::new(WorkerGroup::new(
        Loads::new(settings.workers, most),
        mailboxes,
    ));
    let mut server = Server {
        threads: Vec::new(),
        group: Arc::clone(&group),
        drain_timeout: settings.limits.drain_timeout,
    };
    let mut begun = Vec::new();
    for (number, orders) in orders.into_iter().enumerate() {
        let listener = listener.try_clone()?;
        let (group, shutdown, site) = (Arc::clone(&group), Arc::clone(&shutdown), site.clone());
        let (limits, client_limit) = (settings.limits, settings.client_limit.clone());
        let counters = settings.stats.connection_counters();
        let (begins, beginning) = oneshot::channel();
        let (ends, end) = oneshot::channel();
        let arbiter = Arbiter::try_new()?;
        arbiter.spawn_fn(move || {
            actix_web::rt::spawn(async move {
                // Dropped with the task, even by a panic.
                let _ends = ends;
                let service = client_service(limits, most, shutdown, counters, site()).await;
                let acceptor = service
                    .map_err(|()| io::Error::other("the service of a thread cannot begin"))
                    .and_then(|service| {
                        Acceptor::new(service, listener, number, orders, group, client_limit)
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
        self.group.open()
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
        self.group.leave();
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
pub async fn client_service(
    limits: Limits,
    most: usize,
    shutdown: Arc<GracefulShutdown>,
    counters: Arc<ConnectionCounters>,
    site: Site,
) -> Result<ClientService<impl Application>, ()> {
    let Site {
        configure,
        has_header_map,
        access_log,
    } = site;
    let app = App::new().configure(configure).into_factory();
    let app = app.map_err(|error: actix_web::Error| error.error_response());
    let app = map_config(app, |()| AppConfig::default());
    let app = apply_fn(app.new_service(()).await?, move |mut request, app| {
        if has_header_map {
            ClientRequest::fill_header_map(&mut request);
        }
        app.call(request)
    });
    Ok(ClientService {
        app: Rc::new(app),
        sweeper: ConnectionSweeper::start(limits, most, shutdown, counters, access_log),
    })
}
