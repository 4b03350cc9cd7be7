//! A real balancer as a child process.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use awc::http::{Method, StatusCode};
use serde_json::Value;

use super::client::{Reply, ask, get, items, names};
use super::processes::{children_of, signal};
use super::{MAX_WAIT, eventually};

/// A balancer that runs as a child process; killed when dropped, and its replicas with it.
pub struct Ringmaster {
    process: Child,
    url: String,
    log: Arc<Mutex<String>>,
    /// Reads the log; ends with it.
    log_reader: JoinHandle<()>,
    text: Arc<Mutex<String>>,
}

/// How long the end of the log is waited for once the balancer has ended: another program may have its
/// stderr.
const LOG_END_TIMEOUT: Duration = Duration::from_secs(5);

impl Ringmaster {
    /// Starts one on a free port and waits until it listens.
    pub fn start(args: &[&str]) -> Self {
        Self::start_with(args, &[])
    }

    /// The same, with environment variables.
    pub fn start_with(args: &[&str], env: &[(&str, &str)]) -> Self {
        let mut program = Command::new(env!("CARGO_BIN_EXE_ringmaster"));
        program.envs(env.iter().copied());
        Self::launch(program, args)
    }

    /// The same, with a hard limit on open files.
    pub fn start_with_files(files: u32, args: &[&str]) -> Self {
        let mut shell = Command::new("sh");
        shell
            .args(["-c", &format!("ulimit -n {files}; exec \"$0\" \"$@\"")])
            .arg(env!("CARGO_BIN_EXE_ringmaster"));
        Self::launch(shell, args)
    }

    /// The same, by another program that becomes it.
    pub fn start_by(program: Command, args: &[&str]) -> Self {
        Self::launch(program, args)
    }

    /// Starts one at this address, which ends with this thread, however that ends.
    pub fn start_at(address: &str, args: &[&str], env: &[(&str, &str)]) -> Self {
        let mut program = Command::new(env!("CARGO_BIN_EXE_ringmaster"));
        program.envs(env.iter().copied());
        ringmaster::sys::child::die_with_parent(&mut program);
        Self::launch_at(program, address, args)
    }

    fn launch(program: Command, args: &[&str]) -> Self {
        Self::launch_at(program, "127.0.0.1:0", args)
    }

    fn launch_at(mut program: Command, address: &str, args: &[&str]) -> Self {
        let mut process = program
            .args(["--listen", address])
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the balancer starts");
        let (log, log_reader) = collect(process.stderr.take().unwrap());
        let mut first_line = String::new();
        let mut stdout = BufReader::new(process.stdout.take().unwrap());
        stdout.read_line(&mut first_line).unwrap();
        let url = first_line
            .split_whitespace()
            .find(|word| word.starts_with("http://"))
            .map(str::to_owned);
        let Some(url) = url else {
            let _ = process.wait();
            panic!(
                "no address in {first_line:?}; log:\n{}",
                log.lock().unwrap()
            );
        };
        // Keep reading, or the balancer blocks on a full pipe.
        let (text, _) = collect(stdout);
        Self {
            process,
            url,
            log,
            log_reader,
            text,
        }
    }

    /// Starts one and waits until all its replicas are on the ring.
    pub async fn ready(args: &[&str]) -> Self {
        let balancer = Self::start(args);
        let replicas = balancer.replicas().await.len();
        eventually("all replicas on the ring", || async {
            balancer.count_in_log("is ready at") >= replicas
        })
        .await;
        // The log tells of a replica before the threads that serve clients know of it; the history
        // tells of it when all of them do.
        eventually("every thread has the ring", || async {
            let ready = balancer.ready_in_history().await;
            ready.is_none_or(|ready| ready >= replicas)
        })
        .await;
        balancer
    }

    /// How often a replica became ready, by the history; none if there is no admin listener, or it takes
    /// no call without a token.
    async fn ready_in_history(&self) -> Option<usize> {
        eventually("the start-up text", || async {
            self.text().contains("\nstop  ")
        })
        .await;
        let text = self.text();
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("admin curl "))?;
        let admin = line.strip_suffix("/api/v1/status")?;
        let history = get(&format!("{admin}/api/v1/events?limit=1000")).await;
        if history.status != StatusCode::OK {
            return None;
        }
        let events = items(&history.body);
        let ready = events.iter().filter(|event| event["event"] == "ready");
        Some(ready.count())
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    /// `HOST:PORT`.
    pub fn address(&self) -> &str {
        self.url.strip_prefix("http://").unwrap()
    }

    /// `http://HOST:PORT` of the admin listener, from the start-up text.
    pub async fn admin_url(&self) -> String {
        let url = || {
            let text = self.text();
            let url = text
                .lines()
                .find_map(|line| line.strip_prefix("admin curl "))?;
            Some(url.strip_suffix("/api/v1/status")?.to_owned())
        };
        eventually("the admin address", || async { url().is_some() }).await;
        url().unwrap()
    }

    /// Where the state of the fleet is.
    pub async fn status_url(&self) -> String {
        format!("{}/api/v1/fleets/default", self.admin_url().await)
    }

