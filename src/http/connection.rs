//! What is known of a client's connection, for as long as it is open.

use std::any::Any;
use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::dev::Extensions;
use actix_web::rt::net::TcpStream;
use log::debug;
use socket2::SockRef;

use super::departure::Departure;

/// One connection of a client.
pub struct ClientConnection {
    /// A request on it was refused, so that no other is answered.
    refused: Cell<bool>,
    departure: Arc<Departure>,
}

impl ClientConnection {
    /// What is known of the connection that a request came on.
    pub fn of(request: &HttpRequest) -> Option<&Self> {
        request.conn_data()
    }

    /// Remembers that a request was refused.
    pub fn refuse(&self) {
        self.refused.set(true);
    }

    /// Whether an earlier request was refused.
    pub fn is_refused(&self) -> bool {
        self.refused.get()
    }

    /// Whether the connection is to end with the answer, because the balancer leaves.
    pub fn is_last_call(&self) -> bool {
        self.departure.has_begun()
    }
}

impl Drop for ClientConnection {
    fn drop(&mut self) {
        self.departure.closed();
    }
}

/// Readies each new connection for what is to be known of it. A client that takes nothing of
/// what is sent to it for `idle` is disconnected: by the kernel, because actix waits for ever.
pub fn mark_connections(
    departure: Arc<Departure>,
    idle: Duration,
) -> impl Fn(&dyn Any, &mut Extensions) {
    move |stream, connection| {
        #[cfg(target_os = "linux")]
        if let Some(stream) = stream.downcast_ref::<TcpStream>() {
            // TCP_USER_TIMEOUT (RFC 5482): a window that stays shut counts, too.
            let set = SockRef::from(stream).set_tcp_user_timeout(Some(idle));
            if let Err(error) = set {
                debug!("TCP_USER_TIMEOUT cannot be set: {error}");
            }
        }
        departure.opened();
        connection.insert(ClientConnection {
            refused: Cell::default(),
            departure: Arc::clone(&departure),
        });
    }
}
