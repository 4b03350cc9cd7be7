//! When a replica is well, and what becomes of one that is not.

use super::super::option::{Allowed, Fallback, OptionSpec};
use super::{HEALTH, HOUR, PLAIN, ms};

pub(super) const OPTIONS: &[OptionSpec] = &[
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
];
