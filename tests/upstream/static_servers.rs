//! Servers that are not the balancer's own (runtime `static`).

use std::net::Ipv4Addr;
use std::process::{Child, Command, Stdio};

use awc::http::StatusCode;
use serde_json::json;

use crate::docker::{docker as cli, inspect, quietly, test_image};
use crate::support::dns::{self, NameServer, Says};
use crate::support::{Load, Ringmaster, eventually, free_port, get};

/// A demo replica that is not the balancer's own.
struct StaticServer {
    process: Child,
    port: u16,
}

impl StaticServer {
    fn start(id: &str, port: u16) -> Self {
        Self::start_at(id, Ipv4Addr::LOCALHOST, port)
    }

    fn start_at(id: &str, address: Ipv4Addr, port: u16) -> Self {
        let process = Command::new(env!("CARGO_BIN_EXE_ringmaster"))
            .args([
                "replica",
                "--listen",
                &format!("{address}:{port}"),
                "--id",
                id,
            ])
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Self { process, port }
    }

    fn upstream(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}

impl Drop for StaticServer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[actix_web::test]
async fn static_server_is_evicted_and_readmitted_and_never_spawned() {
    let one = StaticServer::start("one", free_port());
    let two = StaticServer::start("two", free_port());
    let balancer = Ringmaster::ready(&[
        "--upstream",
        &one.upstream(),
        "--upstream",
        &format!("blue={}", two.upstream()),
        "--heartbeat-interval",
        "50ms",
    ])
    .await;
    assert_eq!(
        balancer.replicas().await,
        [one.upstream(), "blue".to_owned()]
    );

    let load = Load::start(&balancer.url("/home"), 4);
    let port = two.port;
    drop(two);
    eventually("evicted", || async {
        balancer.log().contains("blue (generation 1) is evicted")
    })
    .await;
    for _ in 0..20 {
        assert_eq!(
            get(&balancer.url("/home")).await.message(),
            "Hello from Server: one"
        );
    }
    // It stays desired while it is away.
    assert_eq!(balancer.replicas().await.len(), 2);
    let _two = StaticServer::start("two", port);
    eventually("readmitted", || async {
        get(&balancer.url("/home")).await.message() == "Hello from Server: two"
    })
    .await;
    let result = load.stop().await;
    assert_eq!(result.failures, Vec::<String>::new());
    assert!(balancer.children().is_empty());
}

#[actix_web::test]
async fn add_and_rm_get_409_with_the_reason() {
    let one = StaticServer::start("one", free_port());
    let balancer = Ringmaster::ready(&["--upstream", &one.upstream()]).await;
    for reply in [
        balancer.add(json!({"n": 1})).await,
        balancer.rm(json!({"n": 1})).await,
    ] {
        assert_eq!(reply.status, StatusCode::CONFLICT);
        assert!(
            reply
                .message()
                .contains("replicas cannot be added, removed or restarted"),
            "{reply:?}"
        );
    }
    assert_eq!(balancer.replicas().await, [one.upstream()]);
}

#[actix_web::test]
async fn static_server_that_starts_late_is_admitted() {
    let port = free_port();
    let balancer = Ringmaster::start(&["--upstream", &format!("late=127.0.0.1:{port}")]);
    let url = balancer.url("/home");
    let waiting = actix_web::rt::spawn(async move { get(&url).await });
    let _late = StaticServer::start("late", port);
    assert_eq!(waiting.await.unwrap().message(), "Hello from Server: late");
}

/// Waits until the name server has received this many more queries.
async fn asked_again(server: &NameServer, times: usize) {
    let before = server.asked();
    eventually("the name is looked up", || async {
        server.asked() >= before + times
    })
    .await;
}

#[actix_web::test]
async fn changed_address_of_a_name_is_followed() {
    if !dns::is_possible() {
        return;
    }
    let (first, second) = (Ipv4Addr::LOCALHOST, Ipv4Addr::new(127, 0, 0, 2));
    let port = free_port();
    // Both answer all the time: the server that has the old address now must not get a request.
    let _one = StaticServer::start_at("one", first, port);
    let _two = StaticServer::start_at("two", second, port);
    let server = NameServer::start(Says::NoSuchName);
    let folder = tempfile::tempdir().unwrap();
    let program = server.only_for(folder.path(), env!("CARGO_BIN_EXE_ringmaster"));
    let upstream = format!("web=web.test:{port}");
    let balancer = Ringmaster::start_by(
        program,
        &["--upstream", &upstream, "--heartbeat-interval", "100ms"],
    );
    let is_served_by = |id: &'static str| {
        let url = balancer.url("/home");
        async move { get(&url).await.message() == format!("Hello from Server: {id}") }
    };

