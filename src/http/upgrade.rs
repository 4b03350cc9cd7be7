//! WebSocket: a request that asks for another protocol, and the tunnel that it becomes.
//!
//! actix takes every byte behind a request with `Upgrade: websocket` for its body, whatever
//! else the request says. So such a request is either a proper one or refused, and its
//! connection never serves another. Other protocols actix does not hand over: a request that
//! offers one (`h2c`, say) is served in HTTP/1.1, as RFC 9110, section 7.8, allows.

use std::cell::Cell;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use actix_web::body::{BodySize, MessageBody};
use actix_web::http::header;
use actix_web::http::{ConnectionType, Method, StatusCode, Version};
use actix_web::web::Bytes;
use actix_web::{HttpRequest, HttpResponse, rt};
use awc::ClientResponse;
use awc::error::PayloadError;
use futures::channel::{mpsc, oneshot};
use futures::{Future, Stream};
use std::future::poll_fn;
use tokio::time::Instant;

use super::connection::InHand;
use super::error::ProxyError;
use super::request_tag::RequestTag;
use super::tunnel_limit::TunnelPermit;
use super::{ENDED_TUNNELS, forwarded, headers};
use crate::api::RequestOutcome;
use crate::h1::{CHUNK_END, ChunkSizeLine, LAST_CHUNK};
use crate::human::duration;
use crate::upstream::{InFlightPermit, Instance, ReadGate, ReplayBody, RequestHeadBuilder};

/// How long after a tunnel's end the report of its replica's death may come.
const DEATH_REPORT_TIMEOUT: Duration = Duration::from_secs(1);

/// Whether a request asks for WebSocket. An error if it asks in a way that leaves open
/// where it ends.
pub fn asked(request: &HttpRequest) -> Result<bool, ProxyError> {
    let fields = request.headers();
    // What actix looks for, to the letter.
    let websocket = fields.get_all(header::UPGRADE).any(|value| {
        value
            .as_bytes()
            .trim_ascii()
            .eq_ignore_ascii_case(b"websocket")
    });
    if !websocket {
        return Ok(false);
    }
    let no_length = |length: &header::HeaderValue| length.as_bytes().trim_ascii() == b"0";
    let proper = request.method() == Method::GET
        && request.version() == Version::HTTP_11
        && fields.get_all(header::UPGRADE).count() == 1
        && headers::is_named_by_connection(fields, &header::UPGRADE)
        && !fields.contains_key(header::TRANSFER_ENCODING)
        && fields.get_all(header::CONTENT_LENGTH).all(no_length);
    if proper {
        Ok(true)
    } else {
        Err(ProxyError::Upgrade)
    }
}

/// Asks the replica for what the client asks for. The guard adds the Connection field that
/// goes with it.
pub fn ask_on(request: &HttpRequest, to: &mut RequestHeadBuilder) {
    for value in request.headers().get_all(header::UPGRADE) {
        to.header("upgrade", value.as_bytes());
    }
}

/// An answer other than 101. What the client has sent since may be another request, which
/// actix would take for this one's body: the connection ends with the answer.
pub fn decline(response: &mut HttpResponse) {
    response
        .head_mut()
        .set_connection_type(ConnectionType::Close);
}

/// Two byte streams that are joined once the replica agrees.
///
/// The client's bytes go to the replica as a request's body does, through the guard. It
/// sends them while the replica is read; so somebody must go on reading even while the
/// client takes nothing, or a client that first says all it has to say would wait forever.
/// That is the task that [`Tunnel::join`] spawns.
pub struct Tunnel {
    pause: ReadGate,
    permit: Cell<Option<TunnelPermit>>,
}

impl Tunnel {
    /// One that has still to be agreed on.
    pub fn new(permit: TunnelPermit) -> Self {
        Self {
            pause: ReadGate::default(),
            permit: Cell::new(Some(permit)),
        }
    }

    /// Stops the reading of the replica, for its [`UpstreamRequest`](crate::upstream::UpstreamRequest).
    pub fn pause(&self) -> ReadGate {
        ReadGate::clone(&self.pause)
    }

