//! Chromium, by chromedriver.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use fantoccini::wd::Capabilities;
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};

use crate::Program;
use crate::balancer::free_port;

/// The longest that a test waits for a state.
const MAX_WAIT: Duration = Duration::from_secs(30);

/// The page that a test looks at.
pub struct Browser {
    pub client: Client,
    port: u16,
    session: String,
    _driver: Program,
}

/// A browser, or none where that is allowed.
pub async fn browser() -> Option<Browser> {
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
    let logs = json!({ "browser": "ALL", "performance": "ALL" });
    wanted.insert("goog:loggingPrefs".into(), logs);
    let mut last_error = None;
    for _ in 0..100 {
        let mut builder = ClientBuilder::new(HttpConnector::new());
        builder.capabilities(wanted.clone());
        match builder.connect(&format!("http://127.0.0.1:{port}")).await {
            Ok(client) => {
                let session = client.session_id().await.unwrap().unwrap();
                return Some(Browser {
                    client,
                    port,
                    session,
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
    pub async fn text(&self, css: &str) -> String {
        match self.client.find(Locator::Css(css)).await {
            Ok(element) => element.text().await.unwrap_or_default(),
            Err(_) => String::new(),
        }
    }

    /// Clicks on an element once it is there and nothing covers it: a dialog that has done its work is closed
    /// by the answer to its call, which may come after the effect is shown.
    pub async fn click(&self, css: &str) {
        let begun = Instant::now();
        loop {
            let found = self.client.wait().at_most(MAX_WAIT);
            let element = found.for_element(Locator::Css(css)).await;
            let element = element.unwrap_or_else(|error| panic!("no {css}: {error}"));
            let Err(error) = element.click().await else {
                return;
            };
            assert!(begun.elapsed() < MAX_WAIT, "{css}: {error}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub async fn fill(&self, css: &str, text: &str) {
        let element = self.client.find(Locator::Css(css)).await.unwrap();
        element.clear().await.unwrap();
        element.send_keys(text).await.unwrap();
    }

    /// Chooses an option by the beginning of its text.
    pub async fn choose(&self, css: &str, text: &str) {
        let element = self.client.find(Locator::Css(css)).await.unwrap();
        element.send_keys(text).await.unwrap();
    }

    /// Types on the keyboard, whatever has the focus.
    pub async fn type_keys(&self, keys: &str) {
        let focused = self.client.active_element().await.unwrap();
        focused.send_keys(keys).await.unwrap();
    }

    /// Waits until an element's text passes.
    pub async fn until(&self, css: &str, passes: impl Fn(&str) -> bool) -> String {
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

    /// Waits until a script returns true.
    pub async fn until_true(&self, script: &str) {
        for _ in 0..600 {
            if self.script(script).await == true {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("never true: {script}");
    }

    /// What a script returns.
    pub async fn script(&self, script: &str) -> Value {
        self.client.execute(script, Vec::new()).await.unwrap()
    }

    /// Opens the dashboard of a fleet that gets well, and waits until it shows the replicas: before that its
    /// buttons know of no fleet.
    pub async fn open(&self, url: &str) {
        self.client.goto(url).await.unwrap();
        self.until("#verdict", |text| text.starts_with("All is well"))
            .await;
        self.until("#replica-rows", |text| !text.is_empty()).await;
    }

    /// A screenshot below target/browser, for people to look at.
    pub async fn screenshot(&self, name: &str) {
        let to = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../target/browser");
        std::fs::create_dir_all(&to).unwrap();
        let picture = self.client.screenshot().await.unwrap();
        std::fs::write(to.join(name), picture).unwrap();
    }

    /// Ends the session. The console must have no error but those that contain one of `expected`, and
    /// nothing may have been asked for elsewhere.
    pub async fn close(self, expected: &[&str]) {
        let entries = self.log("browser");
        let is_expected = |message: &str| expected.iter().any(|part| message.contains(part));
        let errors = entries.iter().filter(|entry| entry["level"] == "SEVERE");
        let errors: Vec<&str> = errors
            .filter_map(|entry| entry["message"].as_str())
            .collect();
        let wrong: Vec<&&str> = errors.iter().filter(|one| !is_expected(one)).collect();
        assert!(wrong.is_empty(), "the console has {wrong:?}");

        let own = self.script("return location.origin").await;
        let own = own.as_str().unwrap();
        let messages = self.log("performance");
        let messages = messages
            .iter()
            .filter_map(|entry| entry["message"].as_str());
        let messages = messages.map(|text| serde_json::from_str::<Value>(text).unwrap());
        let asked = messages.filter(|one| one["message"]["method"] == "Network.requestWillBeSent");
        let urls: Vec<String> = asked
            .map(|one| {
                one["message"]["params"]["request"]["url"]
                    .as_str()
                    .unwrap()
                    .to_owned()
            })
            .collect();
        assert!(!urls.is_empty());
        let is_elsewhere = |url: &&String| !url.starts_with(own) && !url.starts_with("data:");
        let elsewhere: Vec<&String> = urls.iter().filter(is_elsewhere).collect();
        assert!(elsewhere.is_empty(), "asked elsewhere: {elsewhere:?}");
        self.client.close().await.unwrap();
    }

    fn log(&self, kind: &str) -> Vec<Value> {
        let log = self.driver_call("se/log", &json!({ "type": kind }));
        log.as_array().unwrap().clone()
    }

    /// A command of Chromium's own protocol.
    pub fn chromium(&self, command: &str, params: &Value) {
        self.driver_call(
            "goog/cdp/execute",
            &json!({ "cmd": command, "params": params }),
        );
    }

    /// A call of chromedriver's that WebDriver does not know.
    fn driver_call(&self, path: &str, body: &Value) -> Value {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        let body = body.to_string();
        write!(
            stream,
            "POST /session/{}/{path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.session,
            body.len()
        )
        .unwrap();
        // It keeps the connection open, whatever it is asked.
        let (mut head, mut body) = (String::new(), Vec::new());
        let mut stream = BufReader::new(stream);
        while !head.ends_with("\r\n\r\n") {
            assert_ne!(stream.read_line(&mut head).unwrap(), 0, "{head}");
        }
        let length = head.to_ascii_lowercase();
        let length = length
            .lines()
            .find_map(|line| line.strip_prefix("content-length:"));
        let length = length.unwrap().trim().parse().unwrap();
        stream.take(length).read_to_end(&mut body).unwrap();
        let body = String::from_utf8(body).unwrap();
        assert!(head.starts_with("HTTP/1.1 200"), "{path}: {body}");
        let mut body: Value = serde_json::from_str(&body).unwrap();
        body["value"].take()
    }
}

/// The row of a replica.
pub fn row(name: &str) -> String {
    format!("#replica-rows tr[data-key='{name}']")
}
