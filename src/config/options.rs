//! The one table of options.
//!
//! Flags, environment variables, the keys of the TOML file, `--help`, README's table
//! and the bounds that validation holds all come from [`OPTIONS`]. An option is added
//! by a row here and by a line in [`super::validate`] that reads it.

use std::time::Duration;

use super::option::{Allowed, Fallback, OptionSpec, RuntimeKind, Shape};
use crate::ring::RingSpec;

/// The one option that cannot stand in the file.
pub const CONFIG: &str = "config";

/// The option of that key.
pub fn find(key: &str) -> Option<&'static OptionSpec> {
    OPTIONS.iter().find(|option| option.key == key)
}

const RUN: &str = "What to run";
const SELF: &str = "The balancer itself";
const BALANCING: &str = "Balancing";
const HEALTH: &str = "Health";
const TIMES: &str = "Limits and time-outs";
const DOCKER: &str = "Docker";

const EVERY: &[RuntimeKind] = &RuntimeKind::ALL;
const SPAWNING: &[RuntimeKind] = &[RuntimeKind::Process, RuntimeKind::Docker];
const CONTAINERS: &[RuntimeKind] = &[RuntimeKind::Docker];
const FIXED: &[RuntimeKind] = &[RuntimeKind::Static];

const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);

/// What most options have in common; a row says what is different.
const PLAIN: OptionSpec = OptionSpec {
    key: "",
    value_name: "",
    help: "",
    more: "",
    fallback: Fallback::Nothing,
    allowed: Allowed::Text(""),
    shape: Shape::One,
    section: SELF,
    runtimes: EVERY,
};

