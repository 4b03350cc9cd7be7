//! What clients see while compose recreates the containers of a service by itself: `up` with a changed
//! file, without a rollout.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use actix_web::rt::time::{interval, sleep};
use awc::http::Method;
use serde_json::json;

use crate::compose_project::{Project, all_are_ready, id, successor};
use crate::docker::inspect;
use crate::support::client;

/// Requests of one method, at a fixed rate.
#[derive(Default)]
struct Tally {
    sent: Cell<usize>,
    ended: Cell<usize>,
    failures: RefCell<Vec<String>>,
    slowest: Cell<Duration>,
}

/// Sends requests every `pause` until told to stop, however long the answers take.
fn send(url: String, method: Method, pause: Duration, stop: &Rc<Cell<bool>>) -> Rc<Tally> {
    let tally = Rc::new(Tally::default());
    let (counted, stop) = (Rc::clone(&tally), Rc::clone(stop));
    actix_web::rt::spawn(async move {
        let client = client();
        let mut ticks = interval(pause);
        while !stop.get() {
            ticks.tick().await;
            counted.sent.set(counted.sent.get() + 1);
            let (begun, counted) = (Instant::now(), Rc::clone(&counted));
            let sent = client.request(method.clone(), &url).send();
            actix_web::rt::spawn(async move {
                let failure = match sent.await {
                    Ok(response) if !response.status().is_server_error() => None,
                    Ok(response) => Some(response.status().to_string()),
                    Err(error) => Some(error.to_string()),
                };
                counted.failures.borrow_mut().extend(failure);
                counted.ended.set(counted.ended.get() + 1);
                counted
                    .slowest
                    .set(counted.slowest.get().max(begun.elapsed()));
            });
        }
    });
    tally
}

impl Tally {
    async fn over(&self) {
        while self.ended.get() < self.sent.get() {
            sleep(Duration::from_millis(20)).await;
        }
    }
}

#[actix_web::test]
#[ignore = "needs docker compose: make test-full"]
async fn requests_outlast_a_recreation_by_compose() {
    let Some(project) = Project::new("gap") else {
        return;
    };
    // Its grace is used to the end: the signal ends nothing.
    let write = |colour: &str| {
        project.write(2, colour);
        let text = std::fs::read_to_string(project.file()).unwrap();
        let text = text.replace("    restart:", "    stop_signal: SIGCONT\n    restart:");
        std::fs::write(project.file(), text).unwrap();
    };
    write("a");
    project.compose(&["up", "--detach"]);
    let balancer = project.balancer();
    all_are_ready(&balancer, &["web-1", "web-2"]).await;
    balancer.has_logged("--wait-timeout is 7 s", 1).await;
    let stop = Rc::new(Cell::new(false));
    let home = balancer.url("/home");
    let gets = send(home.clone(), Method::GET, Duration::from_millis(10), &stop);
    let posts = send(home, Method::POST, Duration::from_millis(50), &stop);
    sleep(Duration::from_millis(500)).await;

    let one = project.container("web-1");
    let before = id(&one);
    write("b");
    let file = project.file().display().to_string();
    let name = project.name.clone();
    let recreated = actix_web::rt::task::spawn_blocking(move || {
        let args = [
            "compose",
            "--project-name",
            &name,
            "--file",
            &file,
            "up",
            "--detach",
        ];
        crate::docker::docker(&args);
    });
    recreated.await.unwrap();
    successor(&one, &before).await;
    all_are_ready(&balancer, &["web-1", "web-2"]).await;
    sleep(Duration::from_millis(500)).await;
    stop.set(true);
    gets.over().await;
    posts.over().await;
    println!(
        "compose recreates 2 containers with a stop grace of 2 s: GET {} sent, {} failed, slowest {:.1} s; \
         POST {} sent, {} failed",
        gets.sent.get(),
        gets.failures.borrow().len(),
        gets.slowest.get().as_secs_f64(),
        posts.sent.get(),
        posts.failures.borrow().len(),
    );
    // Those that come meanwhile wait. Of those in flight when the containers were killed, a POST may have been
    // acted on, and a GET may have met dying containers three times.
    assert!(gets.failures.borrow().len() <= 2, "{:?}", gets.failures);
    for failure in gets
        .failures
        .borrow()
        .iter()
        .chain(&*posts.failures.borrow())
    {
        assert!(failure.starts_with("502"), "{failure}");
    }
    let env = inspect(&one)["Config"]["Env"].as_array().unwrap().clone();
    assert!(env.contains(&json!("COLOUR=b")), "{env:?}");
    balancer
        .has_logged("without a gap: docker compose config", 1)
        .await;
}