    /// Joins both ends until the replica closes or the client has gone. A client that
    /// closes its own side only still gets what the replica has to say. The request is in
    /// flight all the while, for draining and balancing, but takes none of the places that
    /// `--max-in-flight` limits. If both sides are silent for `silence`, the tunnel ends;
    /// `client` is what is known of the client's.
    pub fn join(
        &self,
        replica: ClientResponse,
        grant: InFlightPermit,
        in_hand: Option<InHand>,
        client: Option<ReplayBody>,
        silence: Duration,
        tag: RequestTag,
    ) -> HttpResponse {
        let mut response = HttpResponse::build(StatusCode::SWITCHING_PROTOCOLS);
        response.upgrade("");
        let mut fields = replica.headers().clone();
        let via = tag.settings().via.as_ref();
        forwarded::tell_response(StatusCode::SWITCHING_PROTOCOLS, via, &mut fields);
        // A capacity of none is one piece for the one sender.
        let (sender, pieces) = mpsc::channel(0);
        let (open, gone) = oneshot::channel();
        let pause = self.pause();
        let (grant, permit) = (grant.into_tunnel(), self.permit.take());
        if let Some(request) = &in_hand {
            request.becomes_tunnel();
        }
        let spoken = Cell::new(Instant::now());
        rt::spawn(async move {
            let instance = Arc::clone(grant.instance());
            let in_flight = (grant, in_hand, permit);
            let replica_ended = tokio::select! {
                replica_ended = pump(replica, pause, sender, gone, &spoken) => replica_ended,
                () = silence_of(client, &spoken, silence) => {
                    let silence = duration(silence);
                    let what = format_args!("the tunnel to {} ends, silent for {silence}", instance.id());
                    tag.info(&ENDED_TUNNELS, what);
                    false
                }
                () = instance.exited() => {
                    let what = format_args!("the tunnel to {} ends with its replica", instance.id());
                    tag.info(&ENDED_TUNNELS, what);
                    true
                }
            };
            drop(in_flight);
            if replica_ended && is_lost_soon(&instance).await {
                let now = std::time::Instant::now();
                let cut = || tag.interrupted(RequestOutcome::Aborted);
                instance.interrupted().record(now, cut);
            }
        });
        let body = TunnelBody {
            pieces,
            _open: open,
        };
        let mut response = response.body(body).map_into_boxed_body();
        *response.headers_mut() = fields;
        response
    }
}

/// Whether the end of a tunnel was that of its replica: a process that dies closes its
/// connections before its end is known.
async fn is_lost_soon(instance: &Instance) -> bool {
    let lost = async {
        tokio::select! {
            () = instance.evicted() => {}
            () = instance.exited() => {}
        }
    };
    tokio::time::timeout(DEATH_REPORT_TIMEOUT, lost)
        .await
        .is_ok()
}

/// A body of unknown length in an answer that declines. actix announces chunks there, as
/// anywhere, but would send none, because it takes the request for a tunnel.
pub struct Chunks<B> {
    body: B,
    ended: bool,
}

impl<B> Chunks<B> {
    /// Puts a body into chunks.
    pub fn of(body: B) -> Self {
        Self { body, ended: false }
    }
}

impl<B: MessageBody + Unpin> MessageBody for Chunks<B> {
    type Error = B::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, B::Error>>> {
        while !self.ended {
            match ready!(Pin::new(&mut self.body).poll_next(cx)) {
                // An empty chunk would be the last one.
                Some(Ok(piece)) if piece.is_empty() => {}
                Some(Ok(piece)) => {
                    let chunk = [&*ChunkSizeLine::new(piece.len()), &piece, CHUNK_END].concat();
                    return Poll::Ready(Some(Ok(chunk.into())));
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => {
                    self.ended = true;
                    return Poll::Ready(Some(Ok(Bytes::from_static(LAST_CHUNK))));
                }
            }
        }
        Poll::Ready(None)
    }
}

/// Waits until neither side has said anything for so long.
async fn silence_of(client: Option<ReplayBody>, replica: &Cell<Instant>, silence: Duration) {
    loop {
        let client = client.as_ref().and_then(ReplayBody::moved);
        let spoken = client.map_or(replica.get(), |client| client.max(replica.get()));
        if spoken.elapsed() >= silence {
            return;
        }
        tokio::time::sleep_until(spoken + silence).await;
    }
}

type Piece = Result<Bytes, PayloadError>;

/// Moves what the replica says, one piece at a time, and keeps the other direction going
/// while there is no room for a piece. Whether the replica ended it.
async fn pump(
    mut replica: ClientResponse,
    pause: ReadGate,
    mut client: mpsc::Sender<Piece>,
    gone: oneshot::Receiver<()>,
    spoken: &Cell<Instant>,
) -> bool {
    let mut gone = pin!(gone);
    poll_fn(|cx| {
        loop {
            if gone.as_mut().poll(cx).is_ready() {
                return Poll::Ready(false);
            }
            let room = client.poll_ready(cx);
            pause.set(room.is_pending());
            let Some(piece) = ready!(Pin::new(&mut replica).poll_next(cx)) else {
                return Poll::Ready(true);
            };
            spoken.set(Instant::now());
            let last = piece.is_err();
            // Without room nothing was read, but an end may have been found.
            if client.try_send(piece).is_err() || last {
                return Poll::Ready(last);
            }
        }
    })
    .await
}

/// The replica's side of a tunnel, for actix. Dropping it ends the tunnel.
struct TunnelBody {
    pieces: mpsc::Receiver<Piece>,
    _open: oneshot::Sender<()>,
}

impl MessageBody for TunnelBody {
    type Error = PayloadError;

    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Piece>> {
        Pin::new(&mut self.pieces).poll_next(cx)
    }
}
