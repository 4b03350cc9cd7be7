//! A real balancer as a child process, and what tests ask of it.

#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, missing_docs)]

pub mod dns;
pub mod threads;
pub mod wire;

use std::future::Future;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use awc::http::header::HeaderMap;
use awc::http::{Method, StatusCode};
use serde_json::{Value, json};

/// The longest that a test waits for a state. Nothing takes this long unless it is broken.
pub const MAX_WAIT: Duration = Duration::from_secs(30);

/// A balancer that runs as a child process; killed when dropped, and its replicas with it.
pub struct Ringmaster {
    process: Child,
    url: String,
    log: Arc<Mutex<String>>,
    text: Arc<Mutex<String>>,
}

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
        let log = collect(process.stderr.take().unwrap());
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
        let text = collect(stdout);
        Self {
            process,
            url,
            log,
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
        balancer
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

    pub async fn exited(&mut self) -> ExitStatus {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.process.try_wait().unwrap() {
                return status;
            }
            assert!(
                begun.elapsed() < MAX_WAIT,
                "it does not end:\n{}",
                self.log()
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
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

/// Status and body of an answer.
#[derive(Debug, Clone)]
pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Value,
}

impl Reply {
    /// The value of a header; empty if there is none.
    pub fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value.map_or("", |value| value.to_str().unwrap())
    }

    pub fn message(&self) -> &str {
        self.body["message"].as_str().unwrap_or_default()
    }

    /// The names of a successful answer, N checked.
    pub fn names(&self) -> Vec<String> {
        assert_eq!(self.status, StatusCode::OK, "{:?}", self.body);
        names(&self.body)
    }
}

/// What a list of the admin API holds.
pub fn items(body: &Value) -> Vec<Value> {
    let items = body["items"].as_array();
    items.unwrap_or_else(|| panic!("no list: {body}")).clone()
}

fn names(body: &Value) -> Vec<String> {
    assert_eq!(body["status"], "successful", "{body}");
    let names: Vec<String> = body["message"]["replicas"]
        .as_array()
        .unwrap()
        .iter()
        .map(|name| name.as_str().unwrap().to_owned())
        .collect();
    assert_eq!(body["message"]["N"], json!(names.len()));
    names
}

/// A client that waits, follows nothing and decodes nothing.
pub fn client() -> awc::Client {
    awc::Client::builder()
        .disable_redirects()
        .timeout(MAX_WAIT)
        .finish()
}

pub async fn ask(method: Method, url: &str, body: Option<Value>) -> Reply {
    ask_with(method, url, &[], body).await
}

/// The same, with headers.
pub async fn ask_with(
    method: Method,
    url: &str,
    headers: &[(&str, &str)],
    body: Option<Value>,
) -> Reply {
    let mut request = client().request(method, url);
    for header in headers {
        request = request.append_header(*header);
    }
    let sent = match body {
        Some(body) => request.send_json(&body).await,
        None => request.send().await,
    };
    let mut response = sent.unwrap_or_else(|error| panic!("{url}: {error}"));
    let (status, headers) = (response.status(), response.headers().clone());
    let bytes = response.body().await.unwrap();
    let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
    Reply {
        status,
        headers,
        body,
    }
}

pub async fn get(url: &str) -> Reply {
    ask(Method::GET, url, None).await
}

/// Waits for a state, never for a duration.
pub async fn eventually<F>(what: &str, mut state: impl FnMut() -> F)
where
    F: Future<Output = bool>,
{
    let begun = Instant::now();
    while !state().await {
        assert!(begun.elapsed() < MAX_WAIT, "never came true: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

pub fn signal(pid: u32, name: &str) {
    let status = Command::new("kill")
        .args([format!("-{name}"), pid.to_string()])
        .status()
        .unwrap();
    assert!(status.success(), "kill -{name} {pid}");
    // A thread goes on until it notices: a request could still be answered.
    let begun = Instant::now();
    while name == "STOP" && !is_stopped(pid) {
        assert!(begun.elapsed() < MAX_WAIT, "{pid} does not stop");
        std::thread::yield_now();
    }
}

/// Whether every thread of a process is stopped.
fn is_stopped(pid: u32) -> bool {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task"));
    threads.is_ok_and(|mut threads| {
        threads.all(|thread| {
            let stat =
                thread.and_then(|thread| std::fs::read_to_string(thread.path().join("stat")));
            stat.is_ok_and(|stat| stat.contains(") T "))
        })
    })
}

pub fn is_alive(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

/// How many sockets a process has open.
pub fn sockets_of(pid: u32) -> usize {
    let Ok(files) = std::fs::read_dir(format!("/proc/{pid}/fd")) else {
        return 0;
    };
    let sockets = files.flatten().filter(|file| {
        std::fs::read_link(file.path())
            .is_ok_and(|target| target.to_string_lossy().starts_with("socket:"))
    });
    sockets.count()
}

pub fn children_of(pid: u32) -> Vec<u32> {
    let mut children = Vec::new();
    let Ok(tasks) = std::fs::read_dir(format!("/proc/{pid}/task")) else {
        return children;
    };
    for task in tasks.flatten() {
        let list = std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
        children.extend(
            list.split_whitespace()
                .filter_map(|pid| pid.parse::<u32>().ok()),
        );
    }
    children
}

/// Reads a pipe to its end, in the background.
fn collect(mut pipe: impl Read + Send + 'static) -> Arc<Mutex<String>> {
    let text = Arc::new(Mutex::new(String::new()));
    let collected = Arc::clone(&text);
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = pipe.read(&mut buffer) {
            let chunk = String::from_utf8_lossy(&buffer[..count]).into_owned();
            collected.lock().unwrap().push_str(&chunk);
        }
    });
    text
}

/// Requests without a pause from several clients, until told to stop; counts how they ended.
pub struct Load {
    stop: Arc<AtomicBool>,
    good: Arc<AtomicUsize>,
    clients: Vec<actix_web::rt::task::JoinHandle<LoadResult>>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LoadResult {
    pub good: usize,
    pub failures: Vec<String>,
}

impl Load {
    /// `clients` at once, each with connections of its own.
    pub fn start(url: &str, clients: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let good = Arc::new(AtomicUsize::new(0));
        let clients = (0..clients).map(|_| {
            let client = one_client(url.to_owned(), Arc::clone(&stop), Arc::clone(&good));
            actix_web::rt::spawn(client)
        });
        Self {
            clients: clients.collect(),
            stop,
            good,
        }
    }

    /// Waits for this many more successful responses.
    pub async fn go_on_for(&self, requests: usize) {
        let goal = self.good.load(Ordering::SeqCst) + requests;
        eventually("the load goes on", || async {
            self.good.load(Ordering::SeqCst) >= goal
        })
        .await;
    }

    pub async fn stop(self) -> LoadResult {
        self.stop.store(true, Ordering::SeqCst);
        let mut total = LoadResult::default();
        for client in self.clients {
            let result = client.await.unwrap();
            total.good += result.good;
            total.failures.extend(result.failures);
        }
        total
    }
}

async fn one_client(url: String, stop: Arc<AtomicBool>, good: Arc<AtomicUsize>) -> LoadResult {
    let client = client();
    let mut result = LoadResult::default();
    while !stop.load(Ordering::SeqCst) {
        match client.get(&url).send().await {
            Ok(mut response) => {
                let status = response.status();
                let body = response.body().await;
                match body {
                    Ok(_) if status == StatusCode::OK => {
                        result.good += 1;
                        good.fetch_add(1, Ordering::SeqCst);
                    }
                    Ok(body) => result.failures.push(format!("{status} {body:?}")),
                    Err(error) => result.failures.push(format!("{status}, then {error}")),
                }
            }
            Err(error) => result.failures.push(error.to_string()),
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    result
}

/// How much memory a process has in use.
pub fn resident_kib(pid: u32) -> u64 {
    memory_kib(pid, "VmRSS:")
}

/// The most that it had in use since the last call of [`forget_peak`].
pub fn peak_kib(pid: u32) -> u64 {
    memory_kib(pid, "VmHWM:")
}

/// Lets a process's peak begin again at what it has in use now, which is returned. (The
/// peak of its start may be far above, and would hide what is measured.)
pub fn forget_peak(pid: u32) -> u64 {
    std::fs::write(format!("/proc/{pid}/clear_refs"), "5").unwrap();
    resident_kib(pid)
}

fn memory_kib(pid: u32, name: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let kib = line.unwrap().trim().strip_suffix(" kB").unwrap();
    kib.parse().unwrap()
}
