//! The log's JSON.

use std::process::Command;

use serde_json::Value;

use crate::support::{Ringmaster, eventually, signal};

#[actix_web::test]
async fn json_log_is_an_object_a_line_that_names_the_replica() {
    let mut balancer = Ringmaster::ready(&["--log-format", "json"]).await;
    signal(balancer.child("Server2"), "KILL");
    eventually("the death is told", || async {
        balancer.count_in_log("post-mortem") == 1
    })
    .await;
    signal(balancer.pid(), "TERM");
    balancer.exited().await;
    let log = balancer.log();
    let lines: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|wrong| panic!("{wrong}: {line}")))
        .collect();
    for line in &lines {
        let time = line["time"].as_str().unwrap();
        assert!(humantime::parse_rfc3339(time).is_ok(), "{line}");
        for field in ["level", "target", "message"] {
            assert!(line[field].is_string(), "{line}");
        }
    }
    let evicted = lines.iter().find(|line| {
        let message = line["message"].as_str().unwrap();
        message.contains("is evicted")
    });
    let evicted = evicted.unwrap();
    assert_eq!(evicted["level"], "WARN");
    assert_eq!(evicted["generation"], 1);
    assert_eq!(evicted["replica"], "Server2");
    let printed = lines.iter().find(|line| line["target"] == "replica");
    assert!(printed.is_none_or(|line| line["replica"].is_string()));
}

#[test]
fn json_log_ends_with_the_error_that_ends_the_program() {
    let output = Command::new(env!("CARGO_BIN_EXE_ringmaster"))
        .args(["--log-format", "json", "--listen", "127.0.0.1:0"])
        .args(["--command", "no-such-program"])
        .output()
        .unwrap();
    let log = String::from_utf8(output.stderr).unwrap();
    let last: Value = serde_json::from_str(log.lines().last().unwrap()).unwrap();
    assert_eq!(last["level"], "ERROR");
    let message = last["message"].as_str().unwrap();
    assert!(message.contains("no-such-program"), "{last}");
}
