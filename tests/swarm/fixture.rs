//! A balancer in a container on a node of the Swarm, and what tests ask of it.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use serde_json::Value;

use crate::nodes::{Swarm, wait_longer_until, wait_until};

/// What replicas run.
pub const REPLICA: &str = "/ringmaster replica --listen 0.0.0.0:{port}";

/// A fleet of a test's own.
pub struct SwarmFleet {
    pub swarm: &'static Swarm,
    pub name: String,
}

/// A balancer that runs.
pub struct SwarmBalancer {
    pub swarm: &'static Swarm,
    pub node: u32,
    pub container: String,
    pub address: String,
}

impl SwarmFleet {
    pub fn new(swarm: &'static Swarm) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("zoo{count}");
        Self { swarm, name }
    }

    /// Starts a balancer on a node, and waits until it listens.
    pub fn balancer(&self, node: u32, more: &[&str]) -> SwarmBalancer {
        self.balancer_in(node, &[], more)
    }

    /// The same in a container with these options of `docker run`.
    pub fn balancer_in(&self, node: u32, container: &[&str], more: &[&str]) -> SwarmBalancer {
        let balancer = self.begin(node, container, more);
        wait_until("the balancer listens", || {
            let log = balancer.log();
            assert!(balancer.runs(), "the balancer has ended:\n{log}");
            log.contains(" listens on ")
        });
        balancer
    }

    /// The same without waiting.
    pub fn begin(&self, node: u32, container_options: &[&str], more: &[&str]) -> SwarmBalancer {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let (swarm, container) = (self.swarm, format!("balancer{count}"));
        let socket = format!("{}:/var/run/docker.sock", swarm.socket(node));
        let usual = [
            "--runtime",
            "swarm",
            "--fleet",
            &self.name,
            "--listen",
            "0.0.0.0:5000",
            "--admin",
            "0.0.0.0:5001",
            "--admin-insecure",
            "--memory",
            "128m",
            "--key",
            "header:X-Key",
        ];
        // The image is one that tests run in as well, and says so by a variable.
        let become_it = "unset RINGMASTER_TEST_REPLICA; exec /ringmaster \"$@\"";
        let run = [
            "run",
            "-d",
            "--label",
            "rmtest",
            "--name",
            &container,
            // The log of a balancer whose test fails is printed.
            "-e",
            "RUST_LOG=info,ringmaster::runtime::swarm=debug,ringmaster::http::proxy=debug",
            "-v",
            &socket,
        ];
        let program = [swarm.image.as_str(), "sh", "-c", become_it, "-"];
        let command: &[&str] = match more.contains(&"--command") {
            true => &[],
            false => &["--command", REPLICA],
        };
        let image: &[&str] = match more.contains(&"--image") {
            true => &[],
            false => &["--image", &swarm.image, "--pull", "never"],
        };
        let arguments = [&program[..], &usual, image, command, more].concat();
        swarm.docker(node, &[&run[..], container_options, &arguments].concat());
        let found = swarm.inspect(node, "container", &container);
        let networks = &found["NetworkSettings"]["Networks"];
        let address = networks["bridge"]["IPAddress"].as_str().unwrap().to_owned();
        SwarmBalancer {
            swarm,
            node,
            container,
            address,
        }
    }

    /// The names of the fleet's services.
    pub fn services(&self) -> Vec<String> {
        self.listed("service")
    }

    pub fn configs(&self) -> Vec<String> {
        self.listed("config")
    }

    pub fn networks(&self) -> Vec<String> {
        self.listed("network")
    }

    fn listed(&self, kind: &str) -> Vec<String> {
        let label = format!("label=io.ringmaster.fleet={}", self.name);
        let format = ["--format", "{{.Name}}"];
        let listed = self.swarm.docker(
            1,
            &[&[kind, "ls", "--filter", &label], &format[..]].concat(),
        );
        let mut names: Vec<_> = listed.lines().map(str::to_owned).collect();
        names.sort();
        names
    }

    /// The node and the container of a replica's newest task that runs.
    pub fn place(&self, replica: &str) -> (u32, String) {
        let place = self.try_place(replica);
        place.unwrap_or_else(|| panic!("{replica} runs nowhere"))
    }

    pub fn try_place(&self, replica: &str) -> Option<(u32, String)> {
        let label = format!("label=io.ringmaster.replica={replica}");
        let fleet = format!("label=io.ringmaster.fleet={}", self.name);
        (1..=3).find_map(|node| {
            let filters = [
                "ps",
                "-q",
                "--no-trunc",
                "--filter",
                &label,
                "--filter",
                &fleet,
            ];
            let listed = self.swarm.try_docker(node, &filters)?;
            Some((node, listed.lines().next()?.to_owned()))
        })
    }

    /// How many replicas run on each node.
    pub fn spread(&self) -> Vec<usize> {
        let fleet = format!("label=io.ringmaster.fleet={}", self.name);
        let on = |node| {
            self.swarm
                .docker(node, &["ps", "-q", "--filter", &fleet])
                .lines()
                .count()
        };
        (1..=3).map(on).collect()
    }

