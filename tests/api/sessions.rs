//! The dashboard's login: sessions that stand in a cookie, and the link that begins one.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};

use awc::http::{Method, StatusCode};
use futures::StreamExt;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use serde_json::{Value, json};

use crate::support::{MAX_WAIT, Ringmaster, client, eventually};

/// A balancer with a token of each right.
struct Locked {
    balancer: Ringmaster,
    admin: String,
    _tokens: tempfile::NamedTempFile,
}

/// What a call is answered with.
struct Answer {
    status: StatusCode,
    set_cookie: String,
    body: Value,
}

impl Answer {
    /// What a browser sends back of the cookie that this sets.
    fn cookie(&self) -> &str {
        self.set_cookie.split(';').next().unwrap()
    }
}

impl Locked {
    async fn start() -> Self {
        let mut tokens = tempfile::NamedTempFile::new().unwrap();
        writeln!(tokens, "read looker\nadmin changer").unwrap();
        let path = tokens.path().to_str().unwrap();
        let args = ["--replicas", "1", "--admin", "127.0.0.1:0"];
        let balancer = Ringmaster::start(&[&args[..], &["--admin-token-file", path]].concat());
        Self {
            admin: balancer.admin_url().await,
            balancer,
            _tokens: tokens,
        }
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Value,
    ) -> Answer {
        let mut request = client().request(method, format!("{}{path}", self.admin));
        for (name, value) in headers {
            request = request.insert_header((*name, *value));
        }
        let mut response = request.send_json(&body).await.unwrap();
        let set_cookie = response.headers().get("set-cookie");
        let set_cookie = set_cookie.map(|value| value.to_str().unwrap().to_owned());
        let bytes = response.body().await.unwrap();
        Answer {
            status: response.status(),
            set_cookie: set_cookie.unwrap_or_default(),
            body: serde_json::from_slice(&bytes).unwrap_or_default(),
        }
    }

    async fn log_in(&self, token: &str) -> Answer {
        self.call(Method::POST, SESSION, &[], json!({ "token": token }))
            .await
    }

    async fn with(&self, method: Method, path: &str, cookie: &str) -> Answer {
        self.call(method, path, &[("cookie", cookie)], json!({}))
            .await
    }
}

const SESSION: &str = "/api/v1/session";
const STATUS: &str = "/api/v1/status";
const RING: &str = "/api/v1/fleets/default/ring";

#[actix_web::test]
async fn login_by_token_gives_a_session_with_its_right_until_logout() {
    let locked = Locked::start().await;
    let port = locked.admin.rsplit(':').next().unwrap();
    for (token, right, change) in [("looker", "read", 403), ("changer", "admin", 200)] {
        let login = locked.log_in(token).await;
        assert_eq!(login.status, StatusCode::OK);
        let caller = json!({ "right": right, "admitted_by": "session" });
        assert_eq!(login.body, caller);
        let (cookie, attributes) = login.set_cookie.split_once("; ").unwrap();
        assert_eq!(
            attributes,
            "Path=/; HttpOnly; SameSite=Strict; Max-Age=43200"
        );
        let (name, id) = cookie.split_once('=').unwrap();
        assert_eq!(name, format!("ringmaster_session_{port}"));
        assert_eq!(id.len(), 43);

        // Beside the application's own, as browsers send it.
        let cookie = format!("a=b; {cookie}; c=d");
        assert_eq!(
            locked.with(Method::GET, SESSION, &cookie).await.body,
            caller
        );
        assert_eq!(locked.with(Method::GET, STATUS, &cookie).await.status, 200);
        assert_eq!(
            locked.with(Method::PATCH, RING, &cookie).await.status,
            change
        );
        let logout = locked.with(Method::DELETE, SESSION, &cookie).await;
        assert_eq!(logout.status, StatusCode::NO_CONTENT);
        assert!(logout.set_cookie.starts_with(&format!("{name}=; ")));
        assert!(logout.set_cookie.ends_with("; Max-Age=0"));
        for path in [SESSION, STATUS] {
            assert_eq!(locked.with(Method::GET, path, &cookie).await.status, 401);
        }
        assert_eq!(locked.balancer.count_in_log(id), 0);
        assert_eq!(locked.balancer.count_in_log(token), 0);
    }
}

#[actix_web::test]
async fn login_that_is_wrong_gives_no_session() {
    let locked = Locked::start().await;
    for (body, status, detail) in [
        (
            json!({ "token": "other" }),
            401,
            "the token is not accepted",
        ),
        (json!({ "code": "other" }), 401, "the link has been used"),
        (json!({}), 422, "exactly one of token and code"),
        (
            json!({ "token": "changer", "code": "x" }),
            422,
            "exactly one of token and code",
        ),
        (
            json!({ "password": "changer" }),
            400,
            "unknown field `password`",
        ),
    ] {
        let login = locked.call(Method::POST, SESSION, &[], body.clone()).await;
        assert_eq!(login.status, status, "{body}");
        assert_eq!(login.set_cookie, "");
        let said = login.body["detail"].as_str().unwrap();
        assert!(said.contains(detail), "{said}");
    }
    let port = locked.admin.rsplit(':').next().unwrap();
    for id in ["", "x", "changer"] {
        let cookie = format!("ringmaster_session_{port}={id}");
        assert_eq!(locked.with(Method::GET, STATUS, &cookie).await.status, 401);
    }
}

