//! An engine of a test's own, that may be killed, frozen and started again.

#![allow(dead_code, clippy::unwrap_used)]

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::json;

use super::cleanup::Cleanup;

/// Long enough for an engine to start on a busy machine.
const MAX_WAIT: Duration = Duration::from_secs(60);

const SWEEP: &str = include_str!("private_engine.sweep.sh");

/// A `dockerd` with a socket, images and networks of its own.
pub struct PrivateEngine {
    folder: tempfile::TempDir,
    bridge: String,
    daemon: Option<Child>,
    cleanup: Option<Cleanup>,
}

impl PrivateEngine {
    /// Starts one; none if this machine has no `dockerd` or does not let us, which under CI
    /// is a failure. With `live_restore` its containers outlive it.
    pub fn start(live_restore: bool) -> Option<Self> {
        Self::start_on(live_restore, None)
    }

    /// One whose disk has so little room, in MiB, that a test can fill it.
    pub fn start_on_small_disk(mib: u32) -> Option<Self> {
        Self::start_on(false, Some(mib))
    }

    fn start_on(live_restore: bool, disk: Option<u32>) -> Option<Self> {
        let driver = Command::new("docker")
            .args(["info", "--format", "{{.Driver}}"])
            .output();
        let driver = driver.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
        let driver = driver.ok().filter(|driver| !driver.is_empty());
        let is_root = rustix::process::geteuid().is_root();
        let (Some(driver), true) = (driver, is_root) else {
            super::skip("a dockerd of our own takes Docker and root");
            return None;
        };
        // Told to have no bridge (or to begin again with address pools of its own), it would
        // remove docker0, which is the machine's. So
        // the machine's engine lends it another.
        let bridge = format!("rmt{}", std::process::id());
        let named = format!("com.docker.network.bridge.name={bridge}");
        let folder = tempfile::tempdir().unwrap();
        let inside = folder.path().display().to_string();
        // First of all: it clears away whatever comes after it.
        let cleanup = Cleanup::start(SWEEP, &[("ENGINE", &inside), ("BRIDGE", &bridge)]);
        super::docker(&["network", "create", "--opt", &named, &bridge]);
        let engine = Self {
            folder,
            bridge,
            daemon: None,
            cleanup: Some(cleanup),
        };
        if let Some(mib) = disk {
            engine.mount_disk(mib);
        }
        let path = |name: &str| engine.path(name);
        let config = json!({
            "data-root": path("data"),
            "exec-root": path("exec"),
            "pidfile": path("pid"),
            "hosts": [engine.host()],
            "storage-driver": driver,
            "live-restore": live_restore,
            // Its networks need no way out, and no other rules are touched.
            "bridge": engine.bridge,
            "iptables": false,
            "ip-masq": false,
            "shutdown-timeout": 2,
        });
        std::fs::write(path("config.json"), config.to_string()).unwrap();
        let mut engine = engine;
        engine.begin();
        Some(engine)
    }

    fn mount_disk(&self, mib: u32) {
        std::fs::create_dir(self.path("data")).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={mib}m"), "tmpfs"])
            .arg(self.path("data"))
            .status();
        assert!(mounted.unwrap().success());
    }

    /// Takes all the room on its disk, also what becomes free, until the filler is dropped.
    pub fn fill_disk(&self) -> Filler {
        Filler::begin(PathBuf::from(self.path("data")).join("filler"))
    }

    /// Starts it, again, and waits until it answers.
    pub fn begin(&mut self) {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.path("log"))
            .unwrap();
        let daemon = Command::new("dockerd")
            .args(["--config-file", &self.path("config.json")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        self.daemon = Some(daemon);
        let begun = Instant::now();
        while self.try_docker(&["version"]).is_none() {
            let log = || std::fs::read_to_string(self.path("log")).unwrap_or_default();
            assert!(begun.elapsed() < MAX_WAIT, "no engine: {}", log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Ends it: `KILL` at once, `TERM` in order.
    pub fn end(&mut self, signal: &str) {
        if let Some(mut daemon) = self.daemon.take() {
            let pid = daemon.id().to_string();
            let _ = Command::new("kill")
                .args([&format!("-{signal}"), &pid])
                .status();
            let _ = daemon.wait();
            // Its containerd dies with it, but a moment later, and where nobody buries the
            // dead it looks alive for ever: an engine that begins would wait for it in vain.
            let pid_file = self.path("exec/containerd/containerd.pid");
            let containerd = std::fs::read_to_string(&pid_file).unwrap_or_default();
            let begun = Instant::now();
            while !containerd.is_empty() && is_alive(containerd.trim()) {
                assert!(begun.elapsed() < MAX_WAIT, "containerd stays");
                std::thread::sleep(Duration::from_millis(20));
            }
            let _ = std::fs::remove_file(pid_file);
        }
    }

    /// Sends it a signal that does not end it.
    pub fn signal(&self, signal: &str) {
        let pid = self.daemon.as_ref().unwrap().id().to_string();
        let sent = Command::new("kill")
            .args([&format!("-{signal}"), &pid])
            .status();
        assert!(sent.unwrap().success());
    }

    /// For `DOCKER_HOST`.
    pub fn host(&self) -> String {
        format!("unix://{}", self.path("docker.sock"))
    }

    /// What `docker` says; panics if it fails.
    pub fn docker(&self, arguments: &[&str]) -> String {
        self.try_docker(arguments)
            .unwrap_or_else(|| panic!("docker {arguments:?} failed"))
    }

    fn try_docker(&self, arguments: &[&str]) -> Option<String> {
        let output = Command::new("docker")
            .env("DOCKER_HOST", self.host())
            .args(arguments)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        output.status.success().then_some(said)
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }
}

impl Drop for PrivateEngine {
    fn drop(&mut self) {
        drop(self.cleanup.take());
        if let Some(mut daemon) = self.daemon.take() {
            let _ = daemon.wait();
        }
    }
}

/// A file that takes all the room there is.
pub struct Filler {
    path: PathBuf,
    enough: Arc<AtomicBool>,
    writer: Option<JoinHandle<()>>,
}

impl Filler {
    fn begin(path: PathBuf) -> Self {
        let mut file = File::create(&path).unwrap();
        let fill = |file: &mut File| {
            // Ever smaller pieces, so that not even one of them fits any more.
            for size in [1 << 20, 4096, 1] {
                while file.write_all(&vec![0; size]).is_ok() {}
            }
        };
        fill(&mut file);
        let enough = Arc::new(AtomicBool::new(false));
        let done = Arc::clone(&enough);
        let writer = std::thread::spawn(move || {
            while !done.load(Ordering::Relaxed) {
                fill(&mut file);
                std::thread::sleep(Duration::from_micros(200));
            }
        });
        Self {
            path,
            enough,
            writer: Some(writer),
        }
    }
}

impl Drop for Filler {
    fn drop(&mut self) {
        self.enough.store(true, Ordering::Relaxed);
        let _ = self.writer.take().map(JoinHandle::join);
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Whether a process runs; one that is dead and waits for its parent does not.
fn is_alive(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat
        .rsplit(") ")
        .next()
        .and_then(|rest| rest.chars().next());
    state.is_some_and(|state| state != 'Z')
}
