//! What holds for containers alone.

use super::super::option::{Allowed, Fallback, OptionSpec};
use super::{CONTAINERS, DOCKER, PLAIN};

pub(super) const OPTIONS: &[OptionSpec] = &[
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
               over the containers of its fleet; two balancers of one name share them. By default \
               it is PROJECT-SERVICE in a container of docker compose, else ringmaster if the \
               balancer listens on port 5000, and ringmaster-PORT on any other.",
        fallback: Fallback::Derived("by compose service or port"),
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
    OptionSpec {
        key: "pull",
        value_name: "WHEN",
        help: "When the image is pulled at start",
        more: "always: each time the balancer starts. missing: if the engine does not have it. never: \
               the engine has to have it. A replica that is started again runs what the engine has. \
               Private registries get the credentials of Docker's configuration (DOCKER_CONFIG, \
               else ~/.docker), credential helpers included.",
        fallback: Fallback::Value("missing"),
        allowed: Allowed::Choice(&["always", "missing", "never"]),
        section: DOCKER,
        runtimes: CONTAINERS,
        ..PLAIN
    },
];
