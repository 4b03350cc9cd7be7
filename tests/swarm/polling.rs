//! Simulates a proxy that learns of tasks by asking a manager for them now and then, as Traefik does
//! (`refreshSeconds`, 15 s by default): those whose state is running get requests in turn, and no request is
//! sent again. It is this very program in a container of its own, in the network of the tasks; its clients
//! are in it, so that no other hop is measured.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::load::{ClientReport, PAUSE, SwarmLoad, await_end_of_input, send_requests};
use crate::nodes::Swarm;
use crate::support::client;

/// Set in the container alone: the service whose tasks are asked for.
const MARK: &str = "RINGMASTER_TEST_POLLED_SERVICE";

/// Traefik's default.
const REFRESH: Duration = Duration::from_secs(15);

/// How long a response may take. (A connection may take five seconds, where Traefik gives it thirty.)
const TIMEOUT: Duration = Duration::from_secs(30);

/// The name of the container.
const CONTAINER: &str = "polling-proxy";

/// Starts one on a node, in the network of a service. When it is stopped it asks for the tasks twice more: by then
/// it knows of all that has happened.
pub fn start(swarm: &Swarm, node: u32, service: &str, network: &str) -> SwarmLoad {
    let this = std::env::current_exe().unwrap().display().to_string();
    let (program, socket) = (format!("{this}:/polling:ro"), swarm.socket(node));
    let (socket, mark) = (
        format!("{socket}:/var/run/docker.sock"),
        format!("{MARK}={service}"),
    );
    let number = node.to_string();
    let run = [
        "docker",
        &number,
        "run",
        "-i",
        "--rm",
        "--label",
        "rmtest",
        "--name",
        CONTAINER,
        "--network",
        network,
        "-v",
        &program,
        "-v",
        &socket,
        "-e",
        &mark,
        &swarm.image,
    ];
    let entrypoint = [
        "/polling",
        "--exact",
        "polling::polling_entrypoint",
        "--nocapture",
    ];
    SwarmLoad::begin(swarm.command(&[&run[..], &entrypoint].concat()))
}

/// The addresses of the service's tasks that run, as a manager has them.
fn running_tasks(service: &str) -> std::io::Result<Vec<String>> {
    let mut socket = UnixStream::connect("/var/run/docker.sock")?;
    let filters = format!("%7B%22service%22%3A%5B%22{service}%22%5D%7D");
    let head = format!("GET /tasks?filters={filters} HTTP/1.0\r\nHost: engine\r\n\r\n");
    socket.write_all(head.as_bytes())?;
    let mut response = String::new();
    socket.read_to_string(&mut response)?;
    let body = response.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    let tasks: Vec<Value> = serde_json::from_str(body)?;
    let running = tasks
        .iter()
        .filter(|task| task["Status"]["State"] == "running");
    let address = |task: &Value| {
        let attached = &task["NetworksAttachments"][0]["Addresses"][0];
        let (address, _) = attached.as_str()?.split_once('/')?;
        Some(format!("http://{address}:7070"))
    };
    Ok(running.filter_map(address).collect())
}

/// Not a test. In the container: polls and sends requests until two polls after its input has ended.
/// Elsewhere: nothing.
#[test]
fn polling_entrypoint() {
    let Ok(service) = std::env::var(MARK) else {
        return;
    };
    let ending = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&ending);
    std::thread::spawn(move || {
        await_end_of_input();
        told.store(true, Ordering::SeqCst);
    });
    let tasks = Arc::new(Mutex::new(running_tasks(&service).unwrap()));
    let (stop, polled) = (Arc::new(AtomicBool::new(false)), Arc::clone(&tasks));
    let over = Arc::clone(&stop);
    std::thread::spawn(move || {
        let mut left = 2;
        while left > 0 {
            std::thread::sleep(REFRESH);
            if let Ok(running) = running_tasks(&service) {
                *polled.lock().unwrap() = running;
            }
            if ending.load(Ordering::SeqCst) {
                left -= 1;
            }
        }
        over.store(true, Ordering::SeqCst);
    });
    let turn = Arc::<AtomicUsize>::default();
    let asked = Arc::clone(&stop);
    send_requests(&stop, |_, good| {
        one_client(
            Arc::clone(&tasks),
            Arc::clone(&turn),
            Arc::clone(&asked),
            good,
        )
    });
}

async fn one_client(
    tasks: Arc<Mutex<Vec<String>>>,
    turn: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    good: Arc<AtomicUsize>,
) -> ClientReport {
    let client = client();
    let mut report = ClientReport::default();
    while !stop.load(Ordering::SeqCst) {
        let number = turn.fetch_add(1, Ordering::SeqCst);
        let url = {
            let tasks = tasks.lock().unwrap();
            tasks.get(number % tasks.len().max(1)).cloned()
        };
        let sent = Instant::now();
        let asked = match url {
            Some(url) => {
                let request = client.get(format!("{url}/home")).timeout(TIMEOUT);
                request.send().await.map_err(|error| error.to_string())
            }
            None => Err("no task runs".to_owned()),
        };
        match asked {
            Ok(mut response) => {
                let status = response.status();
                match response.body().await {
                    Ok(_) if status.is_success() => drop(good.fetch_add(1, Ordering::SeqCst)),
                    other => report.fail(format!("{status} {other:?}")),
                }
            }
            Err(error) => report.fail(error),
        }
        report.took(sent, || format!("request {number}"));
        tokio::time::sleep(PAUSE).await;
    }
    report
}
