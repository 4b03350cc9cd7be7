//! Requests to a balancer from inside a node: this very program, as a child there. It goes on until its
//! input ends, and prints what came of it.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Value, json};

use crate::fixture::SwarmBalancer;
use crate::nodes::wait_until;
use crate::support::client;

/// Set in the child alone.
const MARK: &str = "RINGMASTER_TEST_LOAD_URL";

/// How many clients send requests at once.
const CLIENTS: usize = 8;

/// Between a client's requests: most of the machine is left to what is measured.
pub const PAUSE: Duration = Duration::from_millis(20);

/// A response that takes longer is told of by itself.
const SLOW: Duration = Duration::from_secs(1);

/// Requests that are being sent.
pub struct SwarmLoad {
    child: Child,
    input: Option<ChildStdin>,
    good: Arc<AtomicUsize>,
    report: Arc<std::sync::Mutex<Option<Value>>>,
    reader: Option<std::thread::JoinHandle<()>>,
}

/// What came of them.
#[derive(Debug)]
pub struct LoadReport {
    pub good: usize,
    pub failures: Vec<String>,
    pub slowest_ms: f64,
    /// Each that took longer than a second: when it was sent, and what it was.
    pub slow: Vec<(SystemTime, String)>,
}

impl SwarmLoad {
    pub fn start(balancer: &SwarmBalancer) -> Self {
        let this = std::env::current_exe().unwrap().display().to_string();
        let mark = format!("{MARK}={}", balancer.url());
        let arguments = [
            "env",
            &mark,
            &this,
            "--exact",
            "load::load_entrypoint",
            "--nocapture",
        ];
        Self::begin(balancer.swarm.begin_inside(balancer.node, &arguments))
    }

    /// Starts a child that runs [`send_requests`].
    pub fn begin(mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().unwrap());
        let good = Arc::<AtomicUsize>::default();
        let report = Arc::<std::sync::Mutex<Option<Value>>>::default();
        let (counted, reported) = (Arc::clone(&good), Arc::clone(&report));
        let reader = std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if let Some(count) = line.strip_prefix("GOOD ") {
                    counted.store(count.parse().unwrap_or_default(), Ordering::SeqCst);
                } else if let Some(json) = line.strip_prefix("LOAD ") {
                    *reported.lock().unwrap() = serde_json::from_str(json).ok();
                }
            }
        });
        let load = Self {
            child,
            input,
            good,
            report,
            reader: Some(reader),
        };
        load.go_on_for(100);
        load
    }

    /// How many good responses there were.
    pub fn good(&self) -> usize {
        self.good.load(Ordering::SeqCst)
    }

    /// Waits for this many more good responses.
    pub fn go_on_for(&self, requests: usize) {
        let goal = self.good() + requests;
        wait_until("the load goes on", || self.good() >= goal);
    }

    pub fn stop(mut self) -> LoadReport {
        drop(self.input.take());
        self.child.wait().unwrap();
        self.reader.take().unwrap().join().unwrap();
        let report = self
            .report
            .lock()
            .unwrap()
            .take()
            .expect("the load reports");
        let failures = report["failures"].as_array().unwrap().iter();
        let slow = report["slow"].as_array().unwrap().iter();
        LoadReport {
            good: report["good"].as_u64().unwrap() as usize,
            failures: failures
                .map(|text| text.as_str().unwrap().to_owned())
                .collect(),
            slowest_ms: report["slowest_ms"].as_f64().unwrap(),
            slow: slow
                .map(|slow| {
                    let at = Duration::from_millis(slow["at"].as_u64().unwrap());
                    let what = slow["what"].as_str().unwrap().to_owned();
                    (SystemTime::UNIX_EPOCH + at, what)
                })
                .collect(),
        }
    }

    /// Stops, prints what came of it, and fails if a request has.
    #[track_caller]
    pub fn stop_without_failures(self) {
        let report = self.stop();
        println!(
            "{} requests, slowest {:.0} ms",
            report.good, report.slowest_ms
        );
        assert_eq!(report.failures, [""; 0]);
    }
}

impl Drop for SwarmLoad {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.child.wait();
    }
}

