//! How much at once, and how long anything may take.

use std::time::Duration;

use super::super::option::{Allowed, Fallback, OptionSpec};
use super::{DAY, HOUR, MINUTE, PLAIN, TIMES, ms};

pub(super) const OPTIONS: &[OptionSpec] = &[
    OptionSpec {
        key: "wait-timeout",
        value_name: "DURATION",
        help: "How long a request may wait while no replica is ready",
        more: "After that its answer is 503. 0s: it does not wait.",
        fallback: Fallback::Value("5s"),
        allowed: Allowed::Duration(ms(0), Duration::from_secs(600)),
        section: TIMES,
        ..PLAIN
    },
    OptionSpec {
        key: "max-in-flight",
        value_name: "N",
        help: "How many requests a replica may have in flight",
        more: "What is over goes to the next in the key's order, and waits if all are busy \
               (HAProxy's maxconn of a server). A limit lets slow clients keep others out: each \
               counts until its response is there, or --min-body-rate ends it. Streams count for \
               as long as they live; WebSockets do not count (see --max-tunnels). none sets no \
               limit.",
        fallback: Fallback::Value("none"),
        allowed: Allowed::Text("a whole number from 1, or none"),
        section: TIMES,
        ..PLAIN
    },
    OptionSpec {
        key: "max-tunnels",
        value_name: "N",
        help: "How many WebSockets may be open at once, over all replicas",
        more: "A client that asks for one more is answered with 503. Each costs two of the \
               balancer's open files. none sets no limit.",
        fallback: Fallback::Value("none"),
        allowed: Allowed::Text("a whole number from 1, or none"),
        section: TIMES,
        ..PLAIN
    },
    OptionSpec {
        key: "max-connections-per-client",
        value_name: "N",
        help: "How many connections one client may have open at once",
        more: "A connection beyond is answered with 429 and closed (HAProxy closes it silently, \
               nginx answers the request with 503). A client is an IPv4 address or an IPv6 /64; \
               the addresses of --trusted-proxy, which speak for many clients, are not limited. \
               none sets no limit.",
        fallback: Fallback::Value("none"),
        allowed: Allowed::Text("a whole number from 1, or none"),
        section: TIMES,
        ..PLAIN
    },
    OptionSpec {
        key: "min-body-rate",
        value_name: "BYTES",
        help: "How many bytes a second a client has to send or take of a body; 0: any rate",
        more: "It begins to count after 20 s, and then only while the client is waited for: for a \
               request's body while the replica would take more of it, for a response's body \
               while bytes of it are ready. So neither a slow replica, nor a silent event stream, \
               nor a WebSocket is too slow. A client that has been faster may pause for 60 s. A \
               slow upload is answered with 408, a slow download is reset.",
        fallback: Fallback::Value("500"),
        allowed: Allowed::Whole(0, 1_000_000_000),
        section: TIMES,
        ..PLAIN
    },
    OptionSpec {
        key: "half-closed-timeout",
        value_name: "DURATION",
        help: "How long a client that has closed its side is served while nothing can be sent to it",
        more: "Only writing tells whether such a client is still there. So its request goes on for \
               so long, or for 1 s if another request waits for its replica, and gives up its turn \
               at once if it waits for a replica itself. off: it goes on until another request \
               waits.",
        fallback: Fallback::Value("5s"),
        allowed: Allowed::Text("10ms to 1day, or off"),
        section: TIMES,
        ..PLAIN
    },
    OptionSpec {
        key: "retry",
        value_name: "WHEN",
        help: "Which requests may be sent to a second replica",
        more: "unsent: only those that the first provably never got. idempotent: also GET, HEAD, \
               PUT, DELETE, OPTIONS and TRACE that it may have got, once; a request that kills its \
               replica is then sent to another. never: none.",
        fallback: Fallback::Value("idempotent"),
        allowed: Allowed::Choice(&["never", "unsent", "idempotent"]),
        section: TIMES,
        ..PLAIN
    },
    OptionSpec {
        key: "retry-budget",
        value_name: "PERCENT",
        help: "Of a hundred requests, how many may be sent to a second replica",
        more: "Three a second may be besides, and a burst as large as --max-in-flight (1024 without \
               one). It counts requests that broke off after they were sent; those that were not \
               are no load. 0: none.",
        fallback: Fallback::Value("20"),
        allowed: Allowed::Whole(0, 100),
        section: TIMES,
        ..PLAIN
    },
    OptionSpec {
        key: "max-waiting",
        value_name: "N",
        help: "How many requests may wait for a replica at once; 0: none",
        fallback: Fallback::Value("1024"),
        allowed: Allowed::Whole(0, 1_000_000),
        section: TIMES,
        ..PLAIN
    },
    OptionSpec {
        key: "header-timeout",
        value_name: "DURATION",
        help: "How long a client may take for the head of a request",
        more: "After that it gets 408, and its connection ends. It counts from the connection's \
               beginning, and for later requests from their first byte.",
        fallback: Fallback::Value("5s"),
        allowed: Allowed::Duration(ms(100), HOUR),
        section: TIMES,
        ..PLAIN
    },
    OptionSpec {
        key: "keep-alive-timeout",
        value_name: "DURATION",
        help: "How long a client's connection may be idle between two requests",
        more: "What stands before the balancer (an AWS load balancer keeps 60 s) should close \
               first, or now and then its request meets the end of the connection. With seven \
               of eight of --max-connections open, it is --header-timeout at the most. An idle \
               connection costs some 2 KiB.",
        fallback: Fallback::Value("75s"),
        allowed: Allowed::Duration(ms(100), DAY),
        section: TIMES,
        ..PLAIN
    },
    OptionSpec {
        key: "connect-timeout",
        value_name: "DURATION",
        help: "How long connecting to a replica may take",
        more: "Then the request goes on to the next replica. A dead container's address does \
               not refuse connections, it is silent for seconds: keep this short.",
        fallback: Fallback::Value("500ms"),
        allowed: Allowed::Duration(ms(1), MINUTE),
        section: TIMES,
        ..PLAIN
    },
    OptionSpec {
        key: "body-timeout",
        value_name: "DURATION",
        help: "How long a client may pause in its request's body",
        more: "After that it gets 408, and the replica hears no more of it.",
        fallback: Fallback::Value("60s"),
        allowed: Allowed::Duration(ms(10), DAY),
        section: TIMES,
        ..PLAIN
    },
    OptionSpec {
        key: "response-timeout",
        value_name: "DURATION",
        help: "How long a replica may take to the first byte of its answer",
        more: "After that the client gets 504. It begins anew with each piece of the request's \
               body: a slow upload is no slow replica.",
        fallback: Fallback::Value("60s"),
        allowed: Allowed::Duration(ms(10), DAY),
        section: TIMES,
        ..PLAIN
    },
    OptionSpec {
        key: "idle-timeout",
        value_name: "DURATION",
        help: "How long a response may pause",
        more: "Then it is broken off, and so is the client's. Server-sent events need something \
               to say more often than that; most send comments. A client that takes nothing of \
               its response for so long is disconnected.",
        fallback: Fallback::Value("5m"),
        allowed: Allowed::Duration(ms(10), DAY),
        section: TIMES,
        ..PLAIN
    },
    OptionSpec {
        key: "tunnel-timeout",
        value_name: "DURATION",
        help: "How long both sides of a WebSocket may be silent",
        fallback: Fallback::Value("1h"),
        allowed: Allowed::Duration(ms(10), DAY),
        section: TIMES,
        ..PLAIN
    },
    OptionSpec {
        key: "request-timeout",
        value_name: "DURATION",
        help: "How long a request may take from its first byte to its response's last; 0s: for ever",
        more: "Before the response has begun it is answered with 504, after that it is broken \
               off. WebSockets are not requests in this sense.",
        fallback: Fallback::Value("0s"),
        allowed: Allowed::Duration(ms(0), DAY),
        section: TIMES,
        ..PLAIN
    },
    OptionSpec {
        key: "max-body",
        value_name: "BYTES",
        help: "The largest body that a request may have",
        more: "In units of 1024: 10m is 10 MiB. A larger one is answered with 413, before any of \
               it is sent to a replica if its length is told. none: no limit.",
        fallback: Fallback::Value("none"),
        allowed: Allowed::Text("1 or more, with k, m or g for KiB, MiB or GiB; or none"),
        section: TIMES,
        ..PLAIN
    },
    OptionSpec {
        key: "drain-timeout",
        value_name: "DURATION",
        help: "How long requests in flight may take when a replica or the balancer is to stop",
        fallback: Fallback::Value("30s"),
        allowed: Allowed::Duration(ms(0), HOUR),
        section: TIMES,
        ..PLAIN
    },
    OptionSpec {
        key: "stop-grace",
        value_name: "DURATION",
        help: "How long a replica has between SIGTERM and SIGKILL",
        fallback: Fallback::Value("5s"),
        allowed: Allowed::Duration(ms(0), Duration::from_secs(600)),
        section: TIMES,
        ..PLAIN
    },
];
