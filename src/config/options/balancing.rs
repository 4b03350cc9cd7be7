//! Which replica gets a request.

use std::time::Duration;

use super::super::option::{Allowed, Fallback, OptionSpec};
use super::{BALANCING, PLAIN};
use crate::ring::RingSpec;

pub(super) const OPTIONS: &[OptionSpec] = &[
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
        key: "sticky-cookie",
        value_name: "NAME",
        help: "Keep a session on its replica by a cookie of this name",
        more: "The first answer sets it; its value is the session's key from then on, before --key \
               and X-Request-ID, and replicas do not see it. It holds for as long as the replica is \
               there, for several balancers, and when an instance is replaced.",
        allowed: Allowed::Text("the name of a cookie: letters, digits and !#$%&'*+-.^_`|~"),
        section: BALANCING,
        ..PLAIN
    },
    OptionSpec {
        key: "sticky-ttl",
        value_name: "DURATION",
        help: "How long a browser keeps that cookie",
        fallback: Fallback::Derived("until the browser is closed"),
        allowed: Allowed::Duration(Duration::from_secs(1), Duration::from_secs(31_557_600)),
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
];
