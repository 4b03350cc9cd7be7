//! What is wrong, where, and what is allowed.

use super::*;

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
    args(
        &["--retry", "always"],
        &[
            "retry = \"always\" (from --retry): unknown value; allowed is never, unsent or idempotent",
        ],
    ),
    args(
        &["--sticky-cookie", "a b", "--sticky-ttl", "0s"],
        &[
            "sticky-cookie = \"a b\" (from --sticky-cookie): not the name of a cookie; allowed is the name of a cookie: letters, digits and !#$%&'*+-.^_`|~",
            "sticky-ttl = \"0s\" (from --sticky-ttl): too short; allowed is 1s to 1year",
        ],
    ),
    args(
        &["--sticky-ttl", "1h"],
        &["sticky-ttl = \"1h\" (from --sticky-ttl): needs --sticky-cookie"],
    ),
    args(
        &["--admin-calls", "yes", "--admin-host", "lb:80"],
        &[
            "admin-calls = \"yes\" (from --admin-calls): unknown value; allowed is on, off or local",
            "admin-host = \"lb:80\" (from --admin-host): not a host's name; allowed is a host's \
             name without a port, such as lb.example.org",
        ],
    ),
    args(
        &["--via", "two words"],
        &[
            "via = \"two words\" (from --via): not a name; allowed is up to 64 letters, digits and -._, or off",
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
        &["--heartbeat", "tcp", "--heartbeat-body", "up"],
        &[
            "heartbeat-body = \"up\" (from --heartbeat-body): is for --heartbeat http, but --heartbeat is tcp",
        ],
    ),
    args(
        &[
            "--heartbeat-header",
            "Host",
            "--heartbeat-header",
            "Transfer-Encoding: chunked",
            "--heartbeat-header",
            "X-A: 1",
            "--heartbeat-header",
            "x-a: 2",
        ],
        &[
            "heartbeat-header = \"Host\" (from --heartbeat-header): has no ':'; allowed is 'NAME: VALUE', but for headers of the connection and the body",
            "heartbeat-header = \"Transfer-Encoding: chunked\" (from --heartbeat-header): transfer-encoding is set by the balancer alone; allowed is 'NAME: VALUE', but for headers of the connection and the body",
            "heartbeat-header = \"x-a: 2\" (from --heartbeat-header): x-a is given twice",
        ],
    ),
    args(
        &["--heartbeat-port", "5001"],
        &[
            "heartbeat-port = \"5001\" (from --heartbeat-port): 3 replicas on one machine cannot share it",
        ],
    ),
    args(
        &[
            "--unready-timeout",
            "1ms",
            "--panic-threshold",
            "101",
            "--restart-limit",
            "0",
        ],
        &[
            "unready-timeout = \"1ms\" (from --unready-timeout): too short; allowed is 100ms to 1day, or off",
            "panic-threshold = \"101\" (from --panic-threshold): too large; allowed is 0 to 100",
            "restart-limit = \"0\" (from --restart-limit): too small; allowed is 1 to 1000",
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
            "runtime = \"dcoker\" (from --runtime): unknown value; allowed is process, docker or static",
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
            "replica-security = \"off\" (from --replica-security): unknown value; allowed is restricted or baseline",
        ],
    ),
    // The ring.
    args(
        &["--strategy", "rnig"],
        &[
            "strategy = \"rnig\" (from --strategy): unknown value; allowed is classic, quadratic, modulo, ring, maglev or rendezvous",
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
            "slots = \"65536\" (from --slots): maglev needs a prime number, such as 251, 1021, 4093, 65537 or 655373",
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
    Wrong(
        Said {
            args: &[],
            env: &[
                ("RINGMASTER_ENV__PORT", "80"),
                ("RINGMASTER_ENV", "A=1"),
                ("RINGMASTER_ENV__A", "hush,hush"),
            ],
            file: None,
        },
        &[
            "env = \"PORT=...\" (from RINGMASTER_ENV...): PORT is set by ringmaster; allowed is KEY=VALUE, where KEY is neither PORT nor SERVER_ID",
            "env = \"A=...\" (from RINGMASTER_ENV...): A is set twice",
        ],
    ),
    args(
        &[
            "--env-file",
            "/nowhere/x.env",
            "--env-file",
            "tests/config/wrong.env",
        ],
        &[
            "env-file = \"/nowhere/x.env\" (from --env-file): cannot read: No such file or directory (os error 2); allowed is a file of KEY=VALUE lines, where KEY is neither PORT nor SERVER_ID",
            "env-file = \"tests/config/wrong.env\" (from --env-file): line 2: a value is missing; line 4: PORT is set by ringmaster; allowed is a file of KEY=VALUE lines, where KEY is neither PORT nor SERVER_ID",
        ],
    ),
    // Upstreams.
    args(
        &["--upstream", "Blue=a:1", "--upstream", "blue=b:1"],
        &["upstream = \"blue=b:1\" (from --upstream): DNS cannot tell the name blue from Blue"],
    ),
    args(
        &["--upstream", "localhost=a:1"],
        &[
            "upstream = \"localhost=a:1\" (from --upstream): \"localhost\" is not a replica name: DNS takes it for the machine that asks; allowed is HOST:PORT or NAME=HOST:PORT",
        ],
    ),
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
            "upstream = \"b:1\" (from --upstream): b:1 is given twice",
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
            "upstream = [\"a:1\"] (from --upstream): is for servers that run already, image (from --image) for replicas to start; give one of the two",
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
            "replica-port = \"80\" (from --replica-port): 3 replicas on one machine cannot share it; without it each gets a free one, as PORT and {port}",
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
            "heartbeat (from ringmaster.toml, line 5): keys have no sections: write heartbeat-interval = ...",
        ],
    ),
    toml(
        "runtime = 'docker'\nimage = ['x']\nreplicas = [3]\nupstream = { a = 'h:1' }\nenv = [['A']]\nkey = 'x'",
        &[
            "upstream (from ringmaster.toml, line 4): a table; allowed is HOST:PORT or NAME=HOST:PORT",
            "env (from ringmaster.toml, line 5): a list in a list; allowed is KEY=VALUE, where KEY is neither PORT nor SERVER_ID",
            "replicas = [\"3\"] (from ringmaster.toml, line 3): a list; allowed is 1 to 1024",
            "image = [\"x\"] (from ringmaster.toml, line 2): a list; allowed is an image's name, such as shop:1.4",
            "key = \"x\" (from ringmaster.toml, line 6): not a kind of key; allowed is id, header:NAME, cookie:NAME, query:NAME, path or client-ip",
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
        &["unexpected argument '--replcas' found; did you mean --replicas?"],
    ),
    args(&["--port", "3"], &["unexpected argument '--port' found"]),
    args(
        &["drill", "--kill", "all", "--ratte", "3"],
        &["unexpected argument '--ratte' found; did you mean --rate?"],
    ),
    args(
        &["drill", "--kill", "all", "--rate", "0"],
        &["invalid value '0' for '--rate <N>': too small; allowed is 1 to 5000"],
    ),
    args(
        &["analyze", "--requests", "many"],
        &[
            "invalid value 'many' for '--requests <N>': not a whole number; allowed is 1 to 10000000",
        ],
    ),
    args(
        &["serve"],
        &[
            "'serve' is not a command; the commands are check, ring, replica, healthcheck, analyze, drill",
        ],
    ),
    args(
        &["ring", "help", "shwo"],
        &["'shwo' is not a command; did you mean show?"],
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
        &["'repilca' is not a command; did you mean replica?"],
    ),
    args(
        &["--replicas", "1", "check"],
        &["the subcommand 'check' cannot be used with '--replicas <N>'"],
    ),
    // Subcommands.
    args(
        &["replica", "--listen", "here"],
        &[
            "invalid value 'here' for '--listen <ADDR>': not an address to listen on; allowed is IP:PORT",
        ],
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
            "invalid value 'https://a/' for '--url <URL>': does not start with http://; allowed is http://HOST:PORT/PATH",
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
        "error: replicas = \"0\" (from --replicas): too small; allowed is 1 to 1024\n\
         error: workers = \"0\" (from --workers): too small; allowed is 1 to 256\n\
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
            "RINGMASTER_REPLICA is not a known variable; did you mean RINGMASTER_REPLICAS?",
            "RINGMASTER_SERVICE_HOST is not a known variable",
        ]
    );
}

