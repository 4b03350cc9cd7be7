//! The command line, the environment and the file, through `cli::parse`.

// Helpers of tests may fail as loudly as tests.
#![allow(clippy::unwrap_used)]

use std::ffi::OsString;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::Path;
use std::time::Duration;

use proptest::prelude::*;
use ringmaster::cli::{self, Invocation, UsageError};
use ringmaster::config::{KeySource, OPTIONS, RuntimeSettings, Settings};
use ringmaster::ring::{ReplicaName, Strategy};
use ringmaster::runtime::docker::Security;

/// What is said at each of the three places.
#[derive(Clone, Copy, Default)]
struct Said<'a> {
    /// As on a command line, without the program's name.
    args: &'a [&'a str],
    /// Pairs of name and value.
    env: &'a [(&'a str, &'a str)],
    /// The text of `ringmaster.toml`, if there is one.
    file: Option<&'a str>,
}

/// What comes of it. Messages name the file `ringmaster.toml`, wherever it was.
fn parse(said: Said<'_>) -> Result<Invocation, Vec<String>> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ringmaster.toml");
    let mut args: Vec<OsString> = vec!["ringmaster".into()];
    args.extend(said.args.iter().map(OsString::from));
    if let Some(text) = said.file {
        std::fs::write(&path, text).unwrap();
        args.extend(["--config".into(), path.clone().into()]);
    }
    let env = said.env.iter().map(|(k, v)| (k.into(), v.into()));
    cli::parse(args, env).map_err(|error| shortened(&error, folder.path()))
}

fn shortened(error: &UsageError, folder: &Path) -> Vec<String> {
    let folder = format!("{}/", folder.display());
    let mistakes = error.mistakes().iter();
    mistakes.map(|line| line.replace(&folder, "")).collect()
}

fn settings(said: Said<'_>) -> Settings {
    match parse(said) {
        Ok(Invocation::Balance { settings, .. }) => *settings,
        other => panic!("{other:?}"),
    }
}

fn flags(args: &[&str]) -> Settings {
    settings(Said {
        args,
        ..Said::default()
    })
}

fn file(text: &str) -> Settings {
    settings(Said {
        file: Some(text),
        ..Said::default()
    })
}

fn env(env: &[(&str, &str)]) -> Settings {
    settings(Said {
        env,
        ..Said::default()
    })
}

#[test]
fn nothing_said_is_three_demo_replicas() {
    let settings = flags(&[]);
    assert_eq!(settings.listen.to_string(), "127.0.0.1:5000");
    assert_eq!(settings.key, KeySource::Id);
    assert_eq!(settings.ring.strategy(), Strategy::Rendezvous);
    let names: Vec<_> = settings.replicas.iter().map(ReplicaName::as_str).collect();
    assert_eq!(names, ["Server1", "Server2", "Server3"]);
    assert_eq!(settings.heartbeat.path, "/heartbeat");
    assert_eq!(settings.heartbeat.interval, Duration::from_secs(1));
    assert_eq!(settings.heartbeat.timeout, Duration::from_secs(1));
    assert_eq!(settings.heartbeat.failures.get(), 3);
    assert_eq!(settings.times.start, Duration::from_secs(60));
    assert_eq!(settings.times.header, Duration::from_secs(5));
    assert_eq!(settings.times.request.wait, Duration::from_secs(5));
    assert_eq!(settings.times.connect, Duration::from_millis(500));
    assert_eq!(settings.times.request.response, Duration::from_secs(60));
    assert_eq!(settings.times.drain, Duration::from_secs(30));
    assert_eq!(settings.times.stop_grace, Duration::from_secs(5));
    assert_eq!(settings.max_waiting, 1024);
    assert_eq!(settings.max_body, None);
    let RuntimeSettings::Process(template) = settings.runtime else {
        panic!("{:?}", settings.runtime);
    };
    assert_eq!(template, ringmaster::runtime::ReplicaTemplate::default());
}

