//! A client's connection as a task: actix while there is something to do, and nothing but the
//! socket while there is not.
//!
//! actix keeps two buffers of 8 KiB for as long as a connection is open, and most connections
//! have nothing to say most of the time. So one that is idle for a while gives up all that
//! actix has made of it, and gets it anew when something comes:
//!
//! ```text
//!             something comes
//!   asleep ───────────────────▶ awake ───▶ over
//!     │  ◀───────────────────────  (actix ends it)
//!     │   idle, nothing half said
//!     └──▶ over (late, or the server stops)
//! ```
//!
//! A connection begins asleep: one that says nothing at all costs next to nothing.

use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use actix_http::Protocol;
use actix_service::Service;
use log::debug;
use tokio::net::TcpStream;

use super::connection::ClientConnection;
use super::departure::Departure;
use super::error::ProxyError;
use super::patience::Late;
use super::stream::{ClientStream, say};
use super::watch::Watch;

/// What actix serves connections with.
pub type Accepted = (ClientStream, Protocol, Option<SocketAddr>);

/// Serves clients' sockets.
pub struct ClientService<S> {
    pub actix: Rc<S>,
    pub watch: Rc<Watch>,
    pub departure: Arc<Departure>,
}

impl<S: Service<Accepted, Response = ()>> ClientService<S> {
    /// Serves a connection from there. (actix's services are ready at any time.)
    pub fn serve(&self, socket: TcpStream, peer: Option<SocketAddr>) -> Served<S> {
        Served {
            actix: Rc::clone(&self.actix),
            connection: ClientConnection::open(&self.watch, &self.departure),
            peer,
            stage: Stage::Asleep(socket),
        }
    }
}

/// One connection, until it is over.
pub struct Served<S: Service<Accepted>> {
    actix: Rc<S>,
    connection: Rc<ClientConnection>,
    peer: Option<SocketAddr>,
    stage: Stage<S::Future>,
}

enum Stage<F> {
    Asleep(TcpStream),
    Awake(Pin<Box<F>>),
    Over,
}

impl<S: Service<Accepted, Response = ()>> Future for Served<S> {
    type Output = Result<(), S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        if let Stage::Awake(_) = this.stage
            && this.connection.falls_asleep()
        {
            // Which leaves the socket with the connection.
            this.stage = Stage::Over;
            if let Some(socket) = this.connection.kept() {
                this.stage = Stage::Asleep(socket);
            }
        }
        this.stage = match std::mem::replace(&mut this.stage, Stage::Over) {
            Stage::Over => return Poll::Ready(Ok(())),
            Stage::Asleep(socket) => {
                this.connection.awaited_by(cx.waker());
                match socket.poll_read_ready(cx) {
                    Poll::Pending => {
                        if this.connection.late() == Some(Late::Head) {
                            say(&socket, &ProxyError::SlowHead);
                        }
                        if this.connection.late().is_some() || this.connection.is_over() {
                            return Poll::Ready(Ok(()));
                        }
                        Stage::Asleep(socket)
                    }
                    Poll::Ready(Err(error)) => {
                        debug!("a client's socket cannot be read: {error}");
                        return Poll::Ready(Ok(()));
                    }
                    Poll::Ready(Ok(())) => {
                        this.connection.wakes();
                        let stream = ClientStream::new(socket, Rc::clone(&this.connection));
                        let call = this.actix.call((stream, Protocol::Http1, this.peer));
                        Stage::Awake(Box::pin(call))
                    }
                }
            }
            awake => awake,
        };
        match &mut this.stage {
            Stage::Awake(actix) => actix.as_mut().poll(cx),
            _ => Poll::Pending,
        }
    }
}

/// Nothing of it is pinned but what lies in a box.
impl<S: Service<Accepted>> Unpin for Served<S> {}
