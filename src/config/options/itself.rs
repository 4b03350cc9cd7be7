//! The balancer itself.

use super::super::option::{Allowed, Fallback, OptionSpec, Shape};
use super::{CONFIG, PLAIN};

pub(super) const OPTIONS: &[OptionSpec] = &[
    OptionSpec {
        key: "listen",
        value_name: "ADDR",
        help: "Where to listen for clients",
        more: "Who can reach this address can also add and remove replicas.",
        fallback: Fallback::Value("127.0.0.1:5000"),
        allowed: Allowed::Text("IP:PORT, such as 127.0.0.1:5000, 0.0.0.0:5000 or [::1]:5000"),
        ..PLAIN
    },
    OptionSpec {
        key: "admin",
        value_name: "ADDR",
        help: "Where to listen for GET /status, GET /deaths and PATCH /ring",
        more: "Who can reach this address can change the ring. It carries no secret: keep it on a \
               loopback or private address.",
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
        more: "Its X-Forwarded-For, -Proto, -Host and Forwarded are passed on, its own address \
               appended, and --key client-ip is whom it forwards for. What anybody else says in them \
               is dropped, and they are set anew.",
        allowed: Allowed::Text("a network or an address, such as 10.0.0.0/8, 10.1.2.3 or fd00::/8"),
        shape: Shape::List,
        ..PLAIN
    },
];