#[test]
fn an_image_is_run_as_containers_with_limits() {
    let settings = flags(&["--image", "shop:1.4", "--replica-port", "8080"]);
    let RuntimeSettings::Docker(docker) = settings.runtime else {
        panic!("{:?}", settings.runtime);
    };
    assert_eq!(docker.image, "shop:1.4");
    assert_eq!(docker.fleet, "ringmaster");
    assert_eq!(docker.network, "ringmaster");
    assert_eq!(docker.security, Security::Restricted);
    assert_eq!(docker.template.port, Some(8080));
    assert_eq!(docker.template.memory, Some(512 << 20));
    assert_eq!(docker.template.nano_cpus, None);
    assert_eq!(docker.template.pids, Some(512));
    assert_eq!(docker.template.command, None);

    let line = "--image a --fleet shop --memory none --pids none --cpus 0.5 \
                --replica-security baseline";
    let line: Vec<_> = line.split_whitespace().collect();
    let RuntimeSettings::Docker(docker) = flags(&line).runtime else {
        panic!("not docker");
    };
    assert_eq!(docker.network, "shop");
    assert_eq!(docker.security, Security::Baseline);
    assert_eq!(docker.template.port, Some(5000));
    assert_eq!(docker.template.memory, None);
    assert_eq!(docker.template.nano_cpus, Some(500_000_000));
    assert_eq!(docker.template.pids, None);
}

#[test]
fn upstreams_are_the_replicas() {
    let settings = flags(&["--upstream", "127.0.0.1:9001", "--upstream", "blue=b:9002"]);
    let names: Vec<_> = settings.replicas.iter().map(ReplicaName::as_str).collect();
    assert_eq!(names, ["127.0.0.1:9001", "blue"]);
    let RuntimeSettings::Static(upstreams) = settings.runtime else {
        panic!("{:?}", settings.runtime);
    };
    assert_eq!(upstreams[1].address, "b:9002");
}

#[test]
fn a_command_is_split_as_a_shell_would() {
    let expected = ["python3", "my app.py", "--port", "{port}"];
    for settings in [
        flags(&["--command", "python3 'my app.py' --port {port}"]),
        env(&[("RINGMASTER_COMMAND", "python3 'my app.py' --port {port}")]),
        file("command = \"python3 'my app.py' --port {port}\""),
        file("command = ['python3', 'my app.py', '--port', '{port}']"),
    ] {
        let RuntimeSettings::Process(template) = settings.runtime else {
            panic!("{:?}", settings.runtime);
        };
        assert_eq!(template.command.unwrap(), expected);
    }
    let RuntimeSettings::Process(template) = flags(&["--command", "-x y"]).runtime else {
        panic!("not process");
    };
    assert_eq!(template.command.unwrap(), ["-x", "y"]);
}

#[test]
fn lists_can_be_said_at_every_place() {
    let pairs = [("A", "1"), ("B", "x=y")].map(|(k, v)| (k.to_owned(), v.to_owned()));
    for settings in [
        flags(&["--env", "A=1", "--env", "B=x=y"]),
        env(&[("RINGMASTER_ENV", "A=1, B=x=y")]),
        file("env = ['A=1', 'B=x=y']"),
        file("env = 'A=1,B=x=y'"),
        file("env = { A = 1, B = 'x=y' }"),
        file("[env]\nA = '1'\nB = 'x=y'"),
    ] {
        let RuntimeSettings::Process(template) = settings.runtime else {
            panic!("{:?}", settings.runtime);
        };
        assert_eq!(template.env, pairs);
    }
    for settings in [
        flags(&["--upstream", "a=h:1", "--upstream", "h:2"]),
        env(&[("RINGMASTER_UPSTREAM", "a=h:1,h:2")]),
        file("upstream = ['a=h:1', 'h:2']"),
        file("upstream = 'a=h:1, h:2'"),
    ] {
        let names: Vec<_> = settings.replicas.iter().map(ReplicaName::as_str).collect();
        assert_eq!(names, ["a", "h:2"]);
    }
}

