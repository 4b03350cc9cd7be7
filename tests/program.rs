//! The program as a shell sees it: exit codes, and what is said where.

#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::process::{Command, Output};

use common::{Ringmaster, signal};

fn run(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ringmaster"))
        .args(args)
        .output()
        .unwrap()
}

#[test]
fn exit_codes_tell_help_wrong_use_and_failure_apart() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    for (args, code, part) in [
        (&["--help"][..], 0, "Usage: ringmaster"),
        (&["--version"], 0, env!("CARGO_PKG_VERSION")),
        (&["check"], 0, "replicas"),
        (&["--no-such-flag"], 2, "--no-such-flag"),
        (
            &["--replicas", "many", "--key", "moon"],
            2,
            "replicas = \"many\"",
        ),
        (
            &["--strategy", "classic", "--replicas", "57"],
            1,
            "too many",
        ),
        (
            &["--listen", &taken],
            1,
            &format!("cannot listen on {taken} (--listen): Address already in use"),
        ),
        (&["--listen", &taken], 1, "--listen 127.0.0.1:"),
        (&["--listen", &taken], 1, " is free"),
        (
            &["--listen", "127.0.0.1:0", "--admin", &taken],
            1,
            &format!("cannot listen on {taken} (--admin)"),
        ),
        (
            &["--listen", "127.0.0.1:0", "--command", "no-such-program"],
            1,
            "no program \"no-such-program\"",
        ),
        (
            &["healthcheck", "--url", &format!("http://{taken}/")],
            1,
            "error: ",
        ),
    ] {
        let Output {
            status,
            stdout,
            stderr,
        } = run(args);
        let said = if code == 0 { stdout } else { stderr };
        let said = String::from_utf8(said).unwrap();
        assert_eq!(status.code(), Some(code), "{args:?}: {said}");
        assert!(said.contains(part), "{args:?}: {said}");
    }
}

#[actix_web::test]
async fn a_balancer_is_healthy_while_it_runs_and_ctrl_c_is_a_clean_stop() {
    let mut balancer = Ringmaster::ready(&[]).await;
    let url = balancer.url("/rep");
    assert_eq!(run(&["healthcheck", "--url", &url]).status.code(), Some(0));
    signal(balancer.pid(), "INT");
    assert_eq!(balancer.exited().await.code(), Some(0));
    assert_eq!(run(&["healthcheck", "--url", &url]).status.code(), Some(1));
}

#[actix_web::test]
async fn the_environment_and_a_file_set_what_flags_leave_open() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ringmaster.toml");
    std::fs::write(&file, "replicas = 5\nstrategy = \"maglev\"\n").unwrap();
    let file = file.to_str().unwrap();
    let balancer = Ringmaster::start_with(&["--config", file], &[("RINGMASTER_REPLICAS", "2")]);
    assert_eq!(balancer.replicas().await, ["Server1", "Server2"]);
}
