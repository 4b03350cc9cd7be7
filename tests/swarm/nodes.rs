//! The Swarm that the tests of this program share: three nodes, all of them managers. One test at a time
//! has it, because most do something to its nodes.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::docker::cleanup::Cleanup;
use crate::docker::{import_executable, skip};

/// Where the script is, from the repository.
const BESIDE: &str = "../shared/machine/swarm-nodes";

/// The namespaces of the nodes have fixed names: one Swarm a machine. In the directory for temporary files.
const LOCK: &str = "ringmaster-swarm-nodes.lock";

/// The image of balancers and replicas, in this machine's engine.
const IMAGE: &str = "ringmaster-test-swarm";

/// How long a command to a node may have to be tried again, and a state may take to come. After a node has come
/// back, a part of the overlay was broken for 52 s once.
const MAX_WAIT: Duration = Duration::from_secs(120);

/// How long a part of the overlay may be broken after a node has come back: its engines take it apart when they
/// give the node up, and put it together when they exchange what they know, every 30 s. Meanwhile a balancer
/// finds replicas dead that it does not reach.
const OVERLAY_SETTLES: Duration = Duration::from_secs(120);

/// The nodes that are cut off or dead, and when the last one of them has come back.
#[derive(Default)]
struct LostNodes {
    lost: BTreeSet<u32>,
    last_return: Option<Instant>,
}

/// A Swarm that runs.
pub struct Swarm {
    script: PathBuf,
    folder: PathBuf,
    /// The image's id: for a name each node would ask a registry first.
    pub image: String,
    lost_nodes: Mutex<LostNodes>,
    _lock: File,
    _cleanup: Mutex<Cleanup>,
}

/// The Swarm for one test, alone; none if this machine cannot make one.
pub fn swarm() -> Option<(&'static Swarm, MutexGuard<'static, ()>)> {
    static SWARM: OnceLock<Option<Swarm>> = OnceLock::new();
    static ALONE: Mutex<()> = Mutex::new(());
    let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let swarm = SWARM.get_or_init(Swarm::start).as_ref()?;
    swarm.reset();
    Some((swarm, alone))
}

impl Swarm {
    fn start() -> Option<Self> {
        let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join(BESIDE);
        let named = std::env::var_os("RINGMASTER_SWARM_NODES").map(PathBuf::from);
        let script = named.unwrap_or(beside);
        let is_root = rustix::process::geteuid().is_root();
        if !script.exists() || !is_root || !crate::docker::engine_answers() {
            skip("a Swarm takes the script swarm-nodes, Docker and root");
            return None;
        }
        let lock = File::create(std::env::temp_dir().join(LOCK)).unwrap();
        lock.lock().unwrap();
        let folder = tempfile::tempdir().unwrap().path().join("nodes");
        std::fs::create_dir_all(folder.parent().unwrap()).unwrap();
        let (program, inside) = (script.display().to_string(), folder.display().to_string());
        let end = "SWARM_DIR=$FOLDER \"$SCRIPT\" down; rmdir \"${FOLDER%/*}\"";
        // First of all: it clears away whatever comes after it.
        let cleanup = Cleanup::start(end, &[("SCRIPT", &program), ("FOLDER", &inside)]);
        let image = make_image();
        let swarm = Self {
            script,
            folder,
            image,
            lost_nodes: Mutex::default(),
            _lock: lock,
            _cleanup: Mutex::new(cleanup),
        };
        swarm.run(&["up", "3"]);
        swarm.run(&["load", IMAGE]);
        Some(swarm)
    }

    /// Undoes what a test before has left: cut nodes, dead ones, services.
    fn reset(&self) {
        for node in 1..=3 {
            self.mend(node);
            if !self.engine_answers(node) {
                self.start_node(node);
            }
        }
        self.all_nodes_are_ready();
        for node in 1..=3 {
            self.set_availability(node, "active");
            let left = self.docker(node, &["ps", "-aq", "--filter", "label=rmtest"]);
            for container in left.lines() {
                self.try_docker(node, &["rm", "-f", container]);
            }
        }
        // One that is a manager already stays one.
        let promote = ["node", "promote", "node1", "node2", "node3"];
        let manages = |node| self.try_docker(node, &["node", "ls"]).is_some();
        wait_until("all nodes are managers", || {
            self.try_docker(1, &promote).is_some() && (1..=3).all(manages)
        });
        for service in self.docker(1, &["service", "ls", "-q"]).lines() {
            self.try_docker(1, &["service", "rm", service]);
        }
        for config in self.docker(1, &["config", "ls", "-q"]).lines() {
            self.try_docker(1, &["config", "rm", config]);
        }
    }

    /// Unplugs a node from the others. Its engine still answers here.
    pub fn cut(&self, node: u32) {
        self.lost_nodes.lock().unwrap().lost.insert(node);
        self.run(&["cut", &node.to_string()]);
    }

    /// Plugs it in again.
    pub fn mend(&self, node: u32) {
        self.run(&["mend", &node.to_string()]);
        self.note_return(node);
    }

    /// Ends all processes of a node.
    pub fn die(&self, node: u32) {
        self.lost_nodes.lock().unwrap().lost.insert(node);
        self.run(&["die", &node.to_string()]);
    }

    /// Starts a node that has died.
    pub fn start_node(&self, node: u32) {
        // The script gives up sooner, and the engine starts all the same.
        if self.try_run(&["start", &node.to_string()]).is_none() {
            wait_until(&format!("the engine of node {node} answers"), || {
                self.engine_answers(node)
            });
        }
        self.note_return(node);
    }