/// Three good values for an option, the first the weakest, and what else must be said for
/// them to be.
fn three_values(key: &str) -> ([&'static str; 3], &'static [&'static str]) {
    const DOCKER: &[&str] = &["--runtime", "docker", "--image", "x"];
    match key {
        "replicas"
        | "workers"
        | "max-connections"
        | "heartbeat-failures"
        | "heartbeat-successes"
        | "outlier-failures"
        | "retry-budget"
        | "max-waiting" => (["7", "8", "9"], &[]),
        "pids" => (["7", "8", "9"], DOCKER),
        "cpus" => (["0.5", "1", "1.5"], DOCKER),
        "memory" => (["64m", "65m", "66m"], DOCKER),
        "max-body" => (["1", "8k", "none"], &[]),
        "fleet" | "docker-network" => (["a", "b", "c"], DOCKER),
        "replica-security" => (["restricted", "baseline", "restricted"], DOCKER),
        "replica-port" => (["7", "8", "9"], &["--replicas", "1"]),
        "slots" => (["101", "102", "103"], &[]),
        "virtual-servers" => (["7", "8", "9"], &["--strategy", "ring"]),
        "strategy" => (["classic", "ring", "maglev"], &[]),
        "key" => (["path", "client-ip", "query:q"], &[]),
        "listen" | "admin" => (["127.0.0.1:1", "127.0.0.1:2", "[::1]:3"], &[]),
        "request-timeout" => (["0s", "2s", "3s"], &[]),
        "max-in-flight" => (["7", "none", "9"], &[]),
        "balance-factor" => (["1.1", "2", "3"], &[]),
        "heartbeat-method" => (["HEAD", "POST", "OPTIONS"], &[]),
        "heartbeat-status" => (["200", "201,202", "300-399"], &[]),
        "heartbeat-body" => (["a", "b", "c"], &[]),
        "heartbeat-path" => (["/a", "/b", "/c"], &[]),
        "command" => (["a", "b", "c"], &[]),
        "env" => (["A=1", "B=2", "C=3"], &[]),
        "image" => (["a", "b", "c"], &[]),
        "trusted-proxy" => (["10.0.0.0/8", "10.1.2.3", "fd00::/8"], &[]),
        "upstream" => (["a:1", "b:2", "c:3"], &[]),
        "runtime" => (["process", "docker", "process"], &[]),
        _ if key.ends_with("-timeout")
            || key.ends_with("-interval")
            || matches!(
                key,
                "stop-grace" | "hang-mercy" | "slow-start" | "outlier-ejection"
            ) =>
        {
            (["7s", "8s", "9s"], &[])
        }
        _ => panic!("no values for {key}"),
    }
}

#[test]
fn flags_win_over_variables_and_they_over_the_file_for_every_option() {
    for option in OPTIONS.iter().filter(|option| option.key != "config") {
        let key = option.key;
        let ([low, middle, high], others) = three_values(key);
        let flag = format!("--{key}");
        let variable = option.variable();
        let text = format!("{key} = '{low}'\n");
        let variables = [(variable.as_str(), middle)];
        let with = |value| [others, &[flag.as_str(), value]].concat();
        let alone = |value| {
            parse(Said {
                args: &with(value),
                ..Said::default()
            })
        };
        let over = |args: &[&str], env: &[(&str, &str)]| {
            parse(Said {
                args,
                env,
                file: Some(&text),
            })
        };
        let same = |a: Result<Invocation, Vec<String>>, b: Result<Invocation, Vec<String>>| {
            // A mistake names its origin, so that only what holds can be compared.
            match (a, b) {
                (
                    Ok(Invocation::Balance { settings: a, .. }),
                    Ok(Invocation::Balance { settings: b, .. }),
                ) => assert_eq!(a, b, "{key}"),
                (Err(_), Err(_)) if key == "runtime" => {}
                (a, b) => panic!("{key}: {a:?} {b:?}"),
            }
        };
        same(over(&with(high), &variables), alone(high));
        same(over(others, &variables), alone(middle));
        same(over(others, &[]), alone(low));
        // What `${NAME:-}` in a compose file leaves counts as nothing.
        same(over(others, &[(variable.as_str(), "")]), alone(low));
    }
}

#[test]
fn the_file_is_named_by_flag_or_variable() {
    let folder = tempfile::tempdir().unwrap();
    let [five, six] = [5, 6].map(|n| {
        let path = folder.path().join(format!("{n}.toml"));
        std::fs::write(&path, format!("replicas = {n}")).unwrap();
        path.to_str().unwrap().to_owned()
    });
    let variable = [("RINGMASTER_CONFIG", five.as_str())];
    assert_eq!(env(&variable).replicas.len(), 5);
    let both = Said {
        args: &["--config", &six],
        env: &variable,
        file: None,
    };
    assert_eq!(settings(both).replicas.len(), 6);
}

#[test]
fn numbers_in_the_file_need_no_quotes() {
    let settings = file(
        "replicas = 5\nworkers = 0x2\nmax-waiting = 1_000\nheartbeat-failures = 2\nslots = 4_096\n",
    );
    assert_eq!(settings.replicas.len(), 5);
    assert_eq!(settings.workers, NonZeroUsize::new(2).unwrap());
    assert_eq!(settings.max_waiting, 1000);
    assert_eq!(settings.heartbeat.failures, NonZeroU32::new(2).unwrap());
    assert_eq!(settings.ring.slots(), 4096);
    let RuntimeSettings::Docker(docker) =
        file("image = 'x'\ncpus = 0.5\nmemory = 6_291_456\n").runtime
    else {
        panic!("not docker");
    };
    assert_eq!(docker.template.nano_cpus, Some(500_000_000));
    assert_eq!(docker.template.memory, Some(6 << 20));
}

/// A story of wrong use: what was said, and every line of the answer.
struct Wrong<'a>(Said<'a>, &'a [&'a str]);

