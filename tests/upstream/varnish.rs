//! The scripts of `tests/varnish`, played by varnishtest (Debian's `varnish`): its own clients
//! and servers, with a balancer between them.

use std::path::{Path, PathBuf};

use tokio::process::Command;

use crate::support::Ringmaster;
use crate::support::wire::in_time;

fn scripts() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/upstream/varnish");
    let files = std::fs::read_dir(folder).unwrap().flatten();
    let mut scripts: Vec<PathBuf> = files.map(|file| file.path()).collect();
    scripts.sort();
    scripts
}

/// What went wrong, if anything did.
async fn play(script: &Path) -> Option<String> {
    // The script's server listens there as soon as the port is free again.
    let held = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let server = held.local_addr().unwrap().to_string();
    // One heartbeat, so that a script knows what its server is asked.
    let args = [
        "--workers",
        "1",
        "--heartbeat-interval",
        "1h",
        "--upstream",
        &server,
    ];
    drop(held);
    let balancer = Ringmaster::start(&args);
    let played = Command::new("varnishtest")
        .arg(format!("-Dserver={server}"))
        .arg(format!("-Dbalancer={}", balancer.address()))
        .arg(script)
        .kill_on_drop(true)
        .output();
    let played = in_time(played).await.unwrap();
    let said = String::from_utf8_lossy(&played.stdout);
    (!played.status.success()).then(|| format!("{}\n{said}\n{}", script.display(), balancer.log()))
}

#[actix_web::test]
async fn varnishtest_scripts_pass() {
    if Command::new("varnishtest")
        .arg("-h")
        .output()
        .await
        .is_err()
    {
        assert!(
            std::env::var_os("CI").is_none(),
            "varnishtest is missing (Debian: varnish)"
        );
        eprintln!("SKIPPED: varnishtest is missing (Debian: varnish)");
        return;
    }
    let scripts = scripts();
    assert!(!scripts.is_empty());
    let played = futures::future::join_all(scripts.iter().map(|script| play(script))).await;
    let wrong: Vec<String> = played.into_iter().flatten().collect();
    assert!(wrong.is_empty(), "{}", wrong.concat());
}
