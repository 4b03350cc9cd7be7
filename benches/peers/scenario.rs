//! The loads.

/// One kind of load on every proxy.
pub struct Scenario {
    /// For `--only` and the tables.
    pub name: &'static str,
    pub what: &'static str,
    pub connections: u32,
    pub replicas: usize,
    pub path: &'static str,
    /// A new connection for every request.
    pub close: bool,
    /// One request on each connection, which then stays open.
    pub idle: bool,
    /// Bytes of a request's body.
    pub upload: usize,
    /// Bytes that a request moves in its larger direction: for bytes per CPU second.
    pub bytes: usize,
}

const SMALL: Scenario = Scenario {
    name: "",
    what: "",
    connections: 50,
    replicas: 3,
    path: "/",
    close: false,
    idle: false,
    upload: 0,
    bytes: 0,
};

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

pub fn all() -> Vec<Scenario> {
    vec![
        Scenario {
            name: "10",
            what: "10 connections kept alive",
            connections: 10,
            ..SMALL
        },
        Scenario {
            name: "50",
            what: "50 connections kept alive",
            ..SMALL
        },
        Scenario {
            name: "200",
            what: "200 connections kept alive",
            connections: 200,
            ..SMALL
        },
        Scenario {
            name: "1000",
            what: "1,000 connections kept alive",
            connections: 1_000,
            ..SMALL
        },
        Scenario {
            name: "close",
            what: "50 at once, a new connection each time",
            close: true,
            ..SMALL
        },
        Scenario {
            name: "down-64k",
            what: "64 KiB responses, 50 connections",
            path: "/64k",
            bytes: 64 * KIB,
            ..SMALL
        },
        Scenario {
            name: "down-1m",
            what: "1 MiB responses, 10 connections",
            connections: 10,
            path: "/1m",
            bytes: MIB,
            ..SMALL
        },
        Scenario {
            name: "up-64k",
            what: "64 KiB requests, 50 connections",
            upload: 64 * KIB,
            bytes: 64 * KIB,
            ..SMALL
        },
        Scenario {
            name: "up-1m",
            what: "1 MiB requests, 10 connections",
            connections: 10,
            upload: MIB,
            bytes: MIB,
            ..SMALL
        },
        Scenario {
            name: "n100",
            what: "100 replicas, 50 connections kept alive",
            replicas: 100,
            ..SMALL
        },
        Scenario {
            // HAProxy needs two open files a connection, and 20,000 is a usual limit.
            name: "9500",
            what: "9,500 connections kept alive",
            connections: 9_500,
            ..SMALL
        },
        Scenario {
            name: "idle",
            what: "9,500 open connections, each idle after one request",
            connections: 9_500,
            idle: true,
            ..SMALL
        },
    ]
}
