//! The balancer itself.

use super::super::option::{Allowed, Fallback, OptionSpec, Shape};
use super::{CONFIG, PLAIN};

pub(super) const OPTIONS: &[OptionSpec] = &[
    OptionSpec {
        key: "listen",
        value_name: "ADDR",
        help: "Where to listen for clients",
        more: "Whoever can reach it can use the service, and see the replicas' names by GET /rep; \
               see --admin-calls.",
        fallback: Fallback::Value("127.0.0.1:5000"),
        allowed: Allowed::Text("IP:PORT, such as 127.0.0.1:5000, 0.0.0.0:5000 or [::1]:5000"),
        ..PLAIN
    },
    OptionSpec {
        key: "admin",
        value_name: "ADDR",
        help: "Where to listen for GET /status, GET /deaths, PATCH /ring, and /rep, /add and /rm",
        more: "Who can reach this address can change the ring and the replicas. It carries no \
               secret: keep it on a loopback or private address.",
        fallback: Fallback::Nothing,
        allowed: Allowed::Text("IP:PORT, such as 127.0.0.1:5001"),
        ..PLAIN
    },
    OptionSpec {
        key: "public-address",
        value_name: "HOST:PORT",
        help: "What clients reach it by, if its port is published as another",
        more: "It is named in what is printed at the start, and nowhere else.",
        fallback: Fallback::Derived("where it listens"),
        allowed: Allowed::Text("HOST:PORT, such as localhost:8080"),
        ..PLAIN
    },
    OptionSpec {
        key: "admin-calls",
        value_name: "WHO",
        help: "From whom POST /add and DELETE /rm are taken where clients are listened to",
        more: "local: from loopback, unless a proxy's headers say that it forwards. In a container \
               the default gateway is local, too, if the engine says that the port is published on \
               loopback alone. on: from everyone. off: /rep, /add and /rm are paths of the \
               application; the admin listener has them still. A proxy on this machine that sends \
               none of X-Forwarded-For, Forwarded and Via makes everyone local: then say off.",
        fallback: Fallback::Value("local"),
        allowed: Allowed::Choice(&["on", "off", "local"]),
        ..PLAIN
    },
    OptionSpec {
        key: "admin-host",
        value_name: "NAME",
        help: "A name of this balancer that the Host header of an admin call may have",
        more: "IP addresses, localhost and *.localhost are fine without. Other names are refused, \
               since a web page can make any name of its own resolve to this balancer.",
        allowed: Allowed::Text("a host's name without a port, such as lb.example.org"),
        shape: Shape::List,
        ..PLAIN
    },
    OptionSpec {
        key: "workers",
        value_name: "N",
        help: "How many threads serve clients",
        fallback: Fallback::Derived("the number of CPUs"),
        allowed: Allowed::Whole(1, 256),
        ..PLAIN
    },
    OptionSpec {
        key: "max-connections",
        value_name: "N",
        help: "How many connections clients may have open at once",
        more: "Those beyond wait in the kernel's queue until one is closed. The workers share \
               the number evenly.",
        fallback: Fallback::Derived("half of what the limit on open files leaves (ulimit -Hn)"),
        allowed: Allowed::Whole(1, 1_000_000),
        ..PLAIN
    },
    OptionSpec {
        key: CONFIG,
        value_name: "PATH",
        help: "Read options from a TOML file",
        more: "Its keys are the flags without their dashes: heartbeat-interval = \"2s\". Flags \
               and environment variables win over it; 'ringmaster check' shows what holds, in \
               the form of such a file.",
        allowed: Allowed::Text("a file's path"),
        ..PLAIN
    },
    OptionSpec {
        key: "trusted-proxy",
        value_name: "CIDR",
        help: "Believe what a proxy in this network says of its clients",
        more: "Its X-Forwarded-*, Forwarded, X-Real-IP and True-Client-IP are passed on, its own \
               address appended to X-Forwarded-For, and --key client-ip is whom it forwards for. \
               What anybody else says in them is dropped, and X-Forwarded-For, -Proto and -Host \
               are set anew.",
        allowed: Allowed::Text("a network or an address, such as 10.0.0.0/8, 10.1.2.3 or fd00::/8"),
        shape: Shape::List,
        ..PLAIN
    },
    OptionSpec {
        key: "via",
        value_name: "NAME",
        help: "The name in the Via header that requests and responses get; off: they get none",
        more: "nginx, for one, does not compress responses to requests with a Via header \
               (gzip_proxied).",
        fallback: Fallback::Value("ringmaster"),
        allowed: Allowed::Text("up to 64 letters, digits and -._, or off"),
        ..PLAIN
    },
];
