//! Upgrades: a request that offers another protocol, and the tunnel that it becomes if the replica
//! switches to it (RFC 9110, section 7.8).
//!
//! Nothing behind such a request is anything but another request before the replica has switched.
//! A response other than 101 is one like any other, behind which the connection ends: what the
//! client has sent in the meantime may be either. Two offers are not passed on, and so are answered
//! in HTTP/1.1: one that has a body, and `h2c`, which would let a client send requests that are not
//! looked at here.

use std::cell::Cell;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use actix_web::body::{BodySize, MessageBody};
use actix_web::http::{Method, StatusCode, Version};
use actix_web::web::Bytes;
use actix_web::{HttpRequest, HttpResponse, rt};
use awc::error::PayloadError;
use futures::channel::{mpsc, oneshot};
use futures::{Future, Stream};
use std::future::poll_fn;
use tokio::time::Instant;

use crate::api::RequestOutcome;
use crate::h1::{HeaderLines, connection};
use crate::http::connection::state::ConnectionState;
use crate::http::context::ENDED_TUNNELS;
use crate::http::error::ProxyError;
use crate::http::proxy::access_trace::AccessTrace;
use crate::http::proxy::request_tag::RequestTag;
use crate::http::tunnel_limit::TunnelPermit;
use crate::human::duration;
use crate::upstream::{
    InFlightPermit, Instance, RawResponseHead, ReadGate, ReplayBody, RequestHeadBuilder,
    UpstreamBody,
};

/// How long after a tunnel's end the report of its replica's death may come.
const DEATH_REPORT_TIMEOUT: Duration = Duration::from_secs(1);

const UPGRADE: &str = "upgrade";
const H2C: &[u8] = b"h2c";

/// Whether a request offers a protocol that the replica may switch to.
///
/// # Errors
///
/// If it asks for WebSocket in a way that cannot be meant (RFC 6455, section 4.1).
pub fn offered(request: &HttpRequest, headers: &HeaderLines) -> Result<bool, ProxyError> {
    let mut offers = headers.get_all(UPGRADE);
    if offers.clone().next().is_none() {
        return Ok(false);
    }
    let is_proper = request.version() == Version::HTTP_11
        && headers.is_named_by_connection(UPGRADE.as_bytes())
        && headers.get("transfer-encoding").is_none()
        && headers
            .get_all("content-length")
            .all(|length| length == b"0");
    let is_websocket = |offer: &[u8]| offer.trim_ascii().eq_ignore_ascii_case(b"websocket");
    if offers.clone().any(is_websocket) {
        let is_single = offers.count() == 1;
        let is_proper = is_proper && is_single && request.method() == Method::GET;
        return match is_proper {
            true => Ok(true),
            false => Err(ProxyError::Upgrade),
        };
    }
    let is_other = |protocol: &[u8]| !protocol.is_empty() && !protocol.eq_ignore_ascii_case(H2C);
    Ok(is_proper
        && request.method() != Method::HEAD
        && offers.any(|offer| connection::options(offer).any(is_other)))
}

/// Whether a response is no switch to a protocol that was not offered.
pub fn may_be_relayed(from: &HeaderLines, to: &RawResponseHead) -> bool {
    to.status() != StatusCode::SWITCHING_PROTOCOLS || is_offered(from, to)
}

fn is_offered(from: &HeaderLines, to: &RawResponseHead) -> bool {
    let offers = |protocol: &[u8]| {
        let mut offers = from.get_all(UPGRADE).flat_map(connection::options);
        offers.any(|offer| offer.eq_ignore_ascii_case(protocol))
    };
    to.lines
        .get_all(UPGRADE)
        .flat_map(connection::options)
        .all(|protocol| offers(protocol) && !protocol.eq_ignore_ascii_case(H2C))
}

/// Asks the replica for what the client asks for. The framed connection adds the Connection
/// header that goes with it.
pub fn ask_on(from: &HeaderLines, to: &mut RequestHeadBuilder) {
    for value in from.get_all(UPGRADE) {
        to.header(UPGRADE, value);
    }
}

/// Two byte streams that are joined once the replica agrees.
///
/// The client's bytes go to the replica as a request's body does, by the framed connection. It
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
        replica: Option<UpstreamBody>,
        grant: InFlightPermit,
        connection: &ConnectionState,
        client: Option<ReplayBody>,
        silence: Duration,
        tag: RequestTag,
    ) -> HttpResponse {
        let mut response = HttpResponse::build(StatusCode::SWITCHING_PROTOCOLS);
        // A capacity of none is one piece for the one sender.
        let (sender, pieces) = mpsc::channel(0);
        let (open, gone) = oneshot::channel();
        let pause = self.pause();
        let (grant, permit) = (grant.into_tunnel(), self.permit.take());
        connection.begin_tunnel();
        let spoken = Cell::new(Instant::now());
        rt::spawn(async move {
            let instance = Arc::clone(grant.instance());
            let in_flight = (grant, permit);
            let end = |why| {
                if let Some(trace) = tag.trace() {
                    trace.end(why);
                }
            };
            let replica_ended = tokio::select! {
                replica_ended = pump(replica, pause, sender, gone, &spoken, tag.trace()) => replica_ended,
                () = silence_of(client, &spoken, silence) => {
                    let silence = duration(silence);
                    let what = format_args!("the tunnel to {} ends, silent for {silence}", instance.id());
                    tag.info(&ENDED_TUNNELS, what);
                    end("tunnel_timeout");
                    false
                }
                () = instance.exited() => {
                    let what = format_args!("the tunnel to {} ends with its replica", instance.id());
                    tag.info(&ENDED_TUNNELS, what);
                    end("replica_ended");
                    true
                }
            };
            drop(in_flight);
            end("complete");
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
        response.body(body).map_into_boxed_body()
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
    mut replica: Option<UpstreamBody>,
    pause: ReadGate,
    mut client: mpsc::Sender<Piece>,
    gone: oneshot::Receiver<()>,
    spoken: &Cell<Instant>,
    trace: Option<&AccessTrace>,
) -> bool {
    let mut gone = pin!(gone);
    poll_fn(|cx| {
        loop {
            if gone.as_mut().poll(cx).is_ready() {
                return Poll::Ready(false);
            }
            let room = client.poll_ready(cx);
            pause.set(room.is_pending());
            let Some(replica) = &mut replica else {
                return Poll::Ready(true);
            };
            let Some(piece) = ready!(Pin::new(replica).poll_next(cx)) else {
                return Poll::Ready(true);
            };
            spoken.set(Instant::now());
            if let (Some(trace), Ok(bytes)) = (trace, &piece) {
                trace.sent_in_tunnel(bytes.len());
            }
            let last = piece.is_err();
            // Without room nothing was read, but an end may have been found.
            if client.try_send(piece).is_err() || last {
                return Poll::Ready(last);
            }
        }
    })
    .await
}

/// The replica's side of a tunnel, as a response's body. Dropping it ends the tunnel.
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