/// Short for a story of flags alone.
const fn args<'a>(args: &'a [&'a str], answer: &'a [&'a str]) -> Wrong<'a> {
    Wrong(
        Said {
            args,
            env: &[],
            file: None,
        },
        answer,
    )
}

const fn toml<'a>(text: &'a str, answer: &'a [&'a str]) -> Wrong<'a> {
    Wrong(
        Said {
            args: &[],
            env: &[],
            file: Some(text),
        },
        answer,
    )
}

const WRONG: &[Wrong<'_>] = &[
    // Where a value came from.
    args(
        &["--replicas", "many"],
        &["replicas = \"many\" (from --replicas): not a whole number; allowed is 1 to 1024"],
    ),
    Wrong(
        Said {
            args: &[],
            env: &[("RINGMASTER_REPLICAS", "many")],
            file: None,
        },
        &[
            "replicas = \"many\" (from RINGMASTER_REPLICAS): not a whole number; allowed is 1 to 1024",
        ],
    ),
    toml(
        "\n# five\nreplicas = true\n",
        &[
            "replicas = \"true\" (from ringmaster.toml, line 3): not a whole number; allowed is 1 to 1024",
        ],
    ),
    // Bounds.
    args(
        &["--replicas", "0"],
        &["replicas = \"0\" (from --replicas): too small; allowed is 1 to 1024"],
    ),
    args(
        &["--replicas", "-1"],
        &["replicas = \"-1\" (from --replicas): not a whole number; allowed is 1 to 1024"],
    ),
    args(
        &["--replicas", "1025"],
        &["replicas = \"1025\" (from --replicas): too large; allowed is 1 to 1024"],
    ),
    args(
        &["--replicas", "99999999999999999999"],
        &["replicas = \"99999999999999999999\" (from --replicas): too large; allowed is 1 to 1024"],
    ),
    args(
        &["--heartbeat-interval", "5"],
        &[
            "heartbeat-interval = \"5\" (from --heartbeat-interval): a duration needs a unit: write 5s or 5ms; allowed is 10ms to 1h",
        ],
    ),
    toml(
        "heartbeat-interval = 5",
        &[
            "heartbeat-interval = \"5\" (from ringmaster.toml, line 1): a duration needs a unit: write 5s or 5ms; allowed is 10ms to 1h",
        ],
    ),
    args(
        &["--heartbeat-timeout", "1ms", "--drain-timeout", "2h"],
        &[
            "heartbeat-timeout = \"1ms\" (from --heartbeat-timeout): too short; allowed is 10ms to 1h",
            "drain-timeout = \"2h\" (from --drain-timeout): too long; allowed is 0s to 1h",
        ],
    ),
    args(
        &[
            "--image", "x", "--memory", "5m", "--cpus", "many", "--pids", "0",
        ],
        &[
            "memory = \"5m\" (from --memory): too small; allowed is 6m or more, with k, m or g for KiB, MiB or GiB; or none",
            "cpus = \"many\" (from --cpus): not a number of CPUs such as 0.5; allowed is 0.01 to 1024, or none",
            "pids = \"0\" (from --pids): too small; allowed is 1 to 4194304, or none",
        ],
    ),
    // Words, names, addresses.
    args(
        &["--listen", ":5000", "--key", "header"],
        &[
            "listen = \":5000\" (from --listen): an address is missing before the port: write 0.0.0.0:5000; allowed is IP:PORT, such as 127.0.0.1:5000, 0.0.0.0:5000 or [::1]:5000",
            "key = \"header\" (from --key): a name is missing: write header:NAME; allowed is id, header:NAME, cookie:NAME, query:NAME, path or client-ip",
        ],
    ),
    args(
        &["--heartbeat-path", "healthz"],
        &[
            "heartbeat-path = \"healthz\" (from --heartbeat-path): does not start with '/'; allowed is a path that starts with '/', without spaces",
        ],
    ),
    args(
        &["--runtime", "dcoker"],
        &[
            "runtime = \"dcoker\" (from --runtime): not a runtime; allowed is process, docker or static",
        ],
    ),
    args(
        &["--command", "a 'b"],
        &[
            "command = \"a 'b\" (from --command): a quote is not closed; allowed is a program and its arguments",
        ],
    ),
    args(
        &[
            "--image",
            "",
            "--fleet",
            "a b",
            "--docker-network",
            "host",
            "--replica-security",
            "off",
        ],
        &[
            "image = \"\" (from --image): not an image's name; allowed is an image's name, such as shop:1.4",
            "fleet = \"a b\" (from --fleet): not a name; allowed is 1 to 63 letters, digits, '-', '_' and '.', a letter or digit first",
            "docker-network = \"host\" (from --docker-network): gives a replica no address; allowed is a network's name of letters, digits, '-', '_' and '.', but not host or none, which give a container no address",
            "replica-security = \"off\" (from --replica-security): not a level; allowed is restricted or baseline",
        ],
    ),
    // The ring.
    args(
        &["--strategy", "rnig"],
        &[
            "strategy = \"rnig\" (from --strategy): not a strategy; allowed is classic, quadratic, modulo, ring, maglev or rendezvous",
        ],
    ),
    args(
        &[
            "--strategy",
            "maglev",
            "--slots",
            "65536",
            "--virtual-servers",
            "9",
        ],
        &[
            "slots = \"65536\" (from --slots): maglev wants a prime number, such as 251, 1021, 4093, 65537 or 655373",
            "virtual-servers = \"9\" (from --virtual-servers): only classic, quadratic, modulo and ring have virtual servers",
        ],
    ),
    args(
        &["--slots", "0"],
        &["slots = \"0\" (from --slots): too small; allowed is 1 to 1048576"],
    ),
    // Variables of replicas: their values are never shown.
    args(
        &[
            "--env", "PORT=80", "--env", "SECRET", "--env", "A=1", "--env", "A=hush",
        ],
        &[
            "env = \"PORT=...\" (from --env): PORT is set by ringmaster; allowed is KEY=VALUE, where KEY is neither PORT nor SERVER_ID",
            "env = \"SECRET\" (from --env): a value is missing; allowed is KEY=VALUE, where KEY is neither PORT nor SERVER_ID",
            "env = \"A=...\" (from --env): A is set twice",
        ],
    ),
    // Upstreams.
    args(
        &[
            "--upstream",
            "http://a:80",
            "--upstream",
            "b:1",
            "--upstream",
            "B:1",
            "--upstream",
            "x=c:1",
            "--upstream",
            "x=d:1",
            "--upstream",
            "localhost:5000",
        ],
        &[
            "upstream = \"http://a:80\" (from --upstream): write HOST:PORT alone, without a scheme; allowed is HOST:PORT or NAME=HOST:PORT",
            "upstream = \"B:1\" (from --upstream): b:1 is given twice",
            "upstream = \"x=d:1\" (from --upstream): the name x is given twice",
            "upstream = \"localhost:5000\" (from --upstream): is where the balancer itself listens; it would forward to itself",
        ],
    ),
    args(
        &["--runtime", "static"],
        &["upstream: missing; runtime static needs at least one HOST:PORT or NAME=HOST:PORT"],
    ),
    // What belongs to which runtime.
    args(
        &["--runtime", "docker"],
        &["image: missing; runtime docker needs to know what to run"],
    ),
    args(
        &["--image", "x", "--upstream", "a:1"],
        &[
            "upstream = [\"a:1\"] (from --upstream): replicas are either started or run by somebody else, and image (from --image) says the former; give one of the two",
        ],
    ),
    args(
        &[
            "--runtime",
            "process",
            "--upstream",
            "a:1",
            "--memory",
            "1g",
        ],
        &[
            "upstream = [\"a:1\"] (from --upstream): only for runtime static, but the runtime is process (from --runtime)",
            "memory = \"1g\" (from --memory): only for runtime docker, but the runtime is process (from --runtime)",
        ],
    ),
    args(
        &["--memory", "nonsense"],
        &[
            "memory = \"nonsense\" (from --memory): only for runtime docker, but the runtime is process (by default)",
        ],
    ),
    Wrong(
        Said {
            args: &["--upstream", "a:1", "--command", "x", "--replicas", "3"],
            env: &[("RINGMASTER_ENV", "A=1")],
            file: Some("fleet = 'x'"),
        },
        &[
            "replicas = \"3\" (from --replicas): only for runtime process or docker, but the runtime is static (because of upstream, from --upstream)",
            "command = \"x\" (from --command): only for runtime process or docker, but the runtime is static (because of upstream, from --upstream)",
            "env = [\"A=...\"] (from RINGMASTER_ENV): only for runtime process or docker, but the runtime is static (because of upstream, from --upstream)",
            "fleet = \"x\" (from ringmaster.toml, line 1): only for runtime docker, but the runtime is static (because of upstream, from --upstream)",
        ],
    ),
    args(
        &["--replica-port", "80"],
        &[
            "replica-port = \"80\" (from --replica-port): 3 replicas on one machine cannot share a port; leave it out, and each gets a free one, as PORT and {port}",
        ],
    ),
    // The file.
    toml(
        "replcas = 3\nheartbeat_interval = '1s'\ncolour = 'red'\nconfig = 'x'\n[heartbeat]\ninterval = '1s'\n",
        &[
            "replcas (from ringmaster.toml, line 1): not a known key; did you mean replicas?",
            "heartbeat_interval (from ringmaster.toml, line 2): not a known key; did you mean heartbeat-interval?",
            "colour (from ringmaster.toml, line 3): not a known key; see 'ringmaster --help'",
            "config (from ringmaster.toml, line 4): a file cannot name another file",
            "heartbeat (from ringmaster.toml, line 5): not a known key; write heartbeat-interval = ..., keys have no sections",
        ],
    ),
    toml(
        "runtime = 'docker'\nimage = ['x']\nreplicas = [3]\nupstream = { a = 'h:1' }\nenv = [['A']]\nkey = 'x'",
        &[
            "upstream (from ringmaster.toml, line 4): a table; allowed is HOST:PORT or NAME=HOST:PORT",
            "env (from ringmaster.toml, line 5): a list in a list; allowed is KEY=VALUE, where KEY is neither PORT nor SERVER_ID",
            "key = \"x\" (from ringmaster.toml, line 6): not a kind of key; allowed is id, header:NAME, cookie:NAME, query:NAME, path or client-ip",
            "replicas = [\"3\"] (from ringmaster.toml, line 3): a list; allowed is 1 to 1024",
            "image = [\"x\"] (from ringmaster.toml, line 2): a list; allowed is an image's name, such as shop:1.4",
        ],
    ),
    toml(
        "replicas = 3\nlisten = \n",
        &["ringmaster.toml, line 2: string values must be quoted, expected literal string"],
    ),
    toml(
        "replicas = 3\nreplicas = 4\n",
        &["ringmaster.toml, line 2: duplicate key"],
    ),
    args(
        &["--config", "/nowhere/ringmaster.toml", "--replicas", "0"],
        &[
            "config = \"/nowhere/ringmaster.toml\" (from --config): cannot read: No such file or directory (os error 2)",
        ],
    ),
    // What clap finds.
    args(
        &["--replcas", "3"],
        &["unexpected argument '--replcas' found; tip: a similar argument exists: '--replicas'"],
    ),
    args(
        &["--replicas"],
        &["a value is required for '--replicas <N>' but none was supplied"],
    ),
    args(
        &["--replicas", "1", "--replicas", "2"],
        &["the argument '--replicas <N>' cannot be used multiple times"],
    ),
    args(
        &["repilca"],
        &["unrecognized subcommand 'repilca'; tip: a similar subcommand exists: 'replica'"],
    ),
    args(
        &["--replicas", "1", "check"],
        &["the subcommand 'check' cannot be used with '--replicas <N>'"],
    ),
    // Subcommands.
    args(
        &["replica", "--listen", "here"],
        &["listen = \"here\" (from --listen): not an address to listen on; allowed is IP:PORT"],
    ),
    Wrong(
        Said {
            args: &["replica"],
            env: &[("PORT", "http")],
            file: None,
        },
        &["PORT = \"http\": not a port; allowed is 0 to 65535"],
    ),
    args(
        &["healthcheck", "--url", "https://a/"],
        &[
            "url = \"https://a/\" (from --url): does not start with http://; allowed is http://HOST:PORT/PATH",
        ],
    ),
];

