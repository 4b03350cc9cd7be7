//! What is known of a client's connection, for as long as it is open.

use std::any::Any;
use std::cell::Cell;
use std::sync::Arc;

use actix_web::HttpRequest;
use actix_web::dev::Extensions;

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

/// Readies each new connection for what is to be known of it.
pub fn mark_connections(departure: Arc<Departure>) -> impl Fn(&dyn Any, &mut Extensions) {
    move |_, connection| {
        departure.opened();
        connection.insert(ClientConnection {
            refused: Cell::default(),
            departure: Arc::clone(&departure),
        });
    }
}