    /// Kills a replica's container once it is of this generation or a later one, and returns that.
    pub fn kill_once_listed(&self, replica: &str, generation: u64) -> u64 {
        let mut found = 0;
        wait_until(&format!("{replica} has generation {generation}"), || {
            let labels = self.try_place(replica).and_then(|(node, container)| {
                self.swarm.try_inspect(node, "container", &container)
            });
            let Some(labels) = labels else {
                return false;
            };
            let label = &labels["Config"]["Labels"]["io.ringmaster.generation"];
            found = label
                .as_str()
                .and_then(|text| text.parse().ok())
                .unwrap_or(0);
            found >= generation
        });
        self.kill(replica);
        found
    }

    /// Kills a replica's container, and says when: asked of the engine itself, for its client takes some 50 ms
    /// to start.
    pub fn kill(&self, replica: &str) -> SystemTime {
        let (node, container) = self.place(replica);
        let mut socket = UnixStream::connect(self.swarm.socket(node)).unwrap();
        let kill = format!("POST /containers/{container}/kill HTTP/1.0\r\nHost: engine\r\n\r\n");
        let now = SystemTime::now();
        socket.write_all(kill.as_bytes()).unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        assert!(answer.contains(" 204 "), "{answer}");
        now
    }
}

impl Drop for SwarmFleet {
    fn drop(&mut self) {
        let network = self.name.as_str();
        self.swarm.try_docker(1, &["network", "rm", network]);
    }
}

impl SwarmBalancer {
    pub fn log(&self) -> String {
        self.swarm.output_of(self.node, &self.container)
    }

    /// Its lines with the times at which its engine got them.
    pub fn dated_log(&self) -> Vec<(SystemTime, String)> {
        let log = self.swarm.dated_output_of(self.node, &self.container);
        let dated = log.lines().filter_map(|line| {
            let (at, line) = line.split_once(' ')?;
            let at = humantime::parse_rfc3339(at).ok()?;
            Some((at, line.to_owned()))
        });
        dated.collect()
    }

    pub fn runs(&self) -> bool {
        let format = ["container", "inspect", "--format", "{{.State.Running}}"];
        let arguments = [&format[..], &[&self.container]].concat();
        self.swarm.docker(self.node, &arguments) == "true"
    }

    pub fn url(&self) -> String {
        format!("http://{}:5000", self.address)
    }

    /// A call from the balancer's node: the body of the answer.
    pub fn call(&self, method: &str, path: &str, body: Option<&str>) -> Value {
        let port = if path.starts_with("/api/") {
            5001
        } else {
            5000
        };
        let url = format!("http://{}:{port}{path}", self.address);
        let node = self.node.to_string();
        let mut arguments = vec!["in", &node, "curl", "-s", "-m", "60", "-X", method, &url];
        if let Some(body) = body {
            arguments.extend(["-H", "Content-Type: application/json", "-d", body]);
        }
        let said = self.swarm.run(&arguments);
        serde_json::from_str(&said).unwrap_or_else(|error| panic!("{url}: {error}: {said:?}"))
    }

    pub fn get(&self, path: &str) -> Value {
        self.call("GET", path, None)
    }

    pub fn status(&self) -> Value {
        self.get("/api/v1/fleets/default")
    }

    /// Name and state of each replica.
    pub fn states(&self) -> BTreeMap<String, String> {
        let status = self.status();
        let replicas = status["replicas"].as_array().unwrap().iter();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        replicas
            .map(|r| (text(&r["name"]), text(&r["state"])))
            .collect()
    }

    /// Waits until exactly these replicas are ready.
    pub fn all_are_ready(&self, names: &[&str]) {
        wait_until(&format!("{names:?} are ready"), || {
            let states = self.states();
            states.len() == names.len()
                && names
                    .iter()
                    .all(|name| states.get(*name).is_some_and(|s| s == "ready"))
        });
    }

    /// The events of a kind that a replica has had, as Unix times in ms.
    pub fn times_of(&self, kind: &str, replica: &str) -> Vec<f64> {
        let events = self.get("/api/v1/events?limit=1000");
        let events = events["items"].as_array().unwrap().iter();
        let of_it = events.filter(|event| event["event"] == kind && event["replica"] == replica);
        of_it
            .map(|event| millis(event["at"].as_str().unwrap()))
            .collect()
    }

    /// How long after a moment the first event of a kind came, in ms, once it has come. When a node has come back
    /// its overlay may be broken until the engines exchange what they know, which they do every 30 s.
    pub fn time_until(&self, kind: &str, replica: &str, from: SystemTime) -> f64 {
        let from = from
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap()
            .as_secs_f64()
            * 1e3;
        let mut found = None;
        let what = format!("{replica} is {kind}");
        wait_longer_until(Duration::from_secs(120), &what, || {
            found = self
                .times_of(kind, replica)
                .into_iter()
                .find(|at| *at >= from);
            found.is_some()
        });
        found.unwrap() - from
    }

    /// Ends it at once.
    pub fn kill(&self) {
        self.swarm.docker(self.node, &["kill", &self.container]);
    }

    /// Ends it in order.
    pub fn stop(&self) {
        self.swarm
            .docker(self.node, &["stop", "-t", "60", &self.container]);
    }
}

impl Drop for SwarmBalancer {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the log of {} ---\n{}", self.container, self.log());
        }
    }
}

/// A time of the API in ms.
fn millis(at: &str) -> f64 {
    let time = humantime::parse_rfc3339(at).unwrap();
    time.duration_since(SystemTime::UNIX_EPOCH)
        .unwrap()
        .as_secs_f64()
        * 1e3
}
