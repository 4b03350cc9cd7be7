//! `docker compose up`, as a user does it: the real Dockerfile, the real compose.yaml,
//! both generations of compose. Without an engine this says so and passes, but under
//! `CI=true` it fails.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::docker::{docker as cli, engine_answers, inspect, quietly, request, skip, sweep};

/// What an image may weigh: the program is 25 MB with the symbols that backtraces name functions by.
const MAX_IMAGE_SIZE: u64 = 30_000_000;

/// The compose stack under names and a port of its own.
struct Stack {
    /// `docker compose` or `docker-compose`.
    compose: &'static [&'static str],
    fleet: String,
    port: u16,
    admin_port: u16,
}

impl Stack {
    fn new(compose: &'static [&'static str]) -> Self {
        let free = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let (any, admin) = (free(), free());
        Self {
            compose,
            fleet: format!("rmtest-compose-{}-{}", std::process::id(), compose.len()),
            port: any.local_addr().unwrap().port(),
            admin_port: admin.local_addr().unwrap().port(),
        }
    }

    /// Runs a program in this stack's environment, and fails with what it said.
    fn run(&self, program: &[&str]) {
        let output = Command::new(program[0])
            .args(&program[1..])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .env("COMPOSE_PROJECT_NAME", &self.fleet)
            .env("RINGMASTER_FLEET", &self.fleet)
            .env("RINGMASTER_PORT", self.port.to_string())
            .env("RINGMASTER_ADMIN_PORT", self.admin_port.to_string())
            .output()
            .unwrap();
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        assert!(output.status.success(), "{program:?}: {said}");
    }

    fn compose(&self, arguments: &[&str]) {
        self.run(&[self.compose, arguments].concat());
    }

    /// The same compose through make.
    fn make(&self, target: &str) {
        let compose = format!("COMPOSE={}", self.compose.join(" "));
        self.run(&["make", target, &compose]);
    }

    fn ask(&self, method: &str, path: &str, body: &str) -> std::io::Result<(u16, String)> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        request(address, method, path, body)
    }

    /// Status and JSON of the answer.
    fn json(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        let (status, answer) = self.ask(method, path, &body.to_string()).unwrap();
        (status, serde_json::from_str(&answer).unwrap())
    }

    fn wait_until_it_serves(&self) {
        until("a replica answers", || {
            matches!(self.ask("GET", "/home", ""), Ok((200, _)))
        });
    }

    fn container(&self, replica: &str) -> String {
        format!("{}-{replica}", self.fleet)
    }

    fn balancer(&self) -> String {
        let project = format!("label=com.docker.compose.project={}", self.fleet);
        cli(&["ps", "-aq", "--filter", &project])
    }

    fn generation(&self, replica: &str) -> Option<u64> {
        let format = "{{index .Config.Labels \"io.ringmaster.generation\"}}";
        let found = quietly(&["inspect", "-f", format, &self.container(replica)]);
        found.trim().parse().ok()
    }

    /// Everything on the engine that bears this stack's name.
    fn remains(&self) -> String {
        let filter = format!("name={}", self.fleet);
        let containers = cli(&["ps", "-aq", "--filter", &filter]);
        let networks = cli(&["network", "ls", "-q", "--filter", &filter]);
        containers + &networks
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        // The balancer first: it would replace its replicas.
        sweep(&format!("label=com.docker.compose.project={}", self.fleet));
        sweep(&format!("label=io.ringmaster.fleet={}", self.fleet));
        let filter = format!("name={}", self.fleet);
        for network in quietly(&["network", "ls", "-q", "--filter", &filter]).lines() {
            quietly(&["network", "rm", network]);
        }
    }
}

fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !done() {
        assert!(Instant::now() < deadline, "gave up waiting until {what}");
        thread::sleep(Duration::from_millis(50));
    }
}

