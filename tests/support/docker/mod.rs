//! A real engine for tests: an image that takes a second to make and no registry, and
//! fleets that leave nothing behind.

// Each test program uses its own part of this.
#![allow(dead_code, clippy::unwrap_used)]

pub mod cleanup;
pub mod private_engine;
pub mod registry;

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use ringmaster::runtime::ReplicaTemplate;
use ringmaster::runtime::docker::{DockerRuntime, DockerSettings, Security};
use serde_json::Value;

/// Set in containers alone: there this test program is a replica.
const REPLICA_MARK: &str = "RINGMASTER_TEST_REPLICA";

/// The name of the test that containers run: every test program has this module as `docker`.
pub const REPLICA_TEST: &str = "docker::replica_entrypoint";

/// Where the image holds this very program.
pub const IN_IMAGE: &str = "/replica-test";

/// One for each checkout: the image holds this very program, and two checkouts
/// that test at once must not take each other's.
fn image() -> &'static str {
    static NAME: OnceLock<String> = OnceLock::new();
    NAME.get_or_init(|| {
        let mut hasher = DefaultHasher::new();
        env!("CARGO_MANIFEST_DIR").hash(&mut hasher);
        format!("ringmaster-test-replica:{:016x}", hasher.finish())
    })
}

/// Not a test. In a container: serves until told to stop. Elsewhere: nothing.
#[test]
fn replica_entrypoint() {
    if std::env::var_os(REPLICA_MARK).is_none() {
        return;
    }
    let port = std::env::var("PORT").unwrap().parse().unwrap();
    ringmaster_server::serve(ringmaster_server::Options {
        listen: SocketAddr::from(([0, 0, 0, 0], port)),
        id: std::env::var("SERVER_ID").unwrap(),
        keep_alive: true,
    })
    .unwrap();
}

/// Whether an engine answers. Under CI it has to.
pub fn engine_answers() -> bool {
    let answers = Command::new("docker")
        .args(["version", "--format", "{{.Server.Version}}"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !answers {
        skip("no Docker engine answers");
    }
    answers
}

/// Says what is missing. Under CI that is a failure.
pub fn skip(missing: &str) {
    let required = std::env::var("CI").is_ok_and(|ci| ci == "true");
    assert!(!required, "CI=true, but {missing}");
    eprintln!("SKIPPED: {missing}");
}

/// Runs `docker` and returns what it prints. Panics if it fails.
pub fn docker(arguments: &[&str]) -> String {
    let output = Command::new("docker").args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "docker {arguments:?}: {said}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// An image of this very program and a few of the machine's own, with the libraries
/// that they need.
pub fn test_image() -> &'static str {
    static MADE: OnceLock<()> = OnceLock::new();
    MADE.get_or_init(|| {
        let old = quietly(&["images", "-q", image()]);
        import_image(None);
        if !old.trim().is_empty() {
            // Still used by another run of this test, perhaps: then it stays.
            quietly(&["rmi", old.trim()]);
        }
    });
    image()
}

/// Makes the image in an engine: that of the machine, or the one at `host`. Returns its name.
pub fn import_image(host: Option<&str>) -> &'static str {
    import_program(image(), &["--exact", REPLICA_TEST, "--nocapture"], host);
    image()
}

/// Makes an image whose containers run this very program with these arguments.
pub fn import_program(name: &str, arguments: &[&str], host: Option<&str>) {
    let this = std::env::current_exe().unwrap();
    import_executable(name, &this, &[&[IN_IMAGE], arguments].concat(), host);
}

/// Makes an image of a program, at the first word of its command.
pub fn import_executable(name: &str, program: &Path, command: &[&str], host: Option<&str>) {
    let programs = [
        program.to_str().unwrap(),
        "/bin/sh",
        "/bin/sleep",
        "/usr/bin/tail",
    ];
    let mut files: BTreeSet<String> = programs.map(str::to_owned).into();
    for program in programs {
        let listed = Command::new("ldd").arg(program).output().unwrap();
        let listed = String::from_utf8(listed.stdout).unwrap();
        let paths = listed
            .split_whitespace()
            .filter(|word| word.starts_with('/'));
        files.extend(paths.map(str::to_owned));
    }
    let mut tar = Command::new("tar")
        .args([
            "--create",
            "--dereference",
            "--absolute-names",
            // Where the checkout lies, a container may have a tmpfs.
            &format!("--transform=s,^{}$,{},", program.display(), command[0]),
            "--transform=s,^/,,",
        ])
        .args(&files)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let command = serde_json::json!(command);
    let imported = Command::new("docker")
        .envs(host.map(|host| ("DOCKER_HOST", host)))
        .args(["import", "-c", &format!("CMD {command}")])
        .args([
            "-c",
            &format!("ENV {REPLICA_MARK}=1"),
            "-c",
            "ENV PATH=/bin:/usr/bin",
        ])
        .args(["-", name])
        .stdin(tar.stdout.take().unwrap())
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(tar.wait().unwrap().success() && imported.success());
}

/// A fleet of its own for one test. Its containers and networks go when it is dropped.
pub struct TestFleet {
    pub settings: DockerSettings,
}

impl TestFleet {
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let fleet = format!("rmtest-{}-{count}", std::process::id());
        Self {
            settings: DockerSettings {
                network: fleet.clone(),
                fleet,
                image: test_image().to_owned(),
                security: Security::Restricted,
                pull: Default::default(),
                template: ReplicaTemplate {
                    memory: Some(128 << 20),
                    nano_cpus: Some(1_000_000_000),
                    pids: Some(64),
                    ..Default::default()
                },
                container: Default::default(),
                like: None,
                service: None,
            },
        }
    }

    /// Replicas that run this instead of serving.
    pub fn running(command: &[&str]) -> Self {
        let mut fleet = Self::new();
        let command = command.iter().map(|&part| part.to_owned()).collect();
        fleet.settings.template.command = Some(command);
        fleet
    }

    pub fn runtime(&self) -> DockerRuntime {
        DockerRuntime::new(self.settings.clone()).unwrap()
    }

    /// The name of a replica's container.
    pub fn container(&self, replica: &str) -> String {
        format!("{}-{replica}", self.settings.fleet)
    }

    /// The names of all of the replicas' containers, dead ones included.
    pub fn containers(&self) -> Vec<String> {
        self.containers_with("io.ringmaster.replica")
    }

    /// The name of the container that is the fleet's record; of two, if a version is being
    /// replaced.
    pub fn records(&self) -> Vec<String> {
        self.containers_with("io.ringmaster.record")
    }

    fn containers_with(&self, label: &str) -> Vec<String> {
        let fleet = format!("label=io.ringmaster.fleet={}", self.settings.fleet);
        let label = format!("label={label}");
        let filters = ["--filter", &fleet, "--filter", &label];
        let listed = docker(&[&["ps", "-a", "--format", "{{.Names}}"], &filters[..]].concat());
        let mut names: Vec<_> = listed.lines().map(str::to_owned).collect();
        names.sort();
        names
    }

    pub fn network_exists(&self) -> bool {
        let filter = format!("name=^{}$", self.settings.network);
        !docker(&["network", "ls", "-q", "--filter", &filter]).is_empty()
    }
}

