//! When a replica is well, and what becomes of one that is not.

use super::super::option::{Allowed, Fallback, OptionSpec, Shape};
use super::{DAY, HEALTH, HOUR, PLAIN, ms};

pub(super) const OPTIONS: &[OptionSpec] = &[
    OptionSpec {
        key: "heartbeat",
        value_name: "KIND",
        help: "What a heartbeat does",
        more: "http sends a request; tcp only connects, which tells whether a server listens and \
               not whether it is ready.",
        fallback: Fallback::Value("http"),
        allowed: Allowed::Choice(&["http", "tcp"]),
        section: HEALTH,
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
        key: "heartbeat-header",
        value_name: "HEADER",
        help: "Send a header with each heartbeat, such as 'Host: shop.example'",
        allowed: Allowed::Text("'NAME: VALUE', but for headers of the connection and the body"),
        shape: Shape::List,
        section: HEALTH,
        ..PLAIN
    },
    OptionSpec {
        key: "heartbeat-port",
        value_name: "PORT",
        help: "The port that heartbeats go to",
        fallback: Fallback::Derived("the one that requests go to"),
        allowed: Allowed::Whole(1, 65535),
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
        help: "How many heartbeats in a row without a good answer take a replica off the ring",
        more: "A bad answer makes it unready: it stays as it is. No answer at all: it hangs, and \
               is replaced after --hang-timeout.",
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
        key: "hang-timeout",
        value_name: "DURATION",
        help: "How long a hung replica may take to come back before it is replaced",
        more: "It is off the ring meanwhile. 0s: it is replaced at once.",
        fallback: Fallback::Value("10s"),
        allowed: Allowed::Duration(ms(0), HOUR),
        section: HEALTH,
        ..PLAIN
    },
    OptionSpec {
        key: "unready-timeout",
        value_name: "DURATION",
        help: "How long a replica may answer heartbeats badly before it is replaced, or off",
        more: "It is off the ring meanwhile. Never is more than one replaced at a time while \
               others are unready.",
        fallback: Fallback::Value("5m"),
        allowed: Allowed::Text("a duration from 100ms to 1day, or off"),
        section: HEALTH,
        ..PLAIN
    },
    OptionSpec {
        key: "panic-threshold",
        value_name: "PERCENT",
        help: "Below which share of ready replicas requests go to unready ones, too; 0: never",
        more: "The share is that of the ready among the ready and the unready. So clients see the \
               application's own error page when all replicas miss the same database.",
        fallback: Fallback::Value("50"),
        allowed: Allowed::Whole(0, 100),
        section: HEALTH,
        ..PLAIN
    },
    OptionSpec {
        key: "restart-limit",
        value_name: "N",
        help: "How many deaths within --restart-window make a replica degraded",
        more: "It is then started once a minute, until it has been healthy for one.",
        fallback: Fallback::Value("5"),
        allowed: Allowed::Whole(1, 1_000),
        section: HEALTH,
        ..PLAIN
    },
    OptionSpec {
        key: "restart-window",
        value_name: "DURATION",
        help: "The time in which deaths count for --restart-limit",
        fallback: Fallback::Value("5m"),
        allowed: Allowed::Duration(ms(1_000), DAY),
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
        more: "Failed is what --outlier-on says. \
               Others serve an ejected replica's keys; never are more than half of the replicas ejected.",
        fallback: Fallback::Value("5"),
        allowed: Allowed::Whole(0, 1_000_000),
        section: HEALTH,
        ..PLAIN
    },
    OptionSpec {
        key: "outlier-on",
        value_name: "KIND",
        help: "Which requests have failed",
        more: "errors: a connection that cannot be made, a broken response, and a 502, 503 or 504. \
               5xx: every status from 500 on, too.",
        fallback: Fallback::Value("errors"),
        allowed: Allowed::Choice(&["errors", "5xx"]),
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
];