    /// What happened to replicas, the oldest first.
    pub async fn events(&self) -> Vec<Value> {
        let url = format!("{}/api/v1/events?limit=1000", self.admin_url().await);
        items(&get(&url).await.body)
    }

    /// The first event for which this holds; waits for it, because the log tells of things before the history.
    pub async fn event(&self, is_it: impl Fn(&Value) -> bool) -> Value {
        let begun = Instant::now();
        loop {
            if let Some(event) = self.events().await.into_iter().find(&is_it) {
                return event;
            }
            assert!(begun.elapsed() < MAX_WAIT, "there is no such event");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// The same of an instance.
    pub async fn event_of(&self, replica: &str, generation: u64, kind: &str) -> Value {
        let is_it = |event: &Value| {
            event["replica"] == replica
                && event["event"] == kind
                && event["generation"] == generation
        };
        self.event(is_it).await
    }

    /// The seconds from the eviction of one instance to the readiness of the next.
    pub async fn outage(&self, replica: &str, dead: u64, next: u64) -> f64 {
        let ready = seconds(&self.event_of(replica, next, "ready").await);
        let evicted = seconds(&self.event_of(replica, dead, "evicted").await);
        (ready - evicted).rem_euclid(86_400.0)
    }

    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// The start-up text, but for its first line.
    pub fn text(&self) -> String {
        self.text.lock().unwrap().clone()
    }

    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    pub fn count_in_log(&self, text: &str) -> usize {
        self.log().matches(text).count()
    }

    /// Waits until the log has this so often: it is written by a thread of its own, and may come
    /// later than the answer to what caused it.
    pub async fn has_logged(&self, text: &str, times: usize) {
        eventually(text, || async { self.count_in_log(text) >= times }).await;
        assert_eq!(self.count_in_log(text), times, "{}", self.log());
    }

    pub async fn rep(&self) -> Reply {
        ask(Method::GET, &self.url("/rep"), None).await
    }

    pub async fn add(&self, body: Value) -> Reply {
        ask(Method::POST, &self.url("/add"), Some(body)).await
    }

    pub async fn rm(&self, body: Value) -> Reply {
        ask(Method::DELETE, &self.url("/rm"), Some(body)).await
    }

    /// The names that `GET /rep` lists; N is checked against them.
    pub async fn replicas(&self) -> Vec<String> {
        let reply = self.rep().await;
        assert_eq!(reply.status, StatusCode::OK);
        names(&reply.body)
    }

    /// The processes of the replicas: name and process id.
    pub fn children(&self) -> Vec<(String, u32)> {
        children_of(self.pid())
            .into_iter()
            .filter_map(|pid| {
                let environment = std::fs::read(format!("/proc/{pid}/environ")).ok()?;
                let name = environment
                    .split(|&byte| byte == 0)
                    .find_map(|variable| variable.strip_prefix(b"SERVER_ID="))?;
                Some((String::from_utf8_lossy(name).into_owned(), pid))
            })
            .collect()
    }

    pub fn child(&self, name: &str) -> u32 {
        let children = self.children();
        let found = children.iter().find(|(child, _)| child == name);
        found
            .unwrap_or_else(|| panic!("no child {name} in {children:?}"))
            .1
    }

    /// SIGTERM, and the exit status.
    pub async fn terminate(mut self) -> (ExitStatus, String) {
        signal(self.pid(), "TERM");
        let status = self.exited().await;
        (status, self.log())
    }

    /// Waits for its end, and for that of its log: the last lines may still be in the pipe.
    pub async fn exited(&mut self) -> ExitStatus {
        let begun = Instant::now();
        let status = loop {
            if let Some(status) = self.process.try_wait().unwrap() {
                break status;
            }
            assert!(
                begun.elapsed() < MAX_WAIT,
                "it does not end:\n{}",
                self.log()
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        };
        let ended = Instant::now();
        while !self.log_reader.is_finished() && ended.elapsed() < LOG_END_TIMEOUT {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        status
    }
}

impl Drop for Ringmaster {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
        if std::thread::panicking() {
            eprintln!("--- the balancer's log ---\n{}", self.log());
        }
    }
}

/// Reads a pipe to its end, in the background.
fn collect(mut pipe: impl Read + Send + 'static) -> (Arc<Mutex<String>>, JoinHandle<()>) {
    let text = Arc::new(Mutex::new(String::new()));
    let collected = Arc::clone(&text);
    let reader = std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = pipe.read(&mut buffer) {
            let chunk = String::from_utf8_lossy(&buffer[..count]).into_owned();
            collected.lock().unwrap().push_str(&chunk);
        }
    });
    (text, reader)
}

/// When an event was, in seconds since midnight.
fn seconds(event: &Value) -> f64 {
    let at = event["at"].as_str().unwrap();
    let time = &at[at.find('T').unwrap() + 1..at.len() - 1];
    let parts = time.split(':').map(|part| part.parse::<f64>().unwrap());
    parts.fold(0.0, |sum, part| sum * 60.0 + part)
}
