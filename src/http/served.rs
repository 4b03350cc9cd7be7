//! A client's connection as a task: in the lane while its requests are simple, with actix's
//! dispatcher for all others.
//!
//! The dispatcher keeps two buffers of 8 KiB for as long as it has a connection, and most
//! connections have nothing to say most of the time. So one that is idle for a while is taken
//! from it again:
//!
//! ```text
//!             not simple
//!   lane ───────────────────▶ awake ───▶ over
//!    │  ◀───────────────────────  (actix ends it)
//!    │   idle, nothing half said; or broken off: one that breaks the rules in the middle of
//!    │   its body has a moment to read that
//!    └──▶ over (the client has left, or is late, or the server stops)
//! ```
//!
//! A connection begins in the lane, where one that says nothing costs next to nothing.

use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use actix_http::body::BoxBody;
use actix_http::{Protocol, Request, Response};
use actix_service::Service;
use actix_web::web::Bytes;

use super::connection::ClientConnection;
use super::departure::Departure;
use super::lane::{Lane, Left};
use super::stream::ClientStream;
use super::watch::Watch;

/// What actix serves connections with.
pub type Accepted = (ClientStream, Protocol, Option<SocketAddr>);

/// What answers requests: actix-web's application.
pub trait Application: Service<Request, Response: Reply, Error: Reply, Future: Unpin> {}

impl<A: Service<Request, Response: Reply, Error: Reply, Future: Unpin>> Application for A {}

/// What becomes a response; errors do, too.
pub trait Reply: Into<Response<BoxBody>> {}

impl<R: Into<Response<BoxBody>>> Reply for R {}

/// Serves clients' sockets.
pub struct ClientService<A, S> {
    /// Answers requests.
    pub app: Rc<A>,
    /// actix's dispatcher, before the same.
    pub actix: Rc<S>,
    pub watch: Rc<Watch>,
    pub departure: Arc<Departure>,
}

impl<A: Application, S: Service<Accepted, Response = ()>> ClientService<A, S> {
    /// Serves a connection from there, whose socket does not block. (actix's services are ready
    /// at any time.)
    pub fn serve(&self, socket: std::net::TcpStream, peer: Option<SocketAddr>) -> Served<A, S> {
        Served {
            app: Rc::clone(&self.app),
            actix: Rc::clone(&self.actix),
            connection: ClientConnection::open(&self.watch, &self.departure),
            peer,
            stage: Stage::InLane(Lane::new(socket)),
        }
    }
}

/// One connection, until it is over.
pub struct Served<A: Service<Request>, S: Service<Accepted>> {
    app: Rc<A>,
    actix: Rc<S>,
    connection: Rc<ClientConnection>,
    peer: Option<SocketAddr>,
    stage: Stage<A::Future, S::Future>,
}

enum Stage<A, S> {
    InLane(Lane<A>),
    Awake(Pin<Box<S>>),
    Over,
}

impl<A: Application, S: Service<Accepted, Response = ()>> Future for Served<A, S> {
    type Output = Result<(), S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        loop {
            match &mut this.stage {
                Stage::InLane(lane) => {
                    let left = lane.poll(cx, &*this.app, &this.connection, this.peer);
                    match ready!(left) {
                        Left::Over => this.stage = Stage::Over,
                        Left::NotSimple(first) => this.wake(first),
                    }
                }
                Stage::Awake(_) if this.connection.falls_asleep() => {
                    // Which leaves the socket with the connection.
                    this.stage = Stage::Over;
                    if let Some(socket) = this.connection.kept() {
                        this.stage = Stage::InLane(Lane::again(socket));
                    }
                }
                Stage::Awake(actix) => {
                    let ended = ready!(actix.as_mut().poll(cx));
                    this.stage = Stage::Over;
                    match this.connection.kept() {
                        Some(socket) => this.stage = Stage::InLane(Lane::parting(socket)),
                        None => return Poll::Ready(ended),
                    }
                }
                Stage::Over => return Poll::Ready(Ok(())),
            }
        }
    }
}

impl<A: Service<Request>, S: Service<Accepted>> Served<A, S> {
    /// Has actix go on with what has come first.
    fn wake(&mut self, first: Bytes) {
        if let Stage::InLane(lane) = std::mem::replace(&mut self.stage, Stage::Over)
            && let Some(socket) = lane.into_socket()
        {
            self.connection.wakes();
            let connection = Rc::clone(&self.connection);
            let stream = ClientStream::new(socket, connection, first);
            let call = self.actix.call((stream, Protocol::Http1, self.peer));
            self.stage = Stage::Awake(Box::pin(call));
        }
    }
}