#[test]
fn every_mistake_is_named_with_its_key_and_what_is_allowed() {
    let mut different = String::new();
    for Wrong(said, expected) in WRONG {
        let answer = match parse(*said) {
            Err(lines) => lines,
            Ok(invocation) => vec![format!("{invocation:?}")],
        };
        if answer != *expected {
            different.push_str(&format!("{:?} {:?}\n", said.args, said.file));
            for line in answer {
                different.push_str(&format!("    {line:?},\n"));
            }
        }
    }
    assert!(different.is_empty(), "\n{different}");
}

#[test]
fn a_usage_error_ends_with_where_to_read_on() {
    let error = cli::parse(
        ["ringmaster", "--replicas", "0", "--workers", "0"].map(OsString::from),
        [],
    )
    .unwrap_err();
    assert_eq!(
        error.to_string(),
        "error: workers = \"0\" (from --workers): too small; allowed is 1 to 256\n\
         error: replicas = \"0\" (from --replicas): too small; allowed is 1 to 1024\n\
         try 'ringmaster --help'"
    );
}

#[test]
fn unknown_variables_are_warnings() {
    let invocation = parse(Said {
        env: &[
            ("RINGMASTER_SERVICE_HOST", "10.0.0.1"),
            ("RINGMASTER_REPLICA", "5"),
            ("RINGMASTER_LOG", "debug"),
            ("RINGMASTER_NOTHING", ""),
            ("PATH", "/bin"),
        ],
        ..Said::default()
    });
    let Ok(Invocation::Balance { warnings, .. }) = invocation else {
        panic!("{invocation:?}");
    };
    assert_eq!(
        warnings,
        [
            "RINGMASTER_REPLICA is set but means nothing; did you mean RINGMASTER_REPLICAS?",
            "RINGMASTER_SERVICE_HOST is set but means nothing",
        ]
    );
}