/// Not a test. In the child: sends requests until its input ends. Elsewhere: nothing.
#[test]
fn load_entrypoint() {
    let Ok(url) = std::env::var(MARK) else { return };
    let stop = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&stop);
    std::thread::spawn(move || {
        await_end_of_input();
        told.store(true, Ordering::SeqCst);
    });
    let asked = Arc::clone(&stop);
    send_requests(&stop, |number, good| {
        one_client(url.clone(), number, Arc::clone(&asked), good)
    });
}

/// The parent does not want any more.
pub fn await_end_of_input() {
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
}

/// What one client has got, besides good responses.
#[derive(Default)]
pub struct ClientReport {
    failures: Vec<String>,
    slowest_ms: f64,
    slow: Vec<Value>,
}

impl ClientReport {
    pub fn fail(&mut self, failure: String) {
        self.failures.push(failure);
    }

    /// Notes how long a request has taken that was sent then.
    pub fn took(&mut self, sent: Instant, what: impl FnOnce() -> String) {
        let took = sent.elapsed();
        self.slowest_ms = self.slowest_ms.max(took.as_secs_f64() * 1e3);
        if took > SLOW {
            let at = (SystemTime::now() - took).duration_since(SystemTime::UNIX_EPOCH);
            let at = u64::try_from(at.unwrap().as_millis()).unwrap();
            let what = format!("{} took {:.2} s", what(), took.as_secs_f64());
            self.slow.push(json!({"at": at, "what": what}));
        }
    }
}

/// In the child: has clients send requests until they stop, and prints what came of it. Each counts its good responses,
/// and reports the others.
pub fn send_requests<F>(stop: &AtomicBool, client: impl Fn(usize, Arc<AtomicUsize>) -> F)
where
    F: Future<Output = ClientReport> + 'static,
{
    let report = actix::System::new().block_on(async {
        let good = Arc::<AtomicUsize>::default();
        let clients = (0..CLIENTS).map(|number| actix::spawn(client(number, Arc::clone(&good))));
        let clients: Vec<_> = clients.collect();
        while !stop.load(Ordering::SeqCst) {
            println!("GOOD {}", good.load(Ordering::SeqCst));
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let mut all = ClientReport::default();
        for client in clients {
            let report = client.await.unwrap();
            all.failures.extend(report.failures);
            all.slow.extend(report.slow);
            all.slowest_ms = all.slowest_ms.max(report.slowest_ms);
        }
        json!({
            "good": good.load(Ordering::SeqCst), "failures": all.failures, "slowest_ms": all.slowest_ms,
            "slow": all.slow,
        })
    });
    println!("LOAD {report}");
}

/// GETs and PUTs with ever other keys, one after the other.
async fn one_client(
    url: String,
    number: usize,
    stop: Arc<AtomicBool>,
    good: Arc<AtomicUsize>,
) -> ClientReport {
    let client = client();
    let mut report = ClientReport::default();
    let begun = Instant::now();
    for count in 0_u64.. {
        if stop.load(Ordering::SeqCst) {
            break;
        }
        let sent = Instant::now();
        let key = ("X-Key", format!("{number}-{count}"));
        let (asked, what) = match count % 4 {
            0 => {
                let put = client.put(format!("{url}/echo")).insert_header(key);
                (put.send_body("hello").await, "PUT")
            }
            _ => {
                let get = client.get(format!("{url}/home")).insert_header(key);
                (get.send().await, "GET")
            }
        };
        let at = begun.elapsed().as_secs_f64();
        let mut answer = String::new();
        match asked {
            Ok(mut response) => {
                let status = response.status();
                match response.body().await {
                    Ok(body) if status.is_success() => {
                        good.fetch_add(1, Ordering::SeqCst);
                        answer = String::from_utf8_lossy(&body).into_owned();
                    }
                    Ok(body) => report.fail(format!("at {at:.1} s: {status} {body:?}")),
                    Err(error) => report.fail(format!("at {at:.1} s: {status}, then {error}")),
                }
            }
            Err(error) => report.fail(format!("at {at:.1} s: {error}")),
        }
        report.took(sent, || format!("{what} {number}-{count} {answer}"));
        tokio::time::sleep(PAUSE).await;
    }
    report
}