    // It has no address at first.
    eventually("the trouble is told", || async {
        balancer.log().contains("the name has no address")
    })
    .await;
    server.say(Says::Address(first));
    eventually("its first address", || is_served_by("one")).await;

    server.say(Says::Address(second));
    let since = std::time::Instant::now();
    eventually("its second address", || is_served_by("two")).await;
    eprintln!("followed after {:?}", since.elapsed());
    let load = Load::start(&balancer.url("/home"), 2);
    for says in [Says::Failure, Says::Nothing] {
        server.say(says);
        asked_again(&server, 4).await;
        for _ in 0..20 {
            assert!(is_served_by("two").await, "{says:?}");
        }
    }
    assert_eq!(load.stop().await.failures, Vec::<String>::new());

    server.say(Says::NoSuchName);
    eventually("off the ring", || async {
        let lost = format!("is evicted: web.test:{port} has no address");
        balancer.log().contains(&lost)
    })
    .await;
    server.say(Says::Address(first));
    eventually("its first address again", || is_served_by("one")).await;
}

#[actix_web::test]
async fn name_with_several_addresses_tries_each() {
    if !dns::is_possible() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let hosts = folder.path().join("hosts");
    std::fs::write(&hosts, "::1 localhost\n127.0.0.1 localhost\n").unwrap();
    let port = free_port();
    let program = dns::with_file(&hosts, "/etc/hosts", env!("CARGO_BIN_EXE_ringmaster"));
    let upstream = format!("web=localhost:{port}");
    let balancer = Ringmaster::start_by(program, &["--upstream", &upstream]);
    // The server comes after the name has been looked up.
    let url = balancer.url("/home");
    let waiting = actix_web::rt::spawn(async move { get(&url).await });
    let _one = StaticServer::start("one", port);
    assert_eq!(waiting.await.unwrap().message(), "Hello from Server: one");
}

/// A network, and containers in it that go with it.
struct ContainerNetwork(String);

impl ContainerNetwork {
    fn new() -> Self {
        let name = format!("rmtest-names-{}", std::process::id());
        cli(&["network", "create", &name]);
        Self(name)
    }

    /// Starts a demo replica; its address.
    fn run(&self, name: &str, aliases: &[&str]) -> String {
        let container = self.container(name);
        let id = format!("SERVER_ID={name}");
        let run = ["run", "-d", "--network", &self.0, "-e", "PORT=5000", "-e"];
        let aliases = aliases.iter().flat_map(|alias| ["--network-alias", alias]);
        let more: Vec<&str> = aliases.collect();
        let last = [id.as_str(), "--name", &container];
        cli(&[&run[..], &last[..], &more[..], &[test_image()]].concat());
        let found = inspect(&container);
        let address = &found["NetworkSettings"]["Networks"][&self.0]["IPAddress"];
        address.as_str().unwrap().to_owned()
    }

    fn container(&self, name: &str) -> String {
        format!("{}-{name}", self.0)
    }
}

impl Drop for ContainerNetwork {
    fn drop(&mut self) {
        for name in ["one", "two", "other", "front"] {
            quietly(&["rm", "-f", &self.container(name)]);
        }
        quietly(&["network", "rm", &self.0]);
    }
}

/// Docker's own name server, as a balancer in a container sees it.
#[actix_web::test]
async fn recreated_container_at_another_address_is_followed() {
    if !dns::is_possible() || !crate::docker::engine_answers() {
        return;
    }
    let network = ContainerNetwork::new();
    network.run("front", &[]);
    let front = inspect(&network.container("front"));
    let first = network.run("one", &["web"]);

    // In the network of a container, with its resolv.conf.
    let mut program = Command::new("nsenter");
    let pid = format!("--target={}", front["State"]["Pid"]);
    let resolv = std::path::Path::new(front["ResolvConfPath"].as_str().unwrap());
    let inner = dns::with_file(resolv, "/etc/resolv.conf", env!("CARGO_BIN_EXE_ringmaster"));
    program
        .args([&pid, "--net"])
        .arg(inner.get_program())
        .args(inner.get_args());
    let balancer = Ringmaster::start_by(program, &["--upstream", "web=web:5000"]);
    let is_at = |address: &str| {
        let line = format!("is ready at {address}:5000");
        let found = balancer.log().contains(&line);
        async move { found }
    };
    eventually("on the ring", || is_at(&first)).await;

    cli(&["rm", "-f", &network.container("one")]);
    // The first free address is the old one.
    let other = network.run("other", &[]);
    let second = network.run("two", &["web"]);
    assert_ne!(second, first);
    eprintln!("the other is at {other}, the first was at {first}");
    eventually("on the ring at its new address", || is_at(&second)).await;
}