#[test]
fn check_prints_a_file_that_says_the_same() {
    let said = Said {
        args: &["check", "--image", "shop:1.4", "--env", "TOKEN=hush"],
        env: &[
            ("RINGMASTER_REPLICAS", "5"),
            ("RINGMASTER_WORKERS", "2"),
            ("RINGMASTER_MAX_CONNECTIONS", "9000"),
            ("RINGMASTER_COMMAND", "sh -c 'exec \"a\" \\ b'"),
        ],
        file: None,
    };
    let Ok(Invocation::Check { report, .. }) = parse(said) else {
        panic!("{:?}", parse(said));
    };
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/check.toml");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(path, &report).unwrap();
    }
    assert_eq!(report, std::fs::read_to_string(path).unwrap());
    let without_env = Said {
        args: &["--image", "shop:1.4"],
        ..said
    };
    assert_eq!(file(&report), settings(without_env));
}

#[test]
fn the_other_subcommands() {
    let shown = |args: &[&str], env: &[(&str, &str)]| {
        let said = Said {
            args,
            env,
            file: None,
        };
        match parse(said) {
            Ok(Invocation::Replica { listen, id }) => format!("replica {listen} {id}"),
            Ok(Invocation::Healthcheck { url }) => format!("healthcheck {url}"),
            other => panic!("{other:?}"),
        }
    };
    for (args, env, expected) in [
        (&["replica"][..], &[][..], "replica 127.0.0.1:5001 1"),
        (
            &["replica"],
            &[("PORT", "6000"), ("SERVER_ID", "Server3")],
            "replica 127.0.0.1:6000 Server3",
        ),
        (
            &["replica", "--listen", "0.0.0.0:80", "--id", "x"],
            &[("PORT", "6000"), ("SERVER_ID", "Server3")],
            "replica 0.0.0.0:80 x",
        ),
        (
            &["healthcheck"],
            &[],
            "healthcheck http://127.0.0.1:5000/rep",
        ),
        (
            &["healthcheck"],
            &[("RINGMASTER_LISTEN", "0.0.0.0:8080")],
            "healthcheck http://127.0.0.1:8080/rep",
        ),
        (
            &["healthcheck", "--url", "http://lb/rep"],
            &[],
            "healthcheck http://lb/rep",
        ),
    ] {
        assert_eq!(shown(args, env), expected);
    }
}

