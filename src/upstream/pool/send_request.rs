//! A request on its way to a replica, until the head of the response is there.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use super::connection::Connection;
use super::connection_pool::{Connecting, ConnectionPool};
use super::response::UpstreamResponse;
use crate::upstream::framed_connection::UpstreamRequest;
use crate::upstream::retry::AttemptError;

/// Sends one request; completes when the head of its response has come.
pub struct SendRequest {
    pool: Rc<ConnectionPool>,
    /// Until it is sent.
    request: Option<UpstreamRequest>,
    /// A connection that is being made, where none was idle.
    connecting: Option<(Connecting, Instant)>,
    /// How long that took.
    connect: Option<Duration>,
    /// Where it was sent.
    connection: Option<Box<Connection>>,
}

impl SendRequest {
    /// A request to be sent on a connection of this pool.
    pub(super) fn new(pool: Rc<ConnectionPool>, request: Option<UpstreamRequest>) -> Self {
        Self {
            pool,
            request,
            connecting: None,
            connect: None,
            connection: None,
        }
    }
}

impl Future for SendRequest {
    type Output = Result<Box<UpstreamResponse>, AttemptError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let connection = loop {
            if let Some(connection) = &mut this.connection {
                break connection;
            }
            let mut is_registered = false;
            let connection = match &mut this.connecting {
                Some((connecting, since)) => {
                    let stream = ready!(connecting.as_mut().poll(cx))?;
                    this.connect = Some(since.elapsed());
                    Connection::new(stream)
                }
                None => match this.pool.take(cx) {
                    Some(connection) => {
                        is_registered = true;
                        connection
                    }
                    None => {
                        this.connecting = Some((this.pool.connect(), Instant::now()));
                        continue;
                    }
                },
            };
            let Some(request) = this.request.take() else {
                return Poll::Ready(Err(ended()));
            };
            let connection = this.connection.insert(connection);
            connection.start_request(cx, request)?;
            if is_registered && connection.has_sent_all() {
                // The pool has just found nothing to read, and registered the task.
                return Poll::Pending;
            }
        };
        while !connection.has_whole_head() {
            if ready!(connection.poll_more(cx))? == 0 {
                return Poll::Ready(Err(ended()));
            }
        }
        Poll::Ready(match this.connection.take() {
            Some(connection) => Ok(UpstreamResponse::take_from(
                connection,
                &this.pool,
                this.connect,
            )?),
            None => Err(ended()),
        })
    }
}

/// The replica closed the connection before the response.
fn ended() -> AttemptError {
    io::Error::new(
        io::ErrorKind::UnexpectedEof,
        "the replica closed the connection",
    )
    .into()
}