    fn engine_answers(&self, node: u32) -> bool {
        self.try_docker(node, &["version"]).is_some()
    }

    fn note_return(&self, node: u32) {
        let mut nodes = self.lost_nodes.lock().unwrap();
        if nodes.lost.remove(&node) {
            nodes.last_return = Some(Instant::now());
        }
    }

    /// Whether a part of the overlay may have been broken at some time since then, because a node came back then or
    /// shortly before.
    pub fn overlay_may_have_broken(&self, since: Instant) -> bool {
        let last_return = self.lost_nodes.lock().unwrap().last_return;
        last_return.is_some_and(|at| at + OVERLAY_SETTLES > since)
    }

    pub fn all_nodes_are_ready(&self) {
        wait_until("three nodes are ready", || {
            let listed = self.try_docker(1, &["node", "ls"]).unwrap_or_default();
            listed.matches(" Ready ").count() == 3
        });
    }

    /// Changes a node. The Swarm refuses that while it changes the node itself.
    pub fn update_node(&self, node: u32, option: &str, value: &str) {
        let name = format!("node{node}");
        wait_until(&format!("{name} has {option} {value}"), || {
            let update = ["node", "update", option, value, &name];
            self.try_docker(1, &update).is_some()
        });
    }

    pub fn set_availability(&self, node: u32, availability: &str) {
        self.update_node(node, "--availability", availability);
    }

    /// The script, to be run beside the test.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.script);
        command.env("SWARM_DIR", &self.folder).env("MANAGERS", "3");
        command.args(arguments).stdin(Stdio::null());
        command
    }

    /// Runs the script, and returns what it prints. Panics if it fails.
    pub fn run(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "swarm-nodes {arguments:?}: {said}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// The same; none if it fails.
    pub fn try_run(&self, arguments: &[&str]) -> Option<String> {
        let output = self.command(arguments).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        output.status.success().then_some(said)
    }

    /// The client of a node's engine.
    pub fn docker(&self, node: u32, arguments: &[&str]) -> String {
        let node = node.to_string();
        self.run(&[&["docker", &node], arguments].concat())
    }

    /// The same with variables.
    pub fn docker_with(&self, node: u32, variables: &[(&str, &str)], arguments: &[&str]) {
        let node = node.to_string();
        let mut command = self.command(&[&["docker", &node], arguments].concat());
        let output = command.envs(variables.iter().copied()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "docker {arguments:?}: {said}");
    }

    pub fn try_docker(&self, node: u32, arguments: &[&str]) -> Option<String> {
        let node = node.to_string();
        self.try_run(&[&["docker", &node], arguments].concat())
    }

    /// Standard output and standard error together.
    pub fn output_of(&self, node: u32, container: &str) -> String {
        self.logs(node, &[container])
    }

    /// The same, each line with its time before it.
    pub fn dated_output_of(&self, node: u32, container: &str) -> String {
        self.logs(node, &["--timestamps", container])
    }

    fn logs(&self, node: u32, arguments: &[&str]) -> String {
        let node = node.to_string();
        let command = [&["docker", &node, "logs"], arguments].concat();
        let output = self.command(&command).output().unwrap();
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    }

    /// A command inside a node that runs beside the test.
    pub fn begin_inside(&self, node: u32, arguments: &[&str]) -> Command {
        let node = node.to_string();
        self.command(&[&["in", &node], arguments].concat())
    }

    /// Where a node's engine listens.
    pub fn socket(&self, node: u32) -> String {
        let socket = self.folder.join(node.to_string()).join("docker.sock");
        socket.display().to_string()
    }

    /// An object, as the engine of a node describes it. Panics if there is none.
    pub fn inspect(&self, node: u32, kind: &str, name: &str) -> Value {
        self.try_inspect(node, kind, name)
            .unwrap_or_else(|| panic!("node {node} has no {kind} {name}"))
    }

    /// The same of one that may be gone since it was listed.
    pub fn try_inspect(&self, node: u32, kind: &str, name: &str) -> Option<Value> {
        let described = self.try_docker(node, &[kind, "inspect", name])?;
        let described: Value = serde_json::from_str(&described).unwrap();
        Some(described[0].clone())
    }
}

/// An image of the balancer's own program, which is the demo server as well.
fn make_image() -> String {
    let folder = tempfile::tempdir().unwrap();
    let stripped = folder.path().join("ringmaster");
    let program = Path::new(env!("CARGO_BIN_EXE_ringmaster"));
    let strip = Command::new("strip")
        .arg("-o")
        .arg(&stripped)
        .arg(program)
        .status();
    if !strip.is_ok_and(|status| status.success()) {
        std::fs::copy(program, &stripped).unwrap();
    }
    import_executable(IMAGE, &stripped, &["/ringmaster"], None);
    crate::docker::docker(&["image", "inspect", "--format", "{{.Id}}", IMAGE])
}

/// Waits for a state, never for a duration.
pub fn wait_until(what: &str, state: impl FnMut() -> bool) {
    wait_longer_until(MAX_WAIT, what, state);
}

/// The same for a state that may take its time.
pub fn wait_longer_until(max_wait: Duration, what: &str, mut state: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !state() {
        assert!(begun.elapsed() < max_wait, "never came true: {what}");
        std::thread::sleep(Duration::from_millis(30));
    }
}
