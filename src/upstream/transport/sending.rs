//! A request on its way to a replica, until the head of the response is there.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use awc::ConnectResponse;
use awc::error::{ConnectError, SendRequestError};

use super::head;
use super::link::Link;
use super::pool::{Opened, Pool};
use crate::upstream::guard::Exchange;

/// Sends one request; done when the head of its response has come.
pub struct Sending {
    pool: Rc<Pool>,
    state: State,
}

enum State {
    /// Nothing has happened.
    New(Exchange),
    /// A connection is being made.
    Connecting(Opened, Exchange),
    /// The request is out, or on its way.
    Awaiting(Link),
    /// It has ended, or there was nothing to send.
    Done,
}

impl Sending {
    /// A request to be sent on a connection of this pool.
    pub(super) fn new(pool: Rc<Pool>, exchange: Option<Exchange>) -> Self {
        Self {
            pool,
            state: exchange.map_or(State::Done, State::New),
        }
    }
}

impl Future for Sending {
    type Output = Result<ConnectResponse, SendRequestError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        loop {
            let (mut link, exchange) = match &mut this.state {
                State::Awaiting(link) => {
                    while !head::is_whole(link) {
                        if ready!(link.poll_more(cx))? == 0 {
                            return Poll::Ready(Err(ConnectError::Disconnected.into()));
                        }
                    }
                    let State::Awaiting(link) = std::mem::replace(&mut this.state, State::Done)
                    else {
                        continue;
                    };
                    return Poll::Ready(head::respond(link, &this.pool));
                }
                State::Connecting(connected, _) => {
                    let link = Link::new(ready!(connected.as_mut().poll(cx))?);
                    match std::mem::replace(&mut this.state, State::Done) {
                        State::Connecting(_, exchange) => (link, exchange),
                        _ => continue,
                    }
                }
                State::New(_) => {
                    let State::New(exchange) = std::mem::replace(&mut this.state, State::Done)
                    else {
                        continue;
                    };
                    match this.pool.take(cx) {
                        Some(link) => (link, exchange),
                        None => {
                            this.state = State::Connecting(this.pool.open(), exchange);
                            continue;
                        }
                    }
                }
                State::Done => return Poll::Ready(Err(ConnectError::Disconnected.into())),
            };
            link.ask(cx, exchange)?;
            this.state = State::Awaiting(link);
        }
    }
}