impl Drop for TestFleet {
    fn drop(&mut self) {
        let label = format!("label=io.ringmaster.fleet={}", self.settings.fleet);
        sweep(&label);
        quietly(&["network", "rm", &self.settings.network]);
    }
}

/// Removes every container that the filter finds. No failure: this also runs while a
/// test is failing already.
pub fn sweep(filter: &str) {
    for container in quietly(&["ps", "-aq", "--filter", filter]).lines() {
        quietly(&["rm", "--force", "--volumes", container]);
    }
}

/// Runs `docker` and returns what it prints, whether it fails or not.
pub fn quietly(arguments: &[&str]) -> String {
    let output = Command::new("docker").args(arguments).output();
    output.map_or_else(
        |_| String::new(),
        |output| String::from_utf8_lossy(&output.stdout).into_owned(),
    )
}

/// What `docker inspect` says. Waits for the object: between the two renames of a swap nothing has
/// the plain name of a replica.
pub fn inspect(name: &str) -> Value {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let output = Command::new("docker").args(["inspect", name]).output();
        let output = output.unwrap();
        if output.status.success() {
            let found: Value = serde_json::from_slice(&output.stdout).unwrap();
            return found[0].clone();
        }
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            said.contains("No such object") && Instant::now() < deadline,
            "docker inspect {name}: {said}"
        );
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// One request over a connection of its own: status and body.
pub fn request(
    address: SocketAddr,
    method: &str,
    path: &str,
    body: &str,
) -> std::io::Result<(u16, String)> {
    let limit = Some(Duration::from_secs(30));
    let mut socket = TcpStream::connect_timeout(&address, Duration::from_secs(1))?;
    socket.set_read_timeout(limit)?;
    let length = body.len();
    write!(
        socket,
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer)?;
    let parts = answer.split_once("\r\n\r\n");
    let status = answer.split(' ').nth(1).and_then(|code| code.parse().ok());
    match (status, parts) {
        (Some(status), Some((_, body))) => Ok((status, body.to_owned())),
        _ => Err(std::io::Error::other(format!("no answer: {answer:?}"))),
    }
}

/// The body of the answer, asked for until there is one.
pub fn get(address: SocketAddr, path: &str) -> String {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        match request(address, "GET", path, "") {
            Ok((_, body)) => return body,
            Err(error) => assert!(
                Instant::now() < deadline,
                "{address} never answered: {error}"
            ),
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Waits for a state, not for a time.
pub async fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(15);
    while !done() {
        assert!(Instant::now() < deadline, "gave up waiting until {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A socket before the engine's that can be cut, to see how the runtime takes it.
pub struct CuttableSocket {
    path: std::path::PathBuf,
    relay: Option<tokio::task::JoinHandle<()>>,
}

impl CuttableSocket {
    pub fn new(directory: &Path) -> Self {
        let path = directory.join("docker.sock");
        let mut socket = Self { path, relay: None };
        socket.mend();
        socket
    }

    pub fn host(&self) -> String {
        format!("unix://{}", self.path.display())
    }

    /// Ends every connection and takes no new one.
    pub async fn cut(&mut self) {
        if let Some(relay) = self.relay.take() {
            relay.abort();
            let _ = relay.await;
        }
        std::fs::remove_file(&self.path).unwrap();
    }

    /// Ends every connection, and takes new ones at once.
    pub async fn interrupt(&mut self) {
        self.cut().await;
        self.mend();
    }

    pub fn mend(&mut self) {
        let listener = tokio::net::UnixListener::bind(&self.path).unwrap();
        self.relay = Some(actix::spawn(async move {
            // Connections end with the task that owns them all.
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((mut near, _)) = listener.accept().await {
                connections.spawn(async move {
                    let mut far = tokio::net::UnixStream::connect("/var/run/docker.sock").await?;
                    tokio::io::copy_bidirectional(&mut near, &mut far).await
                });
            }
        }));
    }
}
