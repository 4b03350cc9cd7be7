//! The balancer itself.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{ArgAction, Args, ValueEnum};
use ipnet::IpNet;

use super::super::rule::{choice, text, whole};
use super::super::{address, read};
use super::Off;

/// The most threads that serve clients.
const MAX_WORKERS: u64 = 256;

const ADDR: &str = "IP:PORT, such as 127.0.0.1:5000, 0.0.0.0:5000 or [::1]:5000";
/// Where the admin API is unless `--admin` says otherwise.
const DEFAULT_ADMIN: &str = "127.0.0.1:5001";
const HOST: &str = "a host's name without a port, such as lb.example.org";
const NETWORK: &str = "a network or an address, such as 10.0.0.0/8, 10.1.2.3 or fd00::/8";

/// What the client port does with `/rep`, `/add` and `/rm`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum AdminCalls {
    /// They are served for every client.
    On,
    /// They are paths of the application's.
    Off,
    /// `/rep` is served for every client, changes for clients of this machine.
    #[default]
    Local,
}

/// The balancer itself.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(next_help_heading = "The balancer itself")]
pub struct ServerOptions {
    /// Where to listen for clients
    ///
    /// Every client that reaches it can use the service, and list the replicas by GET /rep; see
    /// --admin-calls.
    #[arg(
        long, value_name = "ADDR", default_value = "127.0.0.1:5000",
        value_parser = text(ADDR, address::listen)
    )]
    pub listen: SocketAddr,
    /// Where to listen for the admin API: status, replicas, ring, events; off: nowhere
    ///
    /// Clients on this machine may use it, and no others: see --admin-insecure. If the default port
    /// is taken, the next free one is used, and the start says which.
    #[arg(
        long, value_name = "ADDR", default_value = DEFAULT_ADMIN,
        value_parser = text("IP:PORT, such as 127.0.0.1:5001", address::listen).or("off")
    )]
    pub admin: Off<SocketAddr>,
    /// The page that 'ringmaster ctl maintenance on' shows
    ///
    /// HTML, up to 64 KiB, read at the start; a call may bring another one. Without it there is a
    /// plain sentence.
    #[arg(long, value_name = "FILE", value_parser = text("a file's path", read::file))]
    pub maintenance_page: Option<PathBuf>,
    /// Take admin calls by the tokens in this file, and no others
    ///
    /// A line each: read TOKEN or admin TOKEN; blank lines and those that begin with # are skipped.
    /// Calls carry one as Authorization: Bearer TOKEN. The variable RINGMASTER_ADMIN_TOKEN holds one
    /// more token, with all rights.
    #[arg(long, value_name = "FILE", value_parser = text("a file's path", read::file))]
    pub admin_token_file: Option<PathBuf>,
    /// Take admin calls from every client that reaches --admin
    ///
    /// Every such client can then change the ring and the replicas. Without it a balancer that cannot
    /// tell which clients of --admin are on this machine does not start.
    #[arg(
        long, action = ArgAction::Set, num_args = 0..=1, default_value = "false",
        default_missing_value = "true", value_name = "BOOL",
        value_parser = choice([("true", true), ("false", false)])
    )]
    pub admin_insecure: bool,
    /// The address that clients use, if the port is published as another [default: where it
    /// listens]
    ///
    /// It is printed at the start, and used nowhere else.
    #[arg(
        long, value_name = "HOST:PORT",
        value_parser = text("HOST:PORT, such as localhost:8080", address::host_and_port)
    )]
    pub public_address: Option<String>,
    /// Which clients may use POST /add and DELETE /rm at --listen
    ///
    /// local: those on loopback, unless a proxy's headers say that it forwards. In a container the
    /// default gateway is local, too, if the engine says that the port is published on loopback
    /// alone. on: all. off: none; /rep, /add and /rm are paths of the application, and the admin
    /// listener alone serves them. A proxy on this machine that sends none of X-Forwarded-For,
    /// Forwarded and Via makes every client local: then say off.
    #[arg(long, value_name = "CLIENTS", default_value = "local")]
    pub admin_calls: AdminCalls,
    /// A name of this balancer that the Host header of an admin call may have
    ///
    /// IP addresses, localhost and *.localhost are fine without. Other names are refused, since a
    /// web page can make any name of its own resolve to this balancer.
    #[arg(long, value_name = "NAME", value_parser = text(HOST, address::host_name))]
    pub admin_host: Vec<String>,
    /// How many threads serve clients [default: the number of CPUs]
    #[arg(
        long, value_name = "N", default_value = cpus().to_string(),
        value_parser = whole::<NonZeroUsize>(1, MAX_WORKERS)
    )]
    pub workers: NonZeroUsize,
    /// How many connections clients may have open at once [default: half of what the limit on open
    /// files leaves (ulimit -Hn)]
    ///
    /// Those beyond wait in the kernel's queue until one is closed. The workers share the number
    /// evenly.
    #[arg(long, value_name = "N", value_parser = whole::<NonZeroUsize>(1, 1_000_000))]
    pub max_connections: Option<NonZeroUsize>,
    /// Trust what a proxy in this network says of its clients
    ///
    /// Its X-Forwarded-*, Forwarded, X-Real-IP and True-Client-IP are passed on, its own address is
    /// appended to X-Forwarded-For, and --key client-ip is the client that it names. From any other
    /// client these headers are dropped, and X-Forwarded-For, -Proto and -Host are set anew.
    #[arg(long, value_name = "CIDR", value_parser = text(NETWORK, address::network))]
    pub trusted_proxy: Vec<IpNet>,
    /// The name in the Via header that requests and responses get; off: they get none
    ///
    /// nginx, for one, does not compress responses to requests with a Via header (gzip_proxied).
    #[arg(
        long, value_name = "NAME", default_value = "ringmaster",
        value_parser = text("up to 64 letters, digits and -._", read::via).or("off")
    )]
    pub via: Off<String>,
}

/// The CPUs that this process may use, as far as `--workers` allows.
fn cpus() -> u64 {
    std::thread::available_parallelism().map_or(1, |cpus| MAX_WORKERS.min(cpus.get() as u64))
}
