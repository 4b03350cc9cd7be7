//! The dashboard in a real Chromium: what is seen, and what its buttons do.
//!
//! RINGMASTER names the program; without Chromium and chromedriver the tests are skipped, but not
//! where `CI=true`.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use fantoccini::wd::Capabilities;
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};

/// Ends with the test.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// A balancer with three replicas, and the address of its dashboard.
fn balancer(more: &[&str]) -> (Program, String) {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let built = here.join("../../target/debug/ringmaster");
    let program = std::env::var_os("RINGMASTER").map_or(built, PathBuf::from);
    let admin = format!("127.0.0.1:{}", free_port());
    let mut child = Command::new(program)
        .args(["--listen", "127.0.0.1:0", "--admin", &admin])
        .args(more)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("RINGMASTER names the program");
    let mut first = String::new();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    stdout.read_line(&mut first).unwrap();
    // It keeps being read, or the balancer would find a broken pipe.
    std::thread::spawn(move || std::io::copy(&mut stdout, &mut std::io::sink()));
    (Program(child), format!("http://{admin}/"))
}

struct Browser {
    client: Client,
    _driver: Program,
}

/// A browser, or none where that is allowed.
async fn browser() -> Option<Browser> {
    let port = free_port();
    let driver = Command::new("chromedriver")
        .arg(format!("--port={port}"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let Ok(driver) = driver else {
        assert!(std::env::var_os("CI").is_none(), "CI has no chromedriver");
        eprintln!("SKIPPED: there is no chromedriver");
        return None;
    };
    let driver = Program(driver);
    let arguments = [
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--window-size=1440,1100",
    ];
    let mut wanted = Capabilities::new();
    wanted.insert("goog:chromeOptions".into(), json!({ "args": arguments }));
    let mut last_error = None;
    for _ in 0..100 {
        let mut builder = ClientBuilder::new(HttpConnector::new());
        builder.capabilities(wanted.clone());
        match builder.connect(&format!("http://127.0.0.1:{port}")).await {
            Ok(client) => {
                return Some(Browser {
                    client,
                    _driver: driver,
                });
            }
            Err(error) => last_error = Some(error),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("chromedriver does not answer: {last_error:?}");
}

impl Browser {
    async fn text(&self, css: &str) -> String {
        match self.client.find(Locator::Css(css)).await {
            Ok(element) => element.text().await.unwrap_or_default(),
            Err(_) => String::new(),
        }
    }

    async fn click(&self, css: &str) {
        let element = self.client.find(Locator::Css(css)).await;
        let element = element.unwrap_or_else(|error| panic!("no {css}: {error}"));
        element.click().await.unwrap();
    }

    async fn fill(&self, css: &str, text: &str) {
        let element = self.client.find(Locator::Css(css)).await.unwrap();
        element.clear().await.unwrap();
        element.send_keys(text).await.unwrap();
    }

    /// Waits until an element's text passes.
    async fn until(&self, css: &str, passes: impl Fn(&str) -> bool) -> String {
        let mut text = String::new();
        for _ in 0..600 {
            text = self.text(css).await;
            if passes(&text) {
                return text;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let body = self.text("body").await;
        panic!("{css} says {text:?}; the page:\n{body}");
    }

    /// What a script returns.
    async fn script(&self, script: &str) -> Value {
        self.client.execute(script, Vec::new()).await.unwrap()
    }

    /// Opens the dashboard, and notes from its first line on what goes wrong.
    async fn open(&self, url: &str) {
        self.client.goto(url).await.unwrap();
        self.until("#verdict", |text| text.starts_with("All is well")).await;
    }

    async fn screenshot(&self, name: &str) {
        let to = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../target/browser");
        std::fs::create_dir_all(&to).unwrap();
        let picture = self.client.screenshot().await.unwrap();
        std::fs::write(to.join(name), picture).unwrap();
    }
}

fn row(name: &str) -> String {
    format!("#replica-rows tr[data-key='{name}']")
}

#[tokio::test]
async fn dashboard_of_a_healthy_fleet_shows_ring_replicas_and_events() {
    let (_balancer, url) = balancer(&["--replicas", "3"]);
    let Some(browser) = browser().await else {
        return;
    };
    browser.open(&url).await;
    browser.until("#freshness", |text| text == "live").await;
    browser.until("#ring-legend", |text| text.contains("Server3")).await;
    let paths = browser.script("return document.querySelectorAll('#ring-arcs path').length").await;
    assert_eq!(paths, 3);
    browser.until("#event-list", |text| text.contains("ready")).await;
    // Nothing is fetched from elsewhere, and all of it is there.
    let fetched = browser
        .script(
            "return performance.getEntriesByType('resource')
               .filter((one) => one.responseStatus >= 400 || !one.name.startsWith(location.origin))
               .map((one) => `${one.name} ${one.responseStatus}`)",
        )
        .await;
    let fetched: Vec<String> = serde_json::from_value(fetched).unwrap();
    let unexpected = fetched.iter().filter(|one| !one.contains("/metrics"));
    assert_eq!(unexpected.count(), 0, "{fetched:?}");
    browser.screenshot("dashboard.png").await;
    browser.client.close().await.unwrap();
}

#[tokio::test]
async fn replica_that_is_killed_is_shown_evicted_and_healed() {
    let (_balancer, url) = balancer(&["--replicas", "3"]);
    let Some(browser) = browser().await else {
        return;
    };
    browser.open(&url).await;
    let pid = browser
        .script(
            "const request = new XMLHttpRequest();
             request.open('GET', '/api/v1/status', false);
             request.send();
             const replicas = JSON.parse(request.responseText).fleets[0].replicas;
             return replicas.find((replica) => replica.name === 'Server2').pid",
        )
        .await;
    let killed = Command::new("kill").args(["-9", &pid.to_string()]).status();
    assert!(killed.unwrap().success());
    browser.until("#event-list", |text| text.contains("Server2 evicted")).await;
    let generation = format!("{} .generation", row("Server2"));
    browser.until(&generation, |text| text == "2").await;
    browser.until("#verdict", |text| text.starts_with("All is well")).await;
    browser.until("#death-list", |text| text.contains("Server2 generation 1")).await;
    browser.client.close().await.unwrap();
}

#[tokio::test]
async fn buttons_add_weigh_and_remove_replicas() {
    let (_balancer, url) = balancer(&["--replicas", "2"]);
    let Some(browser) = browser().await else {
        return;
    };
    browser.open(&url).await;

    browser.click("#add").await;
    browser.until(".effect", |text| text.contains("33.3 %")).await;
    browser.fill("#names", "Extra").await;
    browser.click("#confirm").await;
    browser.until(&format!("{} .chip", row("Extra")), |text| text == "ready").await;

    browser.click("[aria-label='Weight Extra']").await;
    browser.fill("#weight", "2").await;
    browser.until(".effect", |text| text.contains("Extra goes from 33")).await;
    browser.click("#confirm").await;
    browser.until(&format!("{} .weight", row("Extra")), |text| text == "2").await;
    browser.until(&format!("{} .share", row("Extra")), |text| text.starts_with("50")).await;

    browser.click("[aria-label='Remove Extra']").await;
    browser.until(".effect", |text| text.contains("move to the others")).await;
    browser.click("#confirm").await;
    browser.until("#replica-rows", |text| !text.contains("Extra")).await;
    browser.client.close().await.unwrap();
}

#[tokio::test]
async fn call_that_is_refused_is_told_in_the_dialog() {
    let (_balancer, url) = balancer(&["--replicas", "1"]);
    let Some(browser) = browser().await else {
        return;
    };
    browser.open(&url).await;
    browser.click("#add").await;
    browser.fill("#names", "Server1").await;
    browser.click("#confirm").await;
    browser.until("dialog [role='alert']", |text| text.contains("Server1")).await;
    browser.client.close().await.unwrap();
}

#[tokio::test]
async fn key_that_is_typed_shows_its_slot_and_its_order() {
    let (_balancer, url) = balancer(&["--replicas", "3"]);
    let Some(browser) = browser().await else {
        return;
    };
    browser.open(&url).await;
    browser.fill("#key", "cart-9").await;
    browser.click("#explain button").await;
    let text = browser.until("#explanation", |text| text.contains("serves it now")).await;
    assert_eq!(text.matches("Server").count(), 4, "{text}");
    let pointers = browser.script("return document.querySelectorAll('#ring-key .pointer').length").await;
    assert_eq!(pointers, 1);
    browser.client.close().await.unwrap();
}