/// `make logs` is ended by Ctrl-C, which reaches make and what it runs.
#[test]
fn make_logs_ends_quietly_on_sigint() {
    use std::io::{BufRead, BufReader, Read};
    use std::os::unix::process::CommandExt;

    let mut make = Command::new("make")
        .args(["logs", "COMPOSE=sh -c 'echo ready; sleep 20' --"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .process_group(0)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = BufReader::new(make.stdout.take().unwrap()).lines();
    while stdout.next().unwrap().unwrap() != "ready" {}
    let group = format!("-{}", make.id());
    let killed = Command::new("kill").args(["-INT", "--", &group]).status();
    assert!(killed.unwrap().success());
    make.wait().unwrap();
    let mut said = String::new();
    make.stderr
        .take()
        .unwrap()
        .read_to_string(&mut said)
        .unwrap();
    // GNU make 4.3 itself: the signal may reach it while it waits for the recipe's end.
    let is_makes = |line: &str| {
        line.contains("wait: No child processes") || line.contains("Waiting for unfinished jobs")
    };
    let errors = said.lines().filter(|line| line.contains("***"));
    let ours: Vec<_> = errors.filter(|line| !is_makes(line)).collect();
    assert_eq!(ours, [""; 0], "{said}");
}

/// `cargo bench` makes a program without LTO, which must not lie where the released one does.
#[test]
fn make_bench_builds_in_its_own_folder() {
    let makefile = include_str!("../../Makefile");
    let mut benches = makefile
        .lines()
        .filter(|line| line.starts_with("\tcargo bench"))
        .peekable();
    assert!(benches.peek().is_some());
    let is_apart = |line: &str| line.contains("--target-dir target/bench");
    assert!(benches.all(is_apart));
}

/// Both composes, one after the other: they build the same images.
#[test]
#[ignore = "builds the images, which takes minutes: make test-full"]
fn compose_up_serves_and_down_leaves_nothing() {
    if !engine_answers() {
        return;
    }
    // A build of the images takes the whole machine.
    let _whole = futures::executor::block_on(crate::ENGINE.acquire_many(2)).unwrap();
    for compose in [&["docker", "compose"][..], &["docker-compose"]] {
        let found = Command::new(compose[0])
            .args([&compose[1..], &["version"]].concat())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        if found.is_ok_and(|status| status.success()) {
            story(&Stack::new(compose));
        } else {
            skip(&format!("there is no {}", compose.join(" ")));
        }
    }
}

fn story(stack: &Stack) {
    stack.compose(&["up", "--build", "--detach"]);
    stack.wait_until_it_serves();
    images_are_small();
    the_balancer_is_locked_in(stack);
    the_banner_names_the_published_port(stack);
    the_admin_calls_work(stack);
    ctl_works_in_the_balancers_container(stack);
    a_killed_replica_comes_back_unnoticed(stack);
    a_killed_balancer_finds_its_replicas_again(stack);
    stack.compose(&["down"]);
    assert_eq!(stack.remains(), "", "after down");

    stack.make("up");
    assert_eq!(stack.ask("GET", "/home", "").unwrap().0, 200);
    cli(&["kill", &stack.balancer()]);
    stack.make("down");
    assert_eq!(stack.remains(), "", "after make down");
}

fn images_are_small() {
    for image in ["ringmaster", "ringmaster-server"] {
        let size = inspect(image)["Size"].as_u64().unwrap();
        assert!(size < MAX_IMAGE_SIZE, "{image} has {size} bytes");
    }
}

fn the_balancer_is_locked_in(stack: &Stack) {
    let found = inspect(&stack.balancer());
    let host = &found["HostConfig"];
    assert_eq!(host["Privileged"], false);
    assert_eq!(host["CapDrop"], json!(["ALL"]));
    assert_eq!(host["ReadonlyRootfs"], true);
    let port = &found["NetworkSettings"]["Ports"]["5000/tcp"][0];
    assert_eq!(port["HostIp"], "127.0.0.1");
    // Only the balancer reaches the replicas' ports.
    assert_eq!(cli(&["port", &stack.container("Server1")]), "");
    let replica = inspect(&stack.container("Server1"));
    assert_eq!(replica["Config"]["User"], "65534:65534");
}

fn the_banner_names_the_published_port(stack: &Stack) {
    let log = quietly(&["logs", &stack.balancer()]);
    let url = format!("http://127.0.0.1:{}", stack.port);
    assert!(log.contains(&format!("listens on {url}\n")), "{log}");
    assert!(log.contains(&format!("curl {url}/home\n")), "{log}");
}

fn the_admin_calls_work(stack: &Stack) {
    let list = |names: &[&str]| {
        let message = json!({"N": names.len(), "replicas": names});
        (200, json!({"message": message, "status": "successful"}))
    };
    let three = ["Server1", "Server2", "Server3"];
    assert_eq!(stack.json("GET", "/rep", json!(null)), list(&three));

    let four = ["Server1", "Server2", "Server3", "blue"];
    let added = stack.json("POST", "/add", json!({"n": 1, "hostnames": ["blue"]}));
    assert_eq!(added, list(&four));
    assert_eq!(stack.generation("blue"), Some(1));

    let removed = stack.json("DELETE", "/rm", json!({"n": 1, "hostnames": ["blue"]}));
    assert_eq!(removed, list(&three));
    assert_eq!(stack.generation("blue"), None);
}

fn ctl_works_in_the_balancers_container(stack: &Stack) {
    let ctl = |command| cli(&["exec", &stack.balancer(), "/ringmaster", "ctl", command]);
    // One that serves is enough for the calls before.
    until("ctl says that all are ready", || {
        ctl("status").contains("3 of 3 replicas ready, run by docker")
    });
    let replicas = ctl("replicas");
    assert!(replicas.contains(&stack.container("Server1")), "{replicas}");
}

fn a_killed_replica_comes_back_unnoticed(stack: &Stack) {
    let before = stack.generation("Server1").unwrap();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let client = scope.spawn(|| {
            let mut answers = Vec::new();
            while !done.load(Ordering::Relaxed) {
                answers.push(stack.ask("GET", "/home", ""));
                thread::sleep(Duration::from_millis(20));
            }
            answers
        });
        cli(&["kill", &stack.container("Server1")]);
        let back = || stack.generation("Server1").is_some_and(|now| now > before);
        until("Server1 is back", back);
        until("Server1 answers again", || {
            let answer = stack.ask("GET", "/home", "");
            answer.is_ok_and(|(_, body)| body.contains("Server: 1\""))
        });
        done.store(true, Ordering::Relaxed);
        for answer in client.join().unwrap() {
            assert_eq!(answer.unwrap().0, 200);
        }
    });
}

fn a_killed_balancer_finds_its_replicas_again(stack: &Stack) {
    let id = |replica| inspect(&stack.container(replica))["Id"].clone();
    let before = ["Server1", "Server2", "Server3"].map(id);
    cli(&["kill", &stack.balancer()]);
    stack.compose(&["up", "--detach"]);
    stack.wait_until_it_serves();
    assert_eq!(["Server1", "Server2", "Server3"].map(id), before);
}