#[test]
fn mistakes_point_to_the_help_of_their_own_subcommand() {
    for (args, help) in [
        (&["--replcas", "3"][..], "try 'ringmaster --help'"),
        (
            &["check", "--replicas", "0"],
            "try 'ringmaster check --help'",
        ),
        (&["drill"], "try 'ringmaster drill --help'"),
        (
            &["drill", "--kill", "a", "--url", "x"],
            "try 'ringmaster drill --help'",
        ),
        (
            &["analyze", "--only", "a9"],
            "try 'ringmaster analyze --help'",
        ),
        (
            &["replica", "--listen", "x"],
            "try 'ringmaster replica --help'",
        ),
        (&["ring"], "try 'ringmaster ring --help'"),
        (
            &["ring", "show", "--slots", "0"],
            "try 'ringmaster ring show --help'",
        ),
        (&["help", "drlil"], "try 'ringmaster --help'"),
    ] {
        let args = std::iter::once(&"ringmaster")
            .chain(args)
            .map(OsString::from);
        let error = cli::parse(args, []).unwrap_err().to_string();
        assert_eq!(error.lines().last(), Some(help));
    }
}

/// What is in messages of Rust's own and says nothing to others.
const WORDS_OF_RUST: [&str; 9] = [
    "usize",
    "u32",
    "u64",
    "f64",
    "..=",
    "invalid digit",
    "target type",
    "variant",
    "Some(",
];

