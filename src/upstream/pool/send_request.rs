//! A request on its way to a replica, until the head of the response is there.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use awc::ConnectResponse;
use awc::error::{ConnectError, SendRequestError};

use super::connection::Connection;
use super::idle_connections::{Connecting, Pool};
use super::raw_head::FieldSlot;
use super::response;
use crate::upstream::framed_connection::UpstreamRequest;

/// Sends one request; done when the head of its response has come.
pub struct SendRequest {
    pool: Rc<Pool>,
    /// Until it is sent.
    exchange: Option<UpstreamRequest>,
    /// A connection that is being made, where none was idle.
    opened: Option<Connecting>,
    /// Where it was sent.
    connection: Option<Box<Connection>>,
    /// Where its response's fields are to be left.
    fields: Option<FieldSlot>,
}

impl SendRequest {
    /// A request to be sent on a connection of this pool.
    pub(super) fn new(pool: Rc<Pool>, exchange: Option<UpstreamRequest>) -> Self {
        Self {
            pool,
            fields: exchange.as_ref().and_then(UpstreamRequest::slot),
            exchange,
            opened: None,
            connection: None,
        }
    }
}

impl Future for SendRequest {
    type Output = Result<ConnectResponse, SendRequestError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let connection = loop {
            if let Some(connection) = &mut this.connection {
                break connection;
            }
            let mut is_listened_to = false;
            let connection = match &mut this.opened {
                Some(opened) => Connection::new(ready!(opened.as_mut().poll(cx))?),
                None => match this.pool.take(cx) {
                    Some(connection) => {
                        is_listened_to = true;
                        connection
                    }
                    None => {
                        this.opened = Some(this.pool.open());
                        continue;
                    }
                },
            };
            let Some(exchange) = this.exchange.take() else {
                return Poll::Ready(Err(ConnectError::Disconnected.into()));
            };
            let connection = this.connection.insert(connection);
            connection.ask(cx, exchange)?;
            if is_listened_to && connection.has_sent_all() {
                // Whoever took it has looked whether it says anything, and will hear.
                return Poll::Pending;
            }
        };
        while !response::is_whole(connection) {
            if ready!(connection.poll_more(cx))? == 0 {
                return Poll::Ready(Err(ConnectError::Disconnected.into()));
            }
        }
        Poll::Ready(match this.connection.take() {
            Some(connection) => response::respond(connection, &this.pool, this.fields.as_ref()),
            None => Err(ConnectError::Disconnected.into()),
        })
    }
}
