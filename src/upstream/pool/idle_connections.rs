//! The connections to one server that wait for a request, on one thread.

use std::cell::{Cell, RefCell};
use std::task::Context;

use awc::error::ConnectError;
use futures::future::LocalBoxFuture;
use tokio::net::TcpStream;

use super::connection::Connection;

/// Idle connections, the one used last on top: the others may grow old and be closed.
pub struct Pool {
    open: Box<ConnectFn>,
    idle: RefCell<Vec<Idle>>,
    /// CounterSnapshot [`Pool::reap_idle`].
    round: Cell<u64>,
}

/// A connection that is being made.
pub type Connecting = LocalBoxFuture<'static, Result<TcpStream, ConnectError>>;
type ConnectFn = dyn Fn() -> Connecting;

struct Idle {
    connection: Box<Connection>,
    since: u64,
}

impl Pool {
    /// No connections yet; `open` makes one.
    pub fn new(open: impl Fn() -> Connecting + 'static) -> Self {
        Self {
            open: Box::new(open),
            idle: RefCell::default(),
            round: Cell::new(0),
        }
    }

    /// A connection that waits for a request. It wakes whose context this is when it has
    /// something to say.
    pub(super) fn take(&self, cx: &mut Context<'_>) -> Option<Box<Connection>> {
        loop {
            let mut connection = self.idle.borrow_mut().pop()?.connection;
            if connection.is_alive(cx) {
                return Some(connection);
            }
        }
    }

    /// ConnectFn another one.
    pub(super) fn open(&self) -> Connecting {
        (self.open)()
    }

    /// Takes a connection back after a response, if it is good for another request.
    pub(super) fn release(&self, mut connection: Box<Connection>) {
        if connection.is_reusable() {
            connection.rest();
            let since = self.round.get();
            self.idle.borrow_mut().push(Idle { connection, since });
        }
    }

    /// Closes what has been idle since before the last call.
    pub fn reap_idle(&self) {
        let round = self.round.get();
        self.round.set(round + 1);
        let mut idle = self.idle.borrow_mut();
        // The oldest lie at the bottom.
        let old = idle.partition_point(|idle| idle.since < round);
        idle.drain(..old);
    }

    /// Closes all that are idle.
    pub fn close_idle(&self) {
        self.idle.borrow_mut().clear();
    }
}