#[test]
fn every_option_refuses_nonsense_without_words_of_rust() {
    let mut told = Vec::new();
    for value in ["\u{1}", "-1", "99999999999999999999999", "1e999", "="] {
        for option in OPTIONS.iter().filter(|option| option.key() != "config") {
            let flag = format!("--{}={value}", option.key());
            told.extend(
                parse(Said {
                    args: &[&flag],
                    ..Said::default()
                })
                .err(),
            );
        }
        for (command, flags) in [
            ("drill", &["for", "rate", "url"][..]),
            (
                "analyze",
                &["pid", "requests", "concurrency", "scale", "only", "seed"],
            ),
        ] {
            for flag in flags {
                let flag = format!("--{flag}={value}");
                let url = if command == "drill" {
                    "--kill=all"
                } else {
                    "--url=http://a:1"
                };
                told.extend(
                    parse(Said {
                        args: &[command, url, &flag],
                        ..Said::default()
                    })
                    .err(),
                );
            }
        }
    }
    assert!(told.len() > 100, "{told:?}");
    for line in told.concat() {
        assert!(
            !WORDS_OF_RUST.iter().any(|word| line.contains(word)),
            "{line}"
        );
    }
}

#[test]
fn none_and_null_are_the_same() {
    for (key, others) in [
        ("balance-factor", &[][..]),
        ("max-in-flight", &[]),
        ("max-tunnels", &[]),
        ("max-connections-per-client", &[]),
        ("max-body", &[]),
        ("memory", &["--image", "x"]),
        ("cpus", &["--image", "x"]),
        ("pids", &["--image", "x"]),
    ] {
        let with = |value: &str| flags(&[others, &[&format!("--{key}={value}")]].concat());
        assert_eq!(with("none"), with("null"), "{key}");
        assert_eq!(with("none"), with("None"), "{key}");
    }
}

#[test]
fn placeholders_that_nothing_replaces_are_warnings() {
    let warnings = |args: &[&str]| match parse(Said {
        args,
        ..Said::default()
    }) {
        Ok(Invocation::Balance { warnings, .. } | Invocation::Check { warnings, .. }) => warnings,
        other => panic!("{other:?}"),
    };
    assert_eq!(warnings(&["--command", "app --port {port}"]), [""; 0]);
    for args in [
        &["--command", "app --port {prt} $PORT"][..],
        &[
            "check",
            "--image",
            "x",
            "--command",
            "app --port {prt} $PORT",
        ],
    ] {
        assert_eq!(
            warnings(args),
            [
                "command: nothing replaces {prt} in \"{prt}\"; did you mean {port}?",
                "command: no shell runs it, so nothing replaces $PORT in \"$PORT\"; write {port}, or sh -c '...'",
            ]
        );
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
        let flag = format!("--{}={value}", option.key());
        // Whatever file such a text may name is left alone.
        if !["config", "env-file"].contains(&option.key()) {
            let _ = cli::parse([OsString::from("ringmaster")], env);
            let _ = cli::parse(["ringmaster".into(), OsString::from(flag)], []);
        }
    }

    #[test]
    fn no_file_panics(text in any::<String>(), index in 0..OPTIONS.len(), value in "[\\[\\]{}\"'0-9a-z=., -]{0,20}") {
        let key = OPTIONS[index].key();
        for text in [text, format!("{key} = {value}")] {
            let _ = parse(Said { file: Some(&text), ..Said::default() });
        }
    }
}
