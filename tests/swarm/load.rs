//! Requests to a balancer from inside a node: this very program, as a child there. It goes on until its
//! input ends, and prints what came of it.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::fixture::SwarmBalancer;
use crate::nodes::wait_until;
use crate::support::client;

/// Set in the child alone.
const MARK: &str = "RINGMASTER_TEST_LOAD_URL";

/// How many clients send requests at once.
const CLIENTS: usize = 8;

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
        let mut command = balancer.swarm.begin_inside(balancer.node, &arguments);
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

    /// Waits for this many more good responses.
    pub fn go_on_for(&self, requests: usize) {
        let goal = self.good.load(Ordering::SeqCst) + requests;
        wait_until("the load goes on", || {
            self.good.load(Ordering::SeqCst) >= goal
        });
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
        LoadReport {
            good: report["good"].as_u64().unwrap() as usize,
            failures: failures
                .map(|text| text.as_str().unwrap().to_owned())
                .collect(),
            slowest_ms: report["slowest_ms"].as_f64().unwrap(),
        }
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
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        told.store(true, Ordering::SeqCst);
    });
    let report = actix::System::new().block_on(async {
        let good = Arc::<AtomicUsize>::default();
        let clients = (0..CLIENTS).map(|number| {
            actix::spawn(one_client(
                url.clone(),
                number,
                Arc::clone(&stop),
                Arc::clone(&good),
            ))
        });
        let clients: Vec<_> = clients.collect();
        while !stop.load(Ordering::SeqCst) {
            println!("GOOD {}", good.load(Ordering::SeqCst));
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let (mut failures, mut slowest) = (Vec::new(), 0.0_f64);
        for client in clients {
            let (failed, slow) = client.await.unwrap();
            failures.extend(failed);
            slowest = slowest.max(slow);
        }
        json!({"good": good.load(Ordering::SeqCst), "failures": failures, "slowest_ms": slowest})
    });
    println!("LOAD {report}");
}

/// GETs and PUTs with ever other keys, one after the other.
async fn one_client(
    url: String,
    number: usize,
    stop: Arc<AtomicBool>,
    good: Arc<AtomicUsize>,
) -> (Vec<String>, f64) {
    let client = client();
    let (mut failures, mut slowest) = (Vec::new(), 0.0_f64);
    let begun = Instant::now();
    for count in 0_u64.. {
        if stop.load(Ordering::SeqCst) {
            break;
        }
        let sent = Instant::now();
        let key = ("X-Key", format!("{number}-{count}"));
        let asked = match count % 4 {
            0 => {
                client
                    .put(format!("{url}/echo"))
                    .insert_header(key)
                    .send_body("hello")
                    .await
            }
            _ => {
                client
                    .get(format!("{url}/home"))
                    .insert_header(key)
                    .send()
                    .await
            }
        };
        let at = begun.elapsed().as_secs_f64();
        match asked {
            Ok(mut response) => {
                let status = response.status();
                match response.body().await {
                    Ok(_) if status.is_success() => drop(good.fetch_add(1, Ordering::SeqCst)),
                    Ok(body) => failures.push(format!("at {at:.1} s: {status} {body:?}")),
                    Err(error) => failures.push(format!("at {at:.1} s: {status}, then {error}")),
                }
            }
            Err(error) => failures.push(format!("at {at:.1} s: {error}")),
        }
        slowest = slowest.max(sent.elapsed().as_secs_f64() * 1e3);
        tokio::time::sleep(Duration::from_millis(4)).await;
    }
    (failures, slowest)
}
