//! How much at once, and how long anything may take.

use std::num::{NonZeroU32, NonZeroU64, NonZeroUsize};
use std::time::Duration;

use clap::builder::TypedValueParser as _;
use clap::{Args, ValueEnum};

use super::super::rule::{count, duration, text, whole};
use super::super::units;
use super::{Limit, Off, TIME};

const BYTES: &str = "1 or more, with k, m or g for KiB, MiB or GiB";

/// When an attempt that failed may be followed by another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum RetryPolicy {
    /// Never: every failure is the client's answer.
    Never,
    /// If the replica provably never got the request.
    Unsent,
    /// Also if it may have got it and the method is idempotent (RFC 9110, section 9.2.2).
    #[default]
    Idempotent,
}

/// How much at once, and how long anything may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Args)]
#[command(next_help_heading = "Limits and time-outs")]
pub struct Limits {
    /// How long a request may wait while no replica is ready
    ///
    /// After that it is answered with 503. 0s: it does not wait.
    #[arg(long, value_name = TIME, default_value = "5s", value_parser = duration("0s", "10m"))]
    pub wait_timeout: Duration,
    /// How many requests a replica may have in flight
    ///
    /// Further requests go to the next replica in the key's order, and wait if all are busy
    /// (HAProxy's maxconn of a server). A limit lets slow clients keep others out: each counts
    /// until its response is there, or --min-body-rate ends it. Streams count for as long as they
    /// live; WebSockets do not count (see --max-tunnels). none sets no limit.
    #[arg(long, value_name = "N", default_value = "none", value_parser = count::<NonZeroU32>())]
    pub max_in_flight: Limit<NonZeroU32>,
    /// How many WebSockets may be open at once, over all replicas
    ///
    /// A client that asks for one more is answered with 503. Each costs two of the balancer's open
    /// files. none sets no limit.
    #[arg(long, value_name = "N", default_value = "none", value_parser = count::<NonZeroUsize>())]
    pub max_tunnels: Limit<NonZeroUsize>,
    /// How many connections one client may have open at once
    ///
    /// A connection beyond is answered with 429 and closed (HAProxy closes it silently, nginx
    /// answers the request with 503). A client is an IPv4 address or an IPv6 /64; the addresses of
    /// --trusted-proxy, which speak for many clients, are not limited. none sets no limit.
    #[arg(long, value_name = "N", default_value = "none", value_parser = count::<NonZeroU32>())]
    pub max_connections_per_client: Limit<NonZeroU32>,
    /// How many bytes a second a client has to send or take of a body; 0: any rate
    ///
    /// It begins to count after 20 s, and then only while the balancer waits for the client: for a
    /// request's body while the replica would take more of it, for a response's body while bytes of
    /// it are ready. So neither a slow replica, nor a silent event stream, nor a WebSocket is too
    /// slow. A client that has been faster may pause for 60 s. A slow upload is answered with 408,
    /// a slow download is reset.
    #[arg(
        long, value_name = "BYTES", default_value = "500",
        value_parser = whole(0, 1_000_000_000).map(NonZeroU64::new)
    )]
    pub min_body_rate: Limit<NonZeroU64>,
    /// How long a client that has closed its side is served while nothing can be sent to it
    ///
    /// Only writing tells whether such a client is still there. So its request goes on for this
    /// long, or for 1 s if another request waits for its replica, and gives up its turn at once if
    /// it waits for a replica itself. off: it goes on until another request waits.
    #[arg(
        long, value_name = TIME, default_value = "5s",
        value_parser = duration("10ms", "1day").or("off")
    )]
    pub half_closed_timeout: Off<Duration>,
    /// Which requests may be sent to a second replica
    ///
    /// unsent: only those that the first replica provably never got. idempotent: also GET, HEAD,
    /// PUT, DELETE, OPTIONS and TRACE that it may have got, once; a request that kills its replica
    /// is then sent to another. never: none.
    #[arg(long, value_name = "WHEN", default_value = "idempotent")]
    pub retry: RetryPolicy,
    /// Of a hundred requests, how many may be sent to a second replica
    ///
    /// Three a second may be besides, and a burst as large as --max-in-flight (1024 without one).
    /// It counts requests that broke off after they were sent; those that were not are no load. 0:
    /// none.
    #[arg(long, value_name = "PERCENT", default_value = "20", value_parser = whole::<u32>(0, 100))]
    pub retry_budget: u32,
    /// How many requests may wait for a replica at once; 0: none
    #[arg(
        long, value_name = "N", default_value = "1024",
        value_parser = whole::<usize>(0, 1_000_000)
    )]
    pub max_waiting: usize,
    /// How long 'ringmaster ctl pause' may hold requests
    ///
    /// The pause ends by itself then. As many requests are held as --max-waiting says; the time that
    /// each may wait, --wait-timeout, begins with its end.
    #[arg(long, value_name = TIME, default_value = "30s", value_parser = duration("1s", "10m"))]
    pub max_pause: Duration,
    /// How long a client may take for the header of a request
    ///
    /// After that it gets 408, and its connection ends. The time counts from the connection's
    /// beginning, and for later requests from their first byte.
    #[arg(long, value_name = TIME, default_value = "5s", value_parser = duration("100ms", "1h"))]
    pub header_timeout: Duration,
    /// How long a client's connection may be idle between two requests
    ///
    /// A proxy before the balancer (an AWS load balancer keeps 60 s) should close first, or now and
    /// then its request meets the end of the connection. With seven of eight of --max-connections
    /// open, it is --header-timeout at the most. An idle connection costs some 2 KiB.
    #[arg(long, value_name = TIME, default_value = "75s", value_parser = duration("100ms", "1day"))]
    pub keep_alive_timeout: Duration,
    /// How long connecting to a replica may take
    ///
    /// Then the request goes on to the next replica. A dead container's address does not refuse
    /// connections, it is silent for seconds: keep this short.
    #[arg(long, value_name = TIME, default_value = "500ms", value_parser = duration("1ms", "1m"))]
    pub connect_timeout: Duration,
    /// How long a client may pause in its request's body
    ///
    /// After that it gets 408, and the request to the replica is broken off.
    #[arg(long, value_name = TIME, default_value = "60s", value_parser = duration("10ms", "1day"))]
    pub body_timeout: Duration,
    /// How long a replica may take to the first byte of its answer
    ///
    /// After that the client gets 504. The time begins anew with each chunk of the request's body:
    /// a slow upload is no slow replica.
    #[arg(long, value_name = TIME, default_value = "60s", value_parser = duration("10ms", "1day"))]
    pub response_timeout: Duration,
    /// How long a response may pause
    ///
    /// Then it is broken off, and so is the client's. Server-sent events have to send something
    /// more often than that; most send comments. A client that takes nothing of its response for
    /// this long is disconnected.
    #[arg(long, value_name = TIME, default_value = "5m", value_parser = duration("10ms", "1day"))]
    pub idle_timeout: Duration,
    /// How long both sides of a WebSocket may be silent
    #[arg(long, value_name = TIME, default_value = "1h", value_parser = duration("10ms", "1day"))]
    pub tunnel_timeout: Duration,
    /// How long a request may take from its first byte to its response's last; 0s: no limit
    ///
    /// Before the response has begun it is answered with 504, after that it is broken off.
    /// WebSockets are not requests in this sense.
    #[arg(
        long, value_name = TIME, default_value = "0s",
        value_parser = duration("0s", "1day").map(unless_zero)
    )]
    pub request_timeout: Limit<Duration>,
    /// The largest body that a request may have
    ///
    /// In units of 1024: 10m is 10 MiB. A larger one is answered with 413, before any of it is sent
    /// to a replica if its length is declared. none: no limit.
    #[arg(
        long, value_name = "BYTES", default_value = "none",
        value_parser = text(BYTES, bytes).or("none")
    )]
    pub max_body: Limit<u64>,
    /// How long requests in flight may take when a replica or the balancer is to stop
    #[arg(long, value_name = TIME, default_value = "30s", value_parser = duration("0s", "1h"))]
    pub drain_timeout: Duration,
    /// How long a replica has between SIGTERM and SIGKILL
    #[arg(long, value_name = TIME, default_value = "5s", value_parser = duration("0s", "10m"))]
    pub stop_grace: Duration,
}

fn unless_zero(time: Duration) -> Limit<Duration> {
    (!time.is_zero()).then_some(time)
}

fn bytes(text: &str) -> Result<u64, String> {
    units::bytes(text, 1, "a number of bytes such as 10m")
}
