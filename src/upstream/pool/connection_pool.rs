//! The idle connections to one server, on one thread.

use std::cell::{Cell, RefCell};
use std::task::Context;

use futures::future::LocalBoxFuture;
use tokio::net::TcpStream;

use super::connection::Connection;
use crate::upstream::retry::AttemptError;

/// Idle connections; the one used last is taken first, so that the others grow old and are closed.
pub struct ConnectionPool {
    connect: Box<ConnectFn>,
    idle: RefCell<Vec<Idle>>,
    /// Counts [`reap_idle`](Self::reap_idle).
    round: Cell<u64>,
}

/// A connection that is being made.
pub type Connecting = LocalBoxFuture<'static, Result<TcpStream, AttemptError>>;
type ConnectFn = dyn Fn() -> Connecting;

struct Idle {
    connection: Box<Connection>,
    since: u64,
}

impl ConnectionPool {
    /// No connections yet; `connect` makes one.
    pub fn new(connect: impl Fn() -> Connecting + 'static) -> Self {
        Self {
            connect: Box::new(connect),
            idle: RefCell::default(),
            round: Cell::new(0),
        }
    }

    /// An idle connection, which wakes the task of `cx` when it has something to read.
    pub(super) fn take(&self, cx: &mut Context<'_>) -> Option<Box<Connection>> {
        loop {
            let mut connection = self.idle.borrow_mut().pop()?.connection;
            if connection.is_alive(cx) {
                return Some(connection);
            }
        }
    }

    /// Opens another connection.
    pub(super) fn connect(&self) -> Connecting {
        (self.connect)()
    }

    /// Takes a connection back after a response, if it is good for another request.
    pub(super) fn release(&self, mut connection: Box<Connection>) {
        if connection.is_reusable() {
            connection.release_buffer();
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
