//! What the settings are that come of it.

use super::*;

#[test]
fn nothing_said_is_three_demo_replicas() {
    let settings = flags(&[]);
    assert_eq!(settings.server.listen.to_string(), "127.0.0.1:5000");
    assert_eq!(settings.key, KeySource::Id);
    assert_eq!(settings.ring.strategy(), Strategy::Rendezvous);
    let names: Vec<_> = settings.replicas.iter().map(ReplicaName::as_str).collect();
    assert_eq!(names, ["Server1", "Server2", "Server3"]);
    assert_eq!(settings.health.heartbeat.path, "/heartbeat");
    assert_eq!(settings.health.heartbeat.interval, Duration::from_secs(1));
    assert_eq!(settings.health.heartbeat.timeout, Duration::from_secs(1));
    assert_eq!(settings.health.heartbeat.failures, 3);
    assert_eq!(settings.health.start_timeout, Duration::from_secs(60));
    assert_eq!(settings.limits.header_timeout, Duration::from_secs(5));
    // Longer than what usually stands before it: an AWS load balancer keeps 60 s.
    assert_eq!(settings.limits.keep_alive_timeout, Duration::from_secs(75));
    assert_eq!(settings.limits.wait_timeout, Duration::from_secs(5));
    assert_eq!(settings.limits.connect_timeout, Duration::from_millis(500));
    assert_eq!(settings.limits.response_timeout, Duration::from_secs(60));
    assert_eq!(settings.limits.drain_timeout, Duration::from_secs(30));
    assert_eq!(settings.limits.stop_grace, Duration::from_secs(5));
    assert_eq!(settings.limits.max_waiting, 1024);
    // Off, as HAProxy's and nginx's limits are: slow clients would keep others out.
    assert_eq!(settings.limits.max_in_flight, None);
    assert_eq!(settings.limits.max_tunnels, None);
    assert_eq!(settings.limits.max_connections_per_client, None);
    assert_eq!(
        settings.limits.min_body_rate.map(NonZeroU64::get),
        Some(500)
    );
    assert_eq!(
        settings.limits.half_closed_timeout,
        Some(Duration::from_secs(5))
    );
    assert_eq!(settings.limits.max_body, None);
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
    assert_eq!(docker.pull, PullPolicy::Missing);
    assert_eq!(docker.template.port, Some(8080));
    assert_eq!(docker.template.memory, Some(512 << 20));
    assert_eq!(docker.template.nano_cpus, None);
    assert_eq!(docker.template.pids, Some(512));
    assert_eq!(docker.template.command, None);

    let line = "--image a --fleet shop --memory none --pids none --cpus 0.5 \
                --replica-security baseline --pull always";
    let line: Vec<_> = line.split_whitespace().collect();
    let RuntimeSettings::Docker(docker) = flags(&line).runtime else {
        panic!("not docker");
    };
    assert_eq!(docker.network, "shop");
    assert_eq!(docker.security, Security::Baseline);
    assert_eq!(docker.pull, PullPolicy::Always);
    // The image says it, or the default holds: see the runtime.
    assert_eq!(docker.template.port, None);
    assert_eq!(docker.template.memory, None);
    assert_eq!(docker.template.nano_cpus, Some(500_000_000));
    assert_eq!(docker.template.pids, None);
}

#[test]
fn a_swarm_runs_an_image_or_what_its_stack_says() {
    let swarm = |args: &[&str]| match flags(&[&["--runtime", "swarm"], args].concat()).runtime {
        RuntimeSettings::Swarm(swarm) => *swarm,
        other => panic!("{other:?}"),
    };
    let with_image = swarm(&["--image", "shop:1.4"]);
    assert!(!with_image.from_stack);
    assert_eq!(with_image.containers.security, Security::Restricted);
    assert_eq!(with_image.containers.template.memory, Some(512 << 20));
    let of_stack = swarm(&["--cpus", "0.5", "--env", "A=1"]);
    assert!(of_stack.from_stack);
    // What the file says holds but for what is given.
    assert_eq!(of_stack.containers.security, Security::Baseline);
    assert_eq!(of_stack.containers.template.memory, None);
    assert_eq!(of_stack.containers.template.nano_cpus, Some(500_000_000));
    assert_eq!(of_stack.containers.template.env.len(), 1);
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
