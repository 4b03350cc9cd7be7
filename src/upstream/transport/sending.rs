//! A request on its way to a replica, until the head of the response is there.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use actix_http::body::{BodySize, MessageBody};
use actix_http::h1::{ClientCodec, Message, MessageType};
use actix_http::header::{HOST, HeaderValue};
use actix_http::{Payload, RequestHead, RequestHeadType, ResponseHead, ServiceConfig};
use actix_web::web::BytesMut;
use awc::error::{ConnectError, SendRequestError};
use awc::http::Uri;
use awc::test::TestResponse;
use awc::{ClientResponse, ConnectRequest, ConnectResponse};
use futures::future::LocalBoxFuture;
use tokio_util::codec::{Decoder, Encoder};

use super::body::Body;
use super::link::Link;
use super::pool::Pool;
use crate::upstream::guard::Exchange;

thread_local! {
    /// Where heads are written before they are sent; what it needs at most is soon known.
    static HEAD: RefCell<BytesMut> = RefCell::default();
}

/// Sends one request; done when the head of its response has come.
pub struct Sending {
    pool: Rc<Pool>,
    config: ServiceConfig,
    state: State,
}

enum State {
    /// Nothing has happened.
    New(Asking),
    /// A connection is being made.
    Connecting(LocalBoxFuture<'static, Result<Link, ConnectError>>, Asking),
    /// The request is out, or on its way.
    Awaiting(Link, ClientCodec),
    /// It has ended.
    Done,
}

/// What is to be sent: nothing but for a request that cannot be.
type Asking = Option<(RequestHead, BodySize, Exchange)>;

impl Sending {
    /// A request as an awc client hands it on; its [`Exchange`] is at hand.
    pub(super) fn new(pool: Rc<Pool>, config: ServiceConfig, request: ConnectRequest) -> Self {
        let asking = match (request, Exchange::take()) {
            (ConnectRequest::Client(RequestHeadType::Owned(head), body, _), Some(exchange)) => {
                Some((head, body.size(), exchange))
            }
            // Tunnels and frozen requests are never asked for.
            _ => None,
        };
        Self {
            pool,
            config,
            state: State::New(asking),
        }
    }

    fn ask(
        &mut self,
        cx: &mut Context<'_>,
        mut link: Link,
        asking: Asking,
    ) -> Result<(), SendRequestError> {
        let Some((mut head, size, exchange)) = asking else {
            return Err(ConnectError::Disconnected.into());
        };
        let mut codec = ClientCodec::new(self.config.clone());
        if !head.headers.contains_key(HOST)
            && let Some(host) = host_of(&head.uri)
        {
            head.headers.insert(HOST, host);
        }
        HEAD.with_borrow_mut(|bytes| {
            bytes.clear();
            let head = RequestHeadType::Owned(head);
            codec.encode(Message::Item((head, size)), bytes)?;
            link.ask(cx, bytes, exchange)
        })?;
        self.state = State::Awaiting(link, codec);
        Ok(())
    }
}

impl Future for Sending {
    type Output = Result<ConnectResponse, SendRequestError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        loop {
            match std::mem::replace(&mut this.state, State::Done) {
                State::New(asking) => match this.pool.take(cx) {
                    Some(link) => this.ask(cx, link, asking)?,
                    None => this.state = State::Connecting(this.pool.open(), asking),
                },
                State::Connecting(mut connected, asking) => match connected.as_mut().poll(cx) {
                    Poll::Ready(link) => this.ask(cx, link?, asking)?,
                    Poll::Pending => {
                        this.state = State::Connecting(connected, asking);
                        return Poll::Pending;
                    }
                },
                State::Awaiting(mut link, mut codec) => {
                    match poll_head(&mut link, &mut codec, cx) {
                        Poll::Ready(head) => {
                            return Poll::Ready(Ok(respond(head?, link, codec, &this.pool)));
                        }
                        Poll::Pending => {
                            this.state = State::Awaiting(link, codec);
                            return Poll::Pending;
                        }
                    }
                }
                State::Done => return Poll::Ready(Err(ConnectError::Disconnected.into())),
            }
        }
    }
}

fn poll_head(
    link: &mut Link,
    codec: &mut ClientCodec,
    cx: &mut Context<'_>,
) -> Poll<Result<ResponseHead, SendRequestError>> {
    loop {
        if ready!(link.poll_more(cx))? == 0 {
            return Poll::Ready(Err(ConnectError::Disconnected.into()));
        }
        if let Some(head) = codec.decode(&mut link.unread)? {
            return Poll::Ready(Ok(head));
        }
    }
}

/// The response in awc's shape. Only its builder for tests makes one from parts.
fn respond(head: ResponseHead, link: Link, codec: ClientCodec, pool: &Rc<Pool>) -> ConnectResponse {
    let payload: Payload = match codec.message_type() {
        MessageType::None => {
            if codec.keep_alive() {
                pool.release(link);
            }
            Payload::None
        }
        MessageType::Payload | MessageType::Stream => Payload::Stream {
            payload: Box::pin(Body::new(link, codec.into_payload_codec(), Rc::clone(pool))),
        },
    };
    let response: ClientResponse = TestResponse::default().finish();
    ConnectResponse::Client(response.map_body(|its_head, _| {
        *its_head = head;
        payload
    }))
}

/// The Host field of a request that has none (HTTP/1.0 may).
fn host_of(uri: &Uri) -> Option<HeaderValue> {
    HeaderValue::from_str(uri.authority()?.as_str()).ok()
}
