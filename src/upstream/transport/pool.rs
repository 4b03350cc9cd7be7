//! The connections to one server that wait for a request, on one thread.

use std::cell::{Cell, RefCell};
use std::task::Context;

use awc::error::ConnectError;
use futures::future::LocalBoxFuture;
use tokio::net::TcpStream;

use super::link::Link;

/// Idle connections, the one used last on top: the others may grow old and be closed.
pub struct Pool {
    open: Box<Opens>,
    idle: RefCell<Vec<Idle>>,
    /// Counts [`Pool::close_old`].
    round: Cell<u64>,
}

/// A connection that is being made.
pub type Opened = LocalBoxFuture<'static, Result<TcpStream, ConnectError>>;
type Opens = dyn Fn() -> Opened;

struct Idle {
    link: Box<Link>,
    since: u64,
}

impl Pool {
    /// No connections yet; `open` makes one.
    pub fn new(open: impl Fn() -> Opened + 'static) -> Self {
        Self {
            open: Box::new(open),
            idle: RefCell::default(),
            round: Cell::new(0),
        }
    }

    /// A connection that waits for a request. It wakes whose context this is when it has
    /// something to say.
    pub(super) fn take(&self, cx: &mut Context<'_>) -> Option<Box<Link>> {
        loop {
            let mut link = self.idle.borrow_mut().pop()?.link;
            if link.is_alive(cx) {
                return Some(link);
            }
        }
    }

    /// Opens another one.
    pub(super) fn open(&self) -> Opened {
        (self.open)()
    }

    /// Takes a connection back after a response, if it is good for another request.
    pub(super) fn release(&self, mut link: Box<Link>) {
        if link.is_reusable() {
            link.rest();
            let since = self.round.get();
            self.idle.borrow_mut().push(Idle { link, since });
        }
    }

    /// Closes what has been idle since before the last call.
    pub fn close_old(&self) {
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
