//! Which replica gets a request.

use std::time::Duration;

use clap::Args;

use super::super::read;
use super::super::rule::{choice, duration, parsed, text, whole};
use super::{Limit, TIME};
use crate::ring::{BalanceFactor, KeySource, RingSpec, Strategy};

const FACTOR: &str = "1.001 to 100, such as 1.25";
const COOKIE: &str = "the name of a cookie: letters, digits and !#$%&'*+-.^_`|~";

/// Which replica gets a request.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(next_help_heading = "Balancing")]
pub struct BalancingOptions {
    /// What decides a request's replica: id, header:NAME, cookie:NAME, query:NAME, path or
    /// client-ip
    ///
    /// Requests with the same key go to the same replica. id is the request's X-Request-ID, else a
    /// random six-digit number, which spreads requests evenly; a request that lacks the header,
    /// cookie or parameter goes by its id.
    #[arg(long, value_name = "KEY", default_value = "id", value_parser = parsed::<KeySource>(KeySource::ALLOWED))]
    pub key: KeySource,
    /// Keep a session on its replica by a cookie of this name
    ///
    /// The first answer sets it; its value is the session's key from then on, before --key and
    /// X-Request-ID, and replicas do not see it. It holds for as long as the replica is there, for
    /// several balancers, and when an instance is replaced.
    #[arg(long, value_name = "NAME", value_parser = text(COOKIE, read::cookie_name))]
    pub sticky_cookie: Option<String>,
    /// How long a browser keeps that cookie [default: until the browser is closed]
    #[arg(long, value_name = TIME, value_parser = duration("1s", "1year"))]
    pub sticky_ttl: Option<Duration>,
    /// How the ring's slots get their owners
    ///
    /// rendezvous and maglev are even to about 1 %; ring is ketama's; classic, quadratic and modulo
    /// are formulas from teaching, kept for comparison: they are far from even.
    #[arg(
        long, value_name = "STRATEGY", default_value = "rendezvous",
        value_parser = choice(Strategy::ALL.map(|strategy| (strategy.name(), strategy)))
    )]
    pub strategy: Strategy,
    /// How far above its fair share of the load a replica may be
    ///
    /// No replica holds more than C times its share of the requests in flight; further requests go
    /// to the next replica in the key's order (HAProxy's hash-balance-factor, as a factor). Up to 8
    /// requests stay home whatever C says. Near 1 loads are even and keys wander; none keeps every
    /// key at home and lets a hot one overload it.
    #[arg(
        long, value_name = "C", default_value = "2",
        value_parser = text(FACTOR, factor).or("none")
    )]
    pub balance_factor: Limit<BalanceFactor>,
    /// How many slots the ring has [default: by strategy]
    ///
    /// By default 512 for classic, quadratic and modulo, 65536 for ring, 65537 for maglev and
    /// 262144 for rendezvous. For maglev it has to be a prime number.
    #[arg(long, value_name = "M", value_parser = whole::<u32>(1, RingSpec::MAX_SLOTS.into()))]
    pub slots: Option<u32>,
    /// How many points each replica has on the ring [default: by strategy]
    ///
    /// By default 160 for ring, and 9 for classic, quadratic and modulo; the other strategies have
    /// none.
    #[arg(
        long, value_name = "K",
        value_parser = whole::<u32>(1, RingSpec::MAX_VIRTUAL_SERVERS.into())
    )]
    pub virtual_servers: Option<u32>,
}

fn factor(text: &str) -> Result<BalanceFactor, String> {
    text.parse().map_err(|_| "not a balance factor".to_owned())
}