#[actix_web::test]
async fn pages_of_other_ports_neither_log_in_nor_use_a_session() {
    let locked = Locked::start().await;
    let client_port = locked.balancer.url("");
    let foreign = ("origin", client_port.as_str());
    let token = json!({ "token": "changer" });
    let login = locked.call(Method::POST, SESSION, &[foreign], token).await;
    assert_eq!(login.status, StatusCode::FORBIDDEN);
    let login = locked.log_in("changer").await;
    for (header, status) in [
        (("sec-fetch-site", "same-origin"), 200),
        (("sec-fetch-site", "none"), 200),
        (("sec-fetch-site", "same-site"), 403),
        (("sec-fetch-site", "cross-site"), 403),
        (("origin", locked.admin.as_str()), 200),
        (foreign, 403),
    ] {
        let headers = [("cookie", login.cookie()), header];
        for (method, path) in [(Method::GET, STATUS), (Method::PATCH, RING)] {
            let answer = locked.call(method, path, &headers, json!({})).await;
            assert_eq!(answer.status, status, "{header:?}");
        }
    }
}

#[actix_web::test]
async fn stream_of_events_ends_with_its_session() {
    let locked = Locked::start().await;
    let login = locked.log_in("changer").await;
    let stream = client().get(format!("{}/api/v1/events?after=0", locked.admin));
    let stream = stream.insert_header(("accept", "text/event-stream"));
    let mut stream = stream
        .insert_header(("cookie", login.cookie()))
        .send()
        .await
        .unwrap();
    assert_eq!(stream.status(), 200);
    assert!(stream.next().await.unwrap().is_ok());
    locked.with(Method::DELETE, SESSION, login.cookie()).await;
    // The next event is no longer for it.
    assert_eq!(locked.balancer.add(json!({ "n": 1 })).await.status, 200);
    let rest = async { while stream.next().await.is_some() {} };
    tokio::time::timeout(MAX_WAIT, rest).await.unwrap();
}

/// A balancer whose stdout is a terminal; it ends with the test.
struct OnTerminal(Child);

impl Drop for OnTerminal {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What the terminal shows, and the program that has it as its stdout.
fn on_terminal(args: &[&str]) -> (OnTerminal, BufReader<File>) {
    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&terminal).unwrap();
    unlockpt(&terminal).unwrap();
    let name = ptsname(&terminal, Vec::new()).unwrap();
    let mut options = OpenOptions::new();
    let stdout = options
        .read(true)
        .write(true)
        .open(name.to_str().unwrap())
        .unwrap();
    let program = Command::new(env!("CARGO_BIN_EXE_ringmaster"))
        .args([
            "--listen",
            "127.0.0.1:0",
            "--replicas",
            "1",
            "--admin",
            "127.0.0.1:0",
        ])
        .args(args)
        .env("RINGMASTER_ADMIN_TOKEN", "changer")
        .stdin(Stdio::null())
        .stdout(stdout)
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    (OnTerminal(program), BufReader::new(File::from(terminal)))
}

#[actix_web::test]
async fn link_on_a_terminal_logs_in_once() {
    let (_program, shown) = on_terminal(&[]);
    let mut lines = shown.lines().map(Result::unwrap);
    let link = lines
        .find_map(|line| Some(line.strip_prefix("login ")?.to_owned()))
        .unwrap();
    let link = link.split(' ').next().unwrap();
    let (admin, code) = link.split_once("/#login=").unwrap();
    let log_in = async || {
        let url = format!("{admin}{SESSION}");
        let login = client().post(url).send_json(&json!({ "code": code }));
        let mut response = login.await.unwrap();
        let body: Value = serde_json::from_slice(&response.body().await.unwrap()).unwrap();
        (response.status(), body)
    };
    let (status, caller) = log_in().await;
    assert_eq!(
        (status, &caller["right"]),
        (StatusCode::OK, &json!("admin"))
    );
    let (status, problem) = log_in().await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    assert_eq!(problem["type"], "/api/problems/invalid-code");
}

#[actix_web::test]
async fn link_is_printed_on_a_terminal_alone() {
    let locked = Locked::start().await;
    // The last line of what is printed; it comes apart from the others.
    eventually("the start-up text", || async {
        locked.balancer.text().contains("stop  Ctrl-C")
    })
    .await;
    let text = locked.balancer.text();
    assert!(!text.contains("login"), "{text}");
    assert_eq!(locked.balancer.count_in_log("login"), 0);
}
