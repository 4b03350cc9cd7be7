//! The admin API against its own description, `/api/openapi.json`, by schemathesis (PyPI): calls with
//! valid and invalid data, one by one and in sequences.

use std::path::Path;
use std::process::Stdio;

use tokio::process::Command;

use crate::support::Ringmaster;

/// What installs it; `.ci/run` does so, too.
const INSTALL: &str = "python3 -m venv target/schemathesis && \
                       target/schemathesis/bin/pip install schemathesis==4.32.5";

/// Runs it against a balancer that takes the token `changer`. It must find nothing.
async fn find_nothing(balancer: &Ringmaster, more: &[&str]) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let program = root.join("target/schemathesis/bin/st");
    if !program.exists() {
        assert!(
            std::env::var_os("CI").is_none(),
            "schemathesis is missing: {INSTALL}"
        );
        eprintln!("SKIPPED: schemathesis is missing: {INSTALL}");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let url = format!("{}/api/openapi.json", balancer.admin_url().await);
    let output = Command::new(program)
        .arg("--config-file")
        .arg(root.join("tests/api/schemathesis.toml"))
        .args([
            "--no-color",
            "run",
            &url,
            "--header",
            "Authorization: Bearer changer",
        ])
        .args([
            "--seed",
            "1",
            "--generation-database",
            "none",
            "--warnings",
            "off",
        ])
        .args(["--continue-on-failure", "--request-timeout", "60"])
        .args(more)
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{said}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(said.contains("No issues found"), "{said}");
}

/// A balancer that takes the token `changer`.
async fn start(args: &[&str]) -> (Ringmaster, tempfile::NamedTempFile) {
    let tokens = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&tokens, "admin changer\n").unwrap();
    let path = tokens.path().to_str().unwrap();
    let common = ["--admin", "127.0.0.1:0", "--admin-token-file", path];
    (Ringmaster::ready(&[&common, args].concat()).await, tokens)
}

#[actix_web::test]
#[ignore = "takes a minute: make test-full"]
async fn every_operation_is_as_described() {
    // Its replicas are given: no call starts a thousand of them.
    let replica = Ringmaster::ready(&["--replicas", "1"]).await;
    let (balancer, _tokens) = start(&["--upstream", replica.address()]).await;
    find_nothing(&balancer, &["--max-examples", "20"]).await;
}

#[actix_web::test]
#[ignore = "takes a minute: make test-full"]
async fn replicas_come_and_go_as_described() {
    // Nothing but another ring makes room for more.
    let (balancer, _tokens) = start(&["--replicas", "2", "--slots", "4"]).await;
    let operations = "add_replicas,change_replica,remove_replica,restart_replica,change_fleet,\
                      start_drill,list_replicas,get_replica,get_fleet";
    let operations = operations
        .split(',')
        .flat_map(|one| ["--include-operation-id", one]);
    let operations: Vec<&str> = operations.collect();
    find_nothing(
        &balancer,
        &[&operations[..], &["--max-examples", "8"]].concat(),
    )
    .await;
}
