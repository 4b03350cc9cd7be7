//! Who may use the admin API: tokens, and addresses beyond loopback.

use std::io::Write;

use awc::http::{Method, StatusCode};
use serde_json::json;

use crate::support::{Ringmaster, client, eventually};

/// Status, challenge and body of a call with a token.
async fn call(method: Method, url: &str, token: Option<&str>) -> (StatusCode, String, String) {
    let mut request = client().request(method, url);
    if let Some(token) = token {
        request = request.insert_header(("Authorization", format!("Bearer {token}")));
    }
    let mut response = request.send_json(&json!({})).await.unwrap();
    let challenge = response.headers().get("www-authenticate");
    let challenge = challenge.map(|value| value.to_str().unwrap().to_owned());
    let body = response.body().await.unwrap();
    (
        response.status(),
        challenge.unwrap_or_default(),
        String::from_utf8_lossy(&body).into_owned(),
    )
}

#[actix_web::test]
async fn tokens_give_the_right_to_read_or_to_change() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    write!(file, "# two\nread looker\nadmin changer\n").unwrap();
    let path = file.path().to_str().unwrap();
    let args = ["--replicas", "1", "--admin", "127.0.0.1:0"];
    let args = [&args[..], &["--admin-token-file", path]].concat();
    let balancer = Ringmaster::start_with(&args, &[("RINGMASTER_ADMIN_TOKEN", "fromenv")]);
    let admin = balancer.admin_url().await;
    let status = format!("{admin}/api/v1/status");
    let ring = format!("{admin}/api/v1/fleets/default/ring");
    for (method, url, token, expected) in [
        (Method::GET, &status, None, 401),
        (Method::GET, &status, Some("other"), 401),
        (Method::GET, &status, Some("looke"), 401),
        (Method::GET, &status, Some("looker"), 200),
        (Method::GET, &status, Some("changer"), 200),
        (Method::GET, &status, Some("fromenv"), 200),
        (Method::PATCH, &ring, None, 401),
        (Method::PATCH, &ring, Some("looker"), 403),
        (Method::PATCH, &ring, Some("changer"), 200),
        (Method::GET, &format!("{admin}/rep"), None, 401),
        (Method::GET, &format!("{admin}/nothing"), None, 401),
        (Method::GET, &format!("{admin}/healthz"), None, 200),
    ] {
        let (status, challenge, body) = call(method.clone(), url, token).await;
        assert_eq!(
            status.as_u16(),
            expected,
            "{method} {url} {token:?}: {body}"
        );
        assert_eq!(challenge.starts_with("Bearer realm="), expected == 401);
        let is_wrong = token.is_some() && expected == 401;
        assert_eq!(challenge.contains("invalid_token"), is_wrong);
    }
    eventually("the replica runs", || async {
        !balancer.children().is_empty()
    })
    .await;
    let pid = balancer.children()[0].1;
    let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap();
    assert!(!String::from_utf8_lossy(&environment).contains("fromenv"));
    for token in ["looker", "changer", "fromenv"] {
        assert_eq!(balancer.count_in_log(token), 0);
    }
}

#[actix_web::test]
async fn token_file_that_is_wrong_ends_the_start() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(file, "admin").unwrap();
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_ringmaster"))
        .args(["--listen", "127.0.0.1:0", "--admin-token-file"])
        .arg(file.path())
        .output()
        .unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains("line 1: must be read TOKEN or admin TOKEN"),
        "{said}"
    );
}
