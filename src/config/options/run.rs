//! What to run.

use super::super::option::{Allowed, Fallback, OptionSpec, Shape};
use super::{CONTAINERS, FIXED, PLAIN, PROCESSES, RUN, SPAWNING};

pub(super) const OPTIONS: &[OptionSpec] = &[
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
        fallback: Fallback::Derived(
            "the one that the image exposes, else 5000 in a container; a free one for a process",
        ),
        allowed: Allowed::Whole(1, 65535),
        section: RUN,
        runtimes: SPAWNING,
        ..PLAIN
    },
    OptionSpec {
        key: "env",
        value_name: "KEY=VALUE",
        help: "Set an environment variable in every replica",
        more: "A value with commas has a variable of its own: RINGMASTER_ENV__NAME=VALUE, with \
               two underscores.",
        allowed: Allowed::Text("KEY=VALUE, where KEY is neither PORT nor SERVER_ID"),
        shape: Shape::Pairs,
        section: RUN,
        runtimes: SPAWNING,
        ..PLAIN
    },
    OptionSpec {
        key: "env-file",
        value_name: "FILE",
        help: "Set the variables of a file of KEY=VALUE lines in every replica",
        more: "Values are taken as they stand, without quotes removed; blank lines and those that \
               begin with # are passed over. --env wins over files, a later line over an earlier one.",
        allowed: Allowed::Text(
            "a file of KEY=VALUE lines, where KEY is neither PORT nor SERVER_ID",
        ),
        shape: Shape::List,
        section: RUN,
        runtimes: SPAWNING,
        ..PLAIN
    },
    OptionSpec {
        key: "state",
        value_name: "PATH",
        help: "Keep the fleet record in a file, to outlive the balancer",
        more: "What POST /add, DELETE /rm and PATCH /ring have changed then holds after a restart \
               with the same flags. Flags that have changed win in what they say. Containers need \
               no file: the engine keeps their record.",
        allowed: Allowed::Text("a file's path"),
        section: RUN,
        runtimes: PROCESSES,
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
];