/// Every option, in the order in which help texts list them.
pub const OPTIONS: &[OptionSpec] = &[
    OptionSpec {
        key: "replicas",
        value_name: "N",
        help: "How many replicas to keep alive",
        more: "They are called Server1 to ServerN. More can be added, and these removed, while \
               the balancer runs.",
        fallback: Fallback::Value("3"),
        allowed: Allowed::Whole(1, 1024),
        section: RUN,
        runtimes: SPAWNING,
        ..PLAIN
    },
    OptionSpec {
        key: "command",
        value_name: "COMMAND",
        help: "Run this command as each replica",
        more: "It is split into words as a shell would, but no shell runs it. {port} and {name} \
               in it become the replica's port and name; every replica finds both in its \
               environment, too, as PORT and SERVER_ID. With --image, it replaces the image's \
               own command. In the file it may also be a list of words.",
        fallback: Fallback::Derived("the image's own, or a demo server"),
        allowed: Allowed::Text("a program and its arguments"),
        shape: Shape::Words,
        section: RUN,
        runtimes: SPAWNING,
    },
    OptionSpec {
        key: "image",
        value_name: "IMAGE",
        help: "Run each replica as a container of this image",
        allowed: Allowed::Text("an image's name, such as shop:1.4"),
        section: RUN,
        runtimes: CONTAINERS,
        ..PLAIN
    },
    OptionSpec {
        key: "upstream",
        value_name: "[NAME=]HOST:PORT",
        help: "Balance over a server that somebody else runs",
        more: "Heartbeats take it off the ring and put it back; nothing is started or stopped. \
               Without a name, its address is its name.",
        allowed: Allowed::Text("HOST:PORT or NAME=HOST:PORT"),
        shape: Shape::List,
        section: RUN,
        runtimes: FIXED,
        ..PLAIN
    },
    OptionSpec {
        key: "replica-port",
        value_name: "PORT",
        help: "The port that a replica listens on",
        fallback: Fallback::Derived("5000 in a container, else a free one"),
        allowed: Allowed::Whole(1, 65535),
        section: RUN,
        runtimes: SPAWNING,
        ..PLAIN
    },
    OptionSpec {
        key: "env",
        value_name: "KEY=VALUE",
        help: "Set an environment variable in every replica",
        allowed: Allowed::Text("KEY=VALUE, where KEY is neither PORT nor SERVER_ID"),
        shape: Shape::Pairs,
        section: RUN,
        runtimes: SPAWNING,
        ..PLAIN
    },
    OptionSpec {
        key: "runtime",
        value_name: "RUNTIME",
        help: "Where replicas run",
        more: "process: child processes of the balancer. docker: containers; the default with \
               --image. static: servers that somebody else runs; the default with --upstream.",
        fallback: Fallback::Derived("what --image or --upstream imply, else process"),
        allowed: Allowed::Choice(&["process", "docker", "static"]),
        section: RUN,
        ..PLAIN
    },
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
               appended. What anybody else says in them is dropped, and they are set anew.",
        allowed: Allowed::Text("a network or an address, such as 10.0.0.0/8, 10.1.2.3 or fd00::/8"),
        shape: Shape::List,
        ..PLAIN
    },
    OptionSpec {
        key: "key",
        value_name: "KEY",
        help: "What decides a request's replica: id, header:NAME, cookie:NAME, query:NAME, path or \
               client-ip",
        more: "Requests with the same key go to the same replica. id is the request's X-Request-ID, \
               else a random six-digit number, which spreads requests evenly; a request that lacks \
               the header, cookie or parameter goes by its id.",
        fallback: Fallback::Value("id"),
        allowed: Allowed::Text("id, header:NAME, cookie:NAME, query:NAME, path or client-ip"),
        section: BALANCING,
        ..PLAIN
    },
    OptionSpec {
        key: "strategy",
        value_name: "STRATEGY",
        help: "How the ring's slots get their owners",
        more: "rendezvous and maglev are even to about 1 %; ring is ketama's; classic, quadratic \
               and modulo are formulas from teaching, kept for comparison: they are far from even.",
        fallback: Fallback::Value("rendezvous"),
        allowed: Allowed::Choice(&[
            "classic",
            "quadratic",
            "modulo",
            "ring",
            "maglev",
            "rendezvous",
        ]),
        section: BALANCING,
        ..PLAIN
    },
    OptionSpec {
        key: "balance-factor",
        value_name: "C",
        help: "How far above its fair share of the load a replica may be",
        more: "No replica holds more than C times its share of the requests in flight; what is \
               over goes to the next in the key's order (HAProxy's hash-balance-factor, as a \
               factor). Up to 8 requests stay home whatever C says. Near 1 loads are even and keys \
               wander; none keeps every key at home and lets a hot one overload it.",
        fallback: Fallback::Value("2"),
        allowed: Allowed::Text("1.001 to 100, such as 1.25, or none"),
        section: BALANCING,
        ..PLAIN
    },
    OptionSpec {
        key: "slots",
        value_name: "M",
        help: "How many slots the ring has",
        more: "By default 512 for classic, quadratic and modulo, 65536 for ring, 65537 for maglev and \
               262144 for rendezvous. For maglev it has to be a prime number.",
        fallback: Fallback::Derived("by strategy"),
        allowed: Allowed::Whole(1, RingSpec::MAX_SLOTS as u64),
        section: BALANCING,
        ..PLAIN
    },
    OptionSpec {
        key: "virtual-servers",
        value_name: "K",
        help: "How many points each replica has on the ring",
        more: "By default 160 for ring, and 9 for classic, quadratic and modulo; the other strategies \
               have none.",
        fallback: Fallback::Derived("by strategy"),
        allowed: Allowed::Whole(1, RingSpec::MAX_VIRTUAL_SERVERS as u64),
        section: BALANCING,
        ..PLAIN
    },
    OptionSpec {
        key: "heartbeat-path",
        value_name: "PATH",
        help: "What a heartbeat asks a replica for",
        fallback: Fallback::Value("/heartbeat"),
        allowed: Allowed::Text("a path that starts with '/', without spaces"),
        section: HEALTH,
        ..PLAIN
    },
    OptionSpec {
        key: "heartbeat-method",
        value_name: "METHOD",
        help: "How a heartbeat asks for it",
        fallback: Fallback::Value("GET"),
        allowed: Allowed::Choice(&["GET", "HEAD", "OPTIONS", "POST"]),
        section: HEALTH,
        ..PLAIN
    },
    OptionSpec {
        key: "heartbeat-status",
        value_name: "STATUSES",
        help: "Which statuses are a good answer, such as 200,204,300-399",
        fallback: Fallback::Value("200-299"),
        allowed: Allowed::Text("statuses and ranges of them from 200 to 599, with commas between"),
        section: HEALTH,
        ..PLAIN
    },
    OptionSpec {
        key: "heartbeat-body",
        value_name: "TEXT",
        help: "What has to stand in a good answer's body",
        more: "It is looked for in the first 64 KiB.",
        allowed: Allowed::Text("any text"),
        section: HEALTH,
        ..PLAIN
    },
    OptionSpec {
        key: "heartbeat-interval",
        value_name: "DURATION",
        help: "From one heartbeat to the next",
        more: "Shorter finds a hung replica sooner; a dead one is noticed without heartbeats.",
        fallback: Fallback::Value("1s"),
        allowed: Allowed::Duration(ms(10), HOUR),
        section: HEALTH,
        ..PLAIN
    },
    OptionSpec {
        key: "heartbeat-timeout",
        value_name: "DURATION",
        help: "How long a heartbeat's answer may take",
        fallback: Fallback::Value("1s"),
        allowed: Allowed::Duration(ms(10), HOUR),
        section: HEALTH,
        ..PLAIN
    },
    OptionSpec {
        key: "heartbeat-failures",
        value_name: "N",
        help: "How many misses in a row take a replica off the ring",
        fallback: Fallback::Value("3"),
        allowed: Allowed::Whole(1, 100),
        section: HEALTH,
        ..PLAIN
    },
    OptionSpec {
        key: "heartbeat-successes",
        value_name: "N",
        help: "How many good answers in a row bring a replica onto the ring",
        fallback: Fallback::Value("1"),
        allowed: Allowed::Whole(1, 100),
        section: HEALTH,
        ..PLAIN
    },
    OptionSpec {
        key: "hang-mercy",
        value_name: "DURATION",
        help: "How long a hung replica may take to come back before it is replaced",
        more: "It is off the ring meanwhile. 0s: it is replaced at once.",
        fallback: Fallback::Value("10s"),
        allowed: Allowed::Duration(ms(0), HOUR),
        section: HEALTH,
        ..PLAIN
    },
    OptionSpec {
        key: "start-timeout",
        value_name: "DURATION",
        help: "How long a fresh replica may take to its first good heartbeat",
        fallback: Fallback::Value("60s"),
        allowed: Allowed::Duration(ms(100), HOUR),
        section: HEALTH,
        ..PLAIN
    },
    OptionSpec {
        key: "slow-start",
        value_name: "DURATION",
        help: "How long a fresh replica's share grows, from a tenth of its keys to all",
        more: "The next in each key's order serves the others. 0s: it serves all of them at once.",
        fallback: Fallback::Value("0s"),
        allowed: Allowed::Duration(ms(0), HOUR),
        section: HEALTH,
        ..PLAIN
    },
    OptionSpec {
        key: "outlier-failures",
        value_name: "N",
        help: "How many failed requests in a row eject a replica; 0: none do",
        more: "Failed is a connection that cannot be made, a broken response, and a 502, 503 or 504. \
               Others serve an ejected replica's keys; never are more than half of the replicas ejected.",
        fallback: Fallback::Value("5"),
        allowed: Allowed::Whole(0, 1_000_000),
        section: HEALTH,
        ..PLAIN
    },
    OptionSpec {
        key: "outlier-ejection",
        value_name: "DURATION",
        help: "How long a replica's first ejection lasts; the second lasts twice as long, and so on",
        fallback: Fallback::Value("5s"),
        allowed: Allowed::Duration(ms(10), HOUR),
        section: HEALTH,
        ..PLAIN
    },
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
               (HAProxy's maxconn of a server). Streams and WebSockets count for as long as \
               they live; none sets no limit.",
        fallback: Fallback::Value("256"),
        allowed: Allowed::Text("a whole number from 1, or none"),
        section: TIMES,
        ..PLAIN
    },
    OptionSpec {
        key: "retry-budget",
        value_name: "PERCENT",
        help: "Of a hundred requests, how many may be sent to a second replica",
        more: "Three a second may be besides, and as many at once as --max-in-flight. It counts \
               requests that broke off after they were sent; those that were not are no load.",
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
    OptionSpec {
        key: "memory",
        value_name: "BYTES",
        help: "Memory limit of a replica",
        more: "As Docker writes it, in units of 1024: 512m is 512 MiB. none: no limit.",
        fallback: Fallback::Value("512m"),
        allowed: Allowed::Text("6m or more, with k, m or g for KiB, MiB or GiB; or none"),
        section: DOCKER,
        runtimes: CONTAINERS,
        ..PLAIN
    },
    OptionSpec {
        key: "cpus",
        value_name: "CPUS",
        help: "CPU limit of a replica, such as 0.5",
        more: "none: no limit.",
        fallback: Fallback::Value("none"),
        allowed: Allowed::Text("0.01 to 1024, or none"),
        section: DOCKER,
        runtimes: CONTAINERS,
        ..PLAIN
    },
    OptionSpec {
        key: "pids",
        value_name: "N",
        help: "Limit on a replica's processes and threads",
        more: "none: no limit.",
        fallback: Fallback::Value("512"),
        allowed: Allowed::Text("1 to 4194304, or none"),
        section: DOCKER,
        runtimes: CONTAINERS,
        ..PLAIN
    },
    OptionSpec {
        key: "fleet",
        value_name: "NAME",
        help: "What this set of containers is called",
        more: "It begins their names and is the value of their label. A balancer that restarts takes \
               over the containers of its fleet; two balancers on one engine need two names.",
        fallback: Fallback::Value("ringmaster"),
        allowed: Allowed::Text(
            "1 to 63 letters, digits, '-', '_' and '.', a letter or digit first",
        ),
        section: DOCKER,
        runtimes: CONTAINERS,
        ..PLAIN
    },
    OptionSpec {
        key: "docker-network",
        value_name: "NETWORK",
        help: "The network that replicas join",
        more: "It is made if it does not exist.",
        fallback: Fallback::Derived("the fleet's name"),
        allowed: Allowed::Text(
            "a network's name of letters, digits, '-', '_' and '.', but not host or none, which give a container no address",
        ),
        section: DOCKER,
        runtimes: CONTAINERS,
        ..PLAIN
    },
    OptionSpec {
        key: "replica-security",
        value_name: "LEVEL",
        help: "How far a replica's container is locked in",
        more: "restricted: not root, no capabilities, read-only root file system with a /tmp. \
               baseline: the image's own user, Docker's default capabilities, a writable root. \
               No new privileges in either.",
        fallback: Fallback::Value("restricted"),
        allowed: Allowed::Choice(&["restricted", "baseline"]),
        section: DOCKER,
        runtimes: CONTAINERS,
        ..PLAIN
    },
];
