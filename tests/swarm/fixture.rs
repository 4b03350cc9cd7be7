//! A balancer in a container on a node of the Swarm, and what tests ask of it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::SystemTime;

use serde_json::Value;

use crate::nodes::{Swarm, wait_until};

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

/// A replica's task that runs, or is paused.
#[derive(Debug, Clone)]
pub struct Task {
    pub replica: String,
    pub generation: u64,
    pub node: u32,
    pub container: String,
}

impl Task {
    /// How logs name it.
    pub fn instance(&self) -> String {
        instance_name(&self.replica, self.generation)
    }
}

/// How logs name an instance.
pub fn instance_name(replica: &str, generation: u64) -> String {
    format!("{replica} (generation {generation})")
}

/// What a test has killed, and when.
pub struct Kill {
    pub at: SystemTime,
    pub task: Task,
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

    /// The services whose tasks are to run. Beside them the last one of a replica that has died stays for its
    /// log, scaled to nothing.
    pub fn active_services(&self) -> Vec<String> {
        let listed = self.listed_as("service", "{{.Name}} {{.Replicas}}");
        listed
            .into_iter()
            .filter(|service| !service.ends_with(" 0/0"))
            .collect()
    }

    fn listed(&self, kind: &str) -> Vec<String> {
        self.listed_as(kind, "{{.Name}}")
    }

    fn listed_as(&self, kind: &str, format: &str) -> Vec<String> {
        let label = format!("label=io.ringmaster.fleet={}", self.name);
        let format = ["--format", format];
        let listed = self.swarm.docker(
            1,
            &[&[kind, "ls", "--filter", &label], &format[..]].concat(),
        );
        let mut names: Vec<_> = listed.lines().map(str::to_owned).collect();
        names.sort();
        names
    }

    /// The tasks that run, also those that are not wanted any more, and those on nodes that are cut off.
    pub fn tasks(&self) -> Vec<Task> {
        let fleet = format!("label=io.ringmaster.fleet={}", self.name);
        let format =
            r#"{{.ID}} {{.Label "io.ringmaster.replica"}} {{.Label "io.ringmaster.generation"}}"#;
        let list = ["ps", "--no-trunc", "--filter", &fleet, "--format", format];
        let on = |node| {
            let listed = self.swarm.try_docker(node, &list).unwrap_or_default();
            let tasks = listed.lines().filter_map(|line| {
                let mut words = line.split(' ').map(str::to_owned);
                Some(Task {
                    node,
                    container: words.next()?,
                    replica: words.next()?,
                    generation: words.next()?.parse().ok()?,
                })
            });
            tasks.collect::<Vec<_>>()
        };
        (1..=3).flat_map(on).collect()
    }

    /// The newest task of each replica.
    pub fn newest_tasks(&self) -> BTreeMap<String, Task> {
        let mut tasks = self.tasks();
        tasks.sort_by_key(|task| task.generation);
        let by_name = tasks.into_iter().map(|task| (task.replica.clone(), task));
        by_name.collect()
    }

    pub fn try_task(&self, replica: &str) -> Option<Task> {
        self.newest_tasks().remove(replica)
    }

    /// Those of replicas whose newest task is on this node.
    pub fn tasks_on(&self, node: u32) -> Vec<Task> {
        let tasks = self.newest_tasks().into_values();
        tasks.filter(|task| task.node == node).collect()
    }

    /// The node and the container of a replica's newest task that runs.
    pub fn place(&self, replica: &str) -> (u32, String) {
        let place = self.try_place(replica);
        place.unwrap_or_else(|| panic!("{replica} runs nowhere"))
    }

    pub fn try_place(&self, replica: &str) -> Option<(u32, String)> {
        let task = self.try_task(replica)?;
        Some((task.node, task.container))
    }

