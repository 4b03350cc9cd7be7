//! A response's body on its way from the replica to the client.

use std::convert::Infallible;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use actix_web::body::{BodySize, MessageBody};
use actix_web::web::Bytes;
use awc::error::PayloadError;
use futures::Stream;
use futures::future::LocalBoxFuture;
use log::debug;

use crate::api::RequestOutcome;
use crate::http::connection::state::ConnectionState;
use crate::http::context::BROKEN_RESPONSES;
use crate::http::proxy::request_tag::RequestTag;
use crate::upstream::{IdleTimeout, InFlightPermit, UpstreamBody};

/// A body that flows from a replica; one that breaks off is an error. The request counts
/// as in flight until this is dropped, which is when the client has it all or has gone.
pub struct ResponseBody {
    payload: Option<UpstreamBody>,
    size: BodySize,
    grant: InFlightPermit,
    tag: RequestTag,
    client: Rc<ConnectionState>,
    /// Its end says that the request was answered well.
    is_good: bool,
    idle: IdleTimeout,
    /// There once something had to be waited for: the replica's end, which a connection that
    /// was cut does not tell.
    ended: Option<LocalBoxFuture<'static, ()>>,
}

impl ResponseBody {
    /// A response's body; `length` is what its Content-Length says, `is_good` that its
    /// head is no failure, `idle` how long it may take, `tag` whose response it is, and `client`
    /// the connection that it goes to.
    pub fn new(
        payload: Option<UpstreamBody>,
        length: Option<u64>,
        grant: InFlightPermit,
        is_good: bool,
        idle: IdleTimeout,
        tag: RequestTag,
        client: &Rc<ConnectionState>,
    ) -> Self {
        Self {
            payload,
            size: length.map_or(BodySize::Stream, BodySize::Sized),
            grant,
            tag,
            client: Rc::clone(client),
            is_good,
            idle,
            ended: None,
        }
    }

    /// What comes next; an end of our own if nothing does for too long.
    fn poll_in_time(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, PayloadError>>> {
        let polled = match &mut self.payload {
            Some(payload) => Pin::new(payload).poll_next(cx),
            None => Poll::Ready(None),
        };
        let expired = match &polled {
            Poll::Pending if self.has_ended(cx) => {
                self.warn(format_args!("its replica has ended"));
                self.end("replica_ended");
                let gone = io::Error::from(io::ErrorKind::ConnectionAborted);
                return Poll::Ready(Some(Err(PayloadError::Io(gone))));
            }
            Poll::Pending => {
                self.grant.wait_for_end();
                self.idle.poll_elapsed(cx).is_ready()
            }
            Poll::Ready(Some(Ok(_))) => {
                self.idle.reset();
                self.idle.is_past_deadline()
            }
            Poll::Ready(_) => false,
        };
        if !expired {
            return polled;
        }
        if self.idle.is_past_deadline() {
            self.warn(format_args!("it took longer than --request-timeout"));
            self.end("request_timeout");
        } else {
            self.warn(format_args!("it paused for --idle-timeout"));
            self.end("idle_timeout");
        }
        let late = io::Error::from(io::ErrorKind::TimedOut);
        Poll::Ready(Some(Err(PayloadError::Io(late))))
    }
}

impl ResponseBody {
    fn warn(&self, why: fmt::Arguments<'_>) {
        let id = self.grant.instance().id();
        let what = format_args!("the response of {id} is broken off: {why}");
        self.tag.warn(&BROKEN_RESPONSES, what);
    }

    /// Says in the access log why the request ends.
    fn end(&self, why: &'static str) {
        if let Some(trace) = self.tag.trace() {
            trace.end(why);
        }
    }

    /// Whether the client has closed its side, and the response has paused for long enough.
    fn is_abandoned(&self) -> bool {
        let instance = self.grant.instance();
        self.client
            .is_abandoned(|since| instance.was_awaited_since(since))
    }

    fn has_ended(&mut self, cx: &mut Context<'_>) -> bool {
        let instance = self.grant.instance();
        let ended = self.ended.get_or_insert_with(|| {
            let instance = Arc::clone(instance);
            Box::pin(async move { instance.exited().await })
        });
        ended.as_mut().poll(cx).is_ready()
    }
}

impl MessageBody for ResponseBody {
    type Error = PayloadError;

    fn size(&self) -> BodySize {
        self.size
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, PayloadError>>> {
        let polled = self.poll_in_time(cx);
        if polled.is_pending() && self.is_abandoned() {
            let id = self.grant.instance().id();
            debug!("{id}: client closed, and its response paused");
            self.end("client_closed");
            let closed = io::Error::from(io::ErrorKind::ConnectionAborted);
            return Poll::Ready(Some(Err(PayloadError::Io(closed))));
        }
        if let Some(trace) = self.tag.trace() {
            trace.sent(&polled, self.size);
        }
        if let Poll::Ready(Some(Err(_))) = &polled {
            let interrupted = || self.tag.interrupted(RequestOutcome::Aborted);
            let instance = self.grant.instance();
            instance.interrupted().record(Instant::now(), interrupted);
        }
        match &polled {
            Poll::Ready(None) if self.is_good => self.grant.instance().note_success(),
            // A failure is counted once.
            Poll::Ready(Some(Err(_))) if self.is_good => self.grant.instance().note_failure(),
            _ => {}
        }
        polled
    }
}

/// No body, though a length may be told: the answer to a HEAD request.
pub struct NoBody(pub Option<u64>);

impl MessageBody for NoBody {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        self.0.map_or(BodySize::None, BodySize::Sized)
    }

    fn poll_next(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Infallible>>> {
        Poll::Ready(None)
    }
}
