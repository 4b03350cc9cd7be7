//! Which of the three places wins, and how each says the same.

use super::*;

#[test]
fn lists_can_be_said_at_every_place() {
    let pairs = [("A", "1"), ("B", "x=y")].map(|(k, v)| (k.to_owned(), v.to_owned()));
    for settings in [
        flags(&["--env", "A=1", "--env", "B=x=y"]),
        env(&[("RINGMASTER_ENV", "A=1, B=x=y")]),
        env(&[("RINGMASTER_ENV__B", "x=y"), ("RINGMASTER_ENV__A", "1")]),
        env(&[("RINGMASTER_ENV__B", "x=y"), ("RINGMASTER_ENV", "A=1")]),
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

fn variables(settings: Settings) -> Vec<(String, String)> {
    match settings.runtime {
        RuntimeSettings::Process(template) => template.env,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_variable_of_its_own_may_hold_commas() {
    let set = |name, value| variables(env(&[(name, value)]));
    let pair = |key: &str, value: &str| vec![(key.to_owned(), value.to_owned())];
    assert_eq!(
        set("RINGMASTER_ENV__HOSTS", "a,b, c,"),
        pair("HOSTS", "a,b, c,")
    );
    // Its name may have two underscores itself.
    assert_eq!(set("RINGMASTER_ENV__A__B", "1"), pair("A__B", "1"));
    // As compose leaves it.
    assert_eq!(set("RINGMASTER_ENV__A", ""), []);
    // Flags win over the environment as a whole.
    let said = Said {
        args: &["--env", "B=2"],
        env: &[("RINGMASTER_ENV__A", "1")],
        file: None,
    };
    assert_eq!(variables(settings(said)), pair("B", "2"));
}

#[test]
fn files_of_variables_are_read_line_by_line_and_env_wins_over_them() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let one = write(
        "one",
        "\u{feff}# hosts\n\n  HOSTS=a,b c\r\nQUOTED=\"x\"\nEMPTY=\n#OFF=1\nTWICE=1\nTWICE=2",
    );
    let two = write("two", "QUOTED=y\nMORE=z\n");
    let expected = [
        ("HOSTS", "a,b c"),
        ("QUOTED", "y"),
        ("EMPTY", ""),
        ("TWICE", "2"),
        ("MORE", "flag"),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()));
    let both = format!("{one},{two}");
    for settings in [
        flags(&["--env-file", &one, "--env-file", &two, "--env", "MORE=flag"]),
        env(&[
            ("RINGMASTER_ENV_FILE", &both),
            ("RINGMASTER_ENV__MORE", "flag"),
        ]),
        file(&format!(
            "env-file = ['{one}', '{two}']\nenv = {{ MORE = 'flag' }}"
        )),
    ] {
        assert_eq!(variables(settings), expected);
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
        | "panic-threshold"
        | "restart-limit"
        | "spares"
        | "rollout-parallelism"
        | "rollout-max-errors"
        | "retry-budget"
        | "min-body-rate"
        | "max-waiting" => (["7", "8", "9"], &[]),
        "image-watch" => (["7s", "off", "9s"], DOCKER),
        "placement-pref" => (
            [
                "spread=node.labels.a",
                "spread=node.labels.b",
                "spread=engine.labels.c",
            ],
            &["--runtime", "swarm", "--image", "x"],
        ),
        "pids" => (["7", "8", "9"], DOCKER),
        "cpus" => (["0.5", "1", "1.5"], DOCKER),
        "memory" => (["64m", "65m", "66m"], DOCKER),
        "max-body" => (["1", "8k", "none"], &[]),
        "fleet" | "docker-network" => (["a", "b", "c"], DOCKER),
        "pull" => (["always", "missing", "never"], DOCKER),
        "replica-security" => (["restricted", "baseline", "restricted"], DOCKER),
        "replica-port" | "heartbeat-port" => (["7", "8", "9"], &["--replicas", "1"]),
        "slots" => (["101", "102", "103"], &[]),
        "virtual-servers" => (["7", "8", "9"], &["--strategy", "ring"]),
        "strategy" => (["classic", "ring", "maglev"], &[]),
        "via" => (["off", "edge", "a-b.c"], &[]),
        "access-log" => (["stdout", "/a", "off"], &[]),
        "access-log-format" => (["json", "combined", "json"], &[]),
        "server-timing" => (["on", "off", "on"], &[]),
        "replica-header" => (["X-A", "X-B", "off"], &[]),
        "retry" => (["never", "unsent", "idempotent"], &[]),
        "log-format" => (["json", "human", "json"], &[]),
        "sticky-cookie" => (["a", "b", "c"], &[]),
        "sticky-ttl" => (["7s", "8s", "9s"], &["--sticky-cookie", "rm"]),
        "key" => (["path", "client-ip", "query:q"], &[]),
        "listen" | "admin" => (["127.0.0.1:1", "127.0.0.1:2", "[::1]:3"], &[]),
        "request-timeout" => (["0s", "2s", "3s"], &[]),
        "half-closed-timeout" => (["7s", "off", "9s"], &[]),
        "max-in-flight" | "max-tunnels" | "max-connections-per-client" => (["7", "none", "9"], &[]),
        "balance-factor" => (["1.1", "2", "3"], &[]),
        "heartbeat" => (["http", "tcp", "http"], &[]),
        "heartbeat-header" => (["a: 1", "b: 2", "c: 3"], &[]),
        "outlier-on" => (["errors", "5xx", "errors"], &[]),
        "rollout-order" => (["start-first", "stop-first", "start-first"], &[]),
        "rollout-failure" => (["pause", "rollback", "pause"], &[]),
        "heartbeat-method" => (["HEAD", "POST", "OPTIONS"], &[]),
        "heartbeat-status" => (["200", "201,202", "300-399"], &[]),
        "heartbeat-body" => (["a", "b", "c"], &[]),
        "state" => (["a", "b", "c"], &[]),
        "heartbeat-path" => (["/a", "/b", "/c"], &[]),
        "command" => (["a", "b", "c"], &[]),
        "public-address" => (["a:1", "b:2", "c:3"], &[]),
        "env" => (["A=1", "B=2", "C=3"], &[]),
        "env-file" => (
            ["tests/config/a.env", "tests/config/b.env", "/dev/null"],
            &[],
        ),
        "image" => (["a", "b", "c"], &[]),
        "like" => (["a", "b", "c"], &[]),
        "service" => (["a", "p/b", "c"], &[]),
        "admin-calls" => (["off", "local", "on"], &[]),
        "admin-host" => (["a", "b", "c"], &[]),
        "maintenance-page" => (["a", "b", "c"], &[]),
        "admin-token-file" => (["a", "b", "c"], &[]),
        "admin-insecure" => (["true", "false", "true"], &[]),
        "trusted-proxy" => (["10.0.0.0/8", "10.1.2.3", "fd00::/8"], &[]),
        "upstream" => (["a:1", "b:2", "c:3"], &[]),
        "runtime" => (["process", "docker", "process"], &[]),
        "target-in-flight" => (["1", "2", "3"], &["--max-replicas=9"]),
        "max-replicas" => (["5", "6", "7"], &["--target-in-flight=1"]),
        "min-replicas" => (
            ["1", "2", "3"],
            &["--target-in-flight=1", "--max-replicas=9"],
        ),
        "scale-down-after" => (
            ["7s", "8s", "9s"],
            &["--target-in-flight=1", "--max-replicas=9"],
        ),
        "idle-timeout-to-zero" => (
            ["7s", "8s", "9s"],
            &[
                "--target-in-flight=1",
                "--max-replicas=9",
                "--min-replicas=0",
            ],
        ),
        "on-event" => (["http://a/", "b 'c d'", "e"], &[]),
        "on-event-secret-file" => (["a", "b", "c"], &["--on-event=http://a/"]),
        "volume" => (["a1:/a", "b1:/b", "c1:/c:ro,z"], DOCKER),
        "mount" => (["source=a1,target=/a", "target=/b", "target=/c"], DOCKER),
        "tmpfs" => (["/a", "/b:size=1m,rw", "/c"], DOCKER),
        "label" | "log-opt" => (["a=1", "b=2,3", "c=4"], DOCKER),
        "network" => (["a", "name=b,alias=x", "c"], DOCKER),
        "add-host" => (["a:10.0.0.1", "b:10.0.0.2", "c:10.0.0.3"], DOCKER),
        "dns" => (["1.1.1.1", "::1", "9.9.9.9"], DOCKER),
        "user" | "group-add" | "log-driver" => (["a", "b", "c"], DOCKER),
        "cap-add" => (["CHOWN", "KILL", "BPF"], DOCKER),
        "ulimit" => (["nofile=7", "core=0", "nproc=8:9"], DOCKER),
        "shm-size" => (["1m", "2m", "3m"], DOCKER),
        "device" => (["/a", "/b", "/c"], DOCKER),
        "gpus" => (["1", "2", "all"], DOCKER),
        "entrypoint" => (["a", "b 'c d'", "e"], DOCKER),
        "workdir" => (["/a", "/b", "/c"], DOCKER),
        "init" | "read-only" => (["true", "false", "true"], DOCKER),
        "stop-signal" => (["INT", "QUIT", "15"], DOCKER),
        "security-opt" => (
            [
                "seccomp=unconfined",
                "label=a:b,c",
                "no-new-privileges=false",
            ],
            DOCKER,
        ),
        _ if key.ends_with("-timeout")
            || key.ends_with("-interval")
            || matches!(
                key,
                "restart-window"
                    | "stop-grace"
                    | "slow-start"
                    | "outlier-ejection"
                    | "rollout-monitor"
                    | "max-pause"
            ) =>
        {
            (["7s", "8s", "9s"], &[])
        }
        _ => panic!("no values for {key}"),
    }
}

#[test]
fn flags_win_over_variables_and_they_over_the_file_for_every_option() {
    for option in OPTIONS.iter().filter(|option| option.key() != "config") {
        let key = option.key();
        let ([low, middle, high], others) = three_values(key);
        let flag = |value| format!("--{key}={value}");
        let variable = option.variable();
        let text = match option.is_of_container() {
            true => format!("[fleet.container]\n{key} = \"{low}\"\n"),
            false => format!("{key} = '{low}'\n"),
        };
        let variables = [(variable.as_str(), middle)];
        let alone = |value| {
            parse(Said {
                args: &[others, &[&*flag(value)]].concat(),
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
        let with_flag = flag(high);
        let args = [others, &[&*with_flag]].concat();
        same(over(&args, &variables), alone(high));
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
    assert_eq!(settings.server.workers, NonZeroUsize::new(2).unwrap());
    assert_eq!(settings.limits.max_waiting, 1000);
    assert_eq!(settings.health.heartbeat.failures, 2);
    assert_eq!(settings.ring.slots(), 4096);
    let RuntimeSettings::Docker(docker) =
        file("image = 'x'\ncpus = 0.5\nmemory = 6_291_456\n").runtime
    else {
        panic!("not docker");
    };
    assert_eq!(docker.template.nano_cpus, Some(500_000_000));
    assert_eq!(docker.template.memory, Some(6 << 20));
}

fn container(settings: Settings) -> ContainerOptions {
    match settings.runtime {
        RuntimeSettings::Docker(docker) => docker.container,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_docker_run_takes_is_a_table_of_the_file() {
    let text = r#"
        image = "shop:1"
        [fleet]
        name = "zoo"
        [fleet.container]
        volume = ["data-{name}:/data:ro,z", "/cache"]
        network = "name=db,alias=shop"
        entrypoint = ["serve", "a b"]
        read-only = false
        shm-size = 65536
        cap-add = "NET_RAW,CHOWN"
        [fleet.container.label]
        "com.example.team" = "zoo, east"
    "#;
    let by_file = file(text);
    let by_flags = flags(&[
        "--image=shop:1",
        "--fleet=zoo",
        "--volume=data-{name}:/data:ro,z",
        "--volume=/cache",
        "--network=name=db,alias=shop",
        "--entrypoint=serve 'a b'",
        "--read-only=false",
        "--shm-size=64k",
        "--cap-add=net_raw",
        "--cap-add=CAP_CHOWN",
        "--label=com.example.team=zoo, east",
    ]);
    assert_eq!(by_file, by_flags);
    let variables = env(&[
        ("RINGMASTER_IMAGE", "shop:1"),
        ("RINGMASTER_FLEET", "zoo"),
        ("RINGMASTER_VOLUME", "data-{name}:/data:ro,z\n/cache\n"),
        ("RINGMASTER_NETWORK", "name=db,alias=shop"),
        ("RINGMASTER_ENTRYPOINT", "serve 'a b'"),
        ("RINGMASTER_READ_ONLY", "false"),
        ("RINGMASTER_SHM_SIZE", "64k"),
        ("RINGMASTER_CAP_ADD", "NET_RAW, CHOWN"),
        ("RINGMASTER_LABEL__com.example.team", "zoo, east"),
    ]);
    assert_eq!(variables, by_flags);
    let container = container(by_flags);
    assert_eq!(container.volume.len(), 2);
    assert_eq!(container.cap_add, ["NET_RAW", "CHOWN"]);
    assert_eq!(container.shm_size, Some(65536));
    // As docker run has it: the flag alone is true.
    assert!(flags(&["--image=x", "--read-only", "--init"]) != flags(&["--image=x"]));
}