    /// Waits until tasks have ended on their nodes.
    pub fn have_ended(&self, tasks: &[Task]) {
        for task in tasks {
            let this = format!("id={}", task.container);
            let list = ["ps", "-q", "--filter", &this];
            wait_until(&format!("{} has ended", task.instance()), || {
                self.swarm.try_docker(task.node, &list) == Some(String::new())
            });
        }
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

    /// Kills a replica's newest task.
    pub fn kill(&self, replica: &str) -> Kill {
        self.kill_once_listed(replica, 0)
    }

    /// The same once it is of this generation or a later one.
    pub fn kill_once_listed(&self, replica: &str, generation: u64) -> Kill {
        let killed = |task: Task| Some((self.try_kill(&task)?, task));
        let what = format!("{replica} is killed, of generation {generation} or later");
        let (at, task) = self.done_to(replica, generation, &what, killed);
        Kill { at, task }
    }

    /// Pauses a replica's newest task.
    pub fn pause(&self, replica: &str) -> Task {
        self.done_to(replica, 0, &format!("{replica} is paused"), |task| {
            let pause = ["pause", &task.container];
            self.swarm.try_docker(task.node, &pause).map(|_| task)
        })
    }

    /// Does something to a replica's newest task: to the next one if it has ended meanwhile.
    pub fn done_to<T>(
        &self,
        replica: &str,
        generation: u64,
        what: &str,
        action: impl Fn(Task) -> Option<T>,
    ) -> T {
        let mut done = None;
        wait_until(what, || {
            let task = self.try_task(replica);
            done = task
                .filter(|task| task.generation >= generation)
                .and_then(&action);
            done.is_some()
        });
        done.unwrap()
    }

    /// Kills a container, and says when; none if it does not run. Asked of the engine itself, for its client
    /// takes some 50 ms to start.
    fn try_kill(&self, task: &Task) -> Option<SystemTime> {
        let mut socket = UnixStream::connect(self.swarm.socket(task.node)).unwrap();
        let container = &task.container;
        let kill = format!("POST /containers/{container}/kill HTTP/1.0\r\nHost: engine\r\n\r\n");
        let now = SystemTime::now();
        socket.write_all(kill.as_bytes()).unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        answer.contains(" 204 ").then_some(now)
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

    /// The instances that it has found dead: they were evicted, have ended, or had no good heartbeat within the
    /// start time-out, which a post-mortem says.
    pub fn found_dead(&self) -> BTreeSet<String> {
        let log = self.log();
        let dead = log.lines().filter_map(|line| {
            let mut texts = [" is evicted: ", " died: "].iter();
            let (instance, _) = texts.find_map(|text| line.split_once(text))?;
            let (_, instance) = instance.rsplit_once("] ")?;
            Some(instance.trim_start_matches("post-mortem: ").to_owned())
        });
        dead.collect()
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
        // A call may take as long as an instance may take to start, which is a minute.
        let mut arguments = vec!["in", &node, "curl", "-s", "-m", "150", "-X", method, &url];
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
        let events = self.events_of(kind, replica);
        events.iter().map(time_of).collect()
    }

    fn events_of(&self, kind: &str, replica: &str) -> Vec<Value> {
        let events = self.get("/api/v1/events?limit=1000");
        let events = events["items"].as_array().unwrap().iter();
        let of_it = events.filter(|event| event["event"] == kind && event["replica"] == replica);
        of_it.cloned().collect()
    }

    /// How long after a moment the first event of a kind came, in ms, once it has come.
    pub fn time_until(&self, kind: &str, replica: &str, from: SystemTime) -> f64 {
        let from = unix_millis(from);
        self.await_event(kind, replica, |event| time_of(event) >= from) - from
    }

    /// The same of an instance's eviction.
    pub fn time_until_evicted(&self, task: &Task, from: SystemTime) -> f64 {
        let is_of_it = |event: &Value| event["generation"] == task.generation;
        self.await_event("evicted", &task.replica, is_of_it) - unix_millis(from)
    }

    /// The same until a later instance is ready.
    pub fn time_until_healed(&self, task: &Task, from: SystemTime) -> f64 {
        let is_later = |event: &Value| event["generation"].as_u64() > Some(task.generation);
        self.await_event("ready", &task.replica, is_later) - unix_millis(from)
    }

    /// Waits for an event, and returns its Unix time in ms.
    fn await_event(&self, kind: &str, replica: &str, is_it: impl Fn(&Value) -> bool) -> f64 {
        let mut found = None;
        wait_until(&format!("{replica} is {kind}"), || {
            let events = self.events_of(kind, replica);
            found = events.iter().find(|event| is_it(event)).map(time_of);
            found.is_some()
        });
        found.unwrap()
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

/// An event's Unix time in ms.
fn time_of(event: &Value) -> f64 {
    unix_millis(humantime::parse_rfc3339(event["at"].as_str().unwrap()).unwrap())
}

fn unix_millis(time: SystemTime) -> f64 {
    time.duration_since(SystemTime::UNIX_EPOCH)
        .unwrap()
        .as_secs_f64()
        * 1e3
}
