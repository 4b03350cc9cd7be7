//! A request on its way to a replica, until the head of the response is there.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use awc::ConnectResponse;
use awc::error::{ConnectError, SendRequestError};

use super::fields::FieldSlot;
use super::head;
use super::link::Link;
use super::pool::{Opened, Pool};
use crate::upstream::guard::Exchange;

/// Sends one request; done when the head of its response has come.
pub struct Sending {
    pool: Rc<Pool>,
    /// Until it is sent.
    exchange: Option<Exchange>,
    /// A connection that is being made, where none was idle.
    opened: Option<Opened>,
    /// Where it was sent.
    link: Option<Box<Link>>,
    /// Where its response's fields are to be left.
    fields: Option<FieldSlot>,
}

impl Sending {
    /// A request to be sent on a connection of this pool.
    pub(super) fn new(pool: Rc<Pool>, exchange: Option<Exchange>) -> Self {
        Self {
            pool,
            fields: exchange.as_ref().and_then(Exchange::slot),
            exchange,
            opened: None,
            link: None,
        }
    }
}

impl Future for Sending {
    type Output = Result<ConnectResponse, SendRequestError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        let link = loop {
            if let Some(link) = &mut this.link {
                break link;
            }
            let mut is_listened_to = false;
            let link = match &mut this.opened {
                Some(opened) => Link::new(ready!(opened.as_mut().poll(cx))?),
                None => match this.pool.take(cx) {
                    Some(link) => {
                        is_listened_to = true;
                        link
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
            let link = this.link.insert(link);
            link.ask(cx, exchange)?;
            if is_listened_to && link.has_sent_all() {
                // Whoever took it has looked whether it says anything, and will hear.
                return Poll::Pending;
            }
        };
        while !head::is_whole(link) {
            if ready!(link.poll_more(cx))? == 0 {
                return Poll::Ready(Err(ConnectError::Disconnected.into()));
            }
        }
        Poll::Ready(match this.link.take() {
            Some(link) => head::respond(link, &this.pool, this.fields.as_ref()),
            None => Err(ConnectError::Disconnected.into()),
        })
    }
}