#[test]
fn help_and_version_are_printed() {
    for (arg, expected) in [
        (
            "--version",
            concat!("ringmaster ", env!("CARGO_PKG_VERSION"), "\n"),
        ),
        (
            "-V",
            concat!("ringmaster ", env!("CARGO_PKG_VERSION"), "\n"),
        ),
        ("-h", "A self-healing HTTP load balancer"),
        ("--help", "A self-healing HTTP load balancer"),
    ] {
        let Ok(Invocation::Print(page)) = parse(Said {
            args: &[arg],
            ..Said::default()
        }) else {
            panic!("{arg}");
        };
        assert!(page.to_string().starts_with(expected), "{page}");
    }
}

proptest! {
    #[test]
    fn no_arguments_panic(args in prop::collection::vec(any::<String>(), 0..6)) {
        let args = std::iter::once("ringmaster".to_owned()).chain(args).map(OsString::from);
        let _ = cli::parse(args, []);
    }

    #[test]
    fn no_value_panics(index in 0..OPTIONS.len(), value in any::<String>(), docker: bool) {
        let option = &OPTIONS[index];
        let runtime = if docker { "docker" } else { "static" };
        let env = [(option.variable(), value.clone()), ("RINGMASTER_RUNTIME".into(), runtime.into())]
            .map(|(name, value)| (OsString::from(name), OsString::from(value)));
        let flag = format!("--{}={value}", option.key);
        // Whatever file such a text may name is left alone.
        if option.key != "config" {
            let _ = cli::parse([OsString::from("ringmaster")], env);
            let _ = cli::parse(["ringmaster".into(), OsString::from(flag)], []);
        }
    }

    #[test]
    fn no_file_panics(text in any::<String>(), index in 0..OPTIONS.len(), value in "[\\[\\]{}\"'0-9a-z=., -]{0,20}") {
        let key = OPTIONS[index].key;
        for text in [text, format!("{key} = {value}")] {
            let _ = parse(Said { file: Some(&text), ..Said::default() });
        }
    }
}

#[test]
fn the_readme_lists_the_options_as_they_are() {
    let readme = include_str!("../README.md");
    let (_, rest) = readme.split_once("<!-- options -->\n").unwrap();
    let (listed, _) = rest.split_once("<!-- /options -->").unwrap();
    assert_eq!(listed.trim(), ringmaster::config::options_markdown().trim());
}
