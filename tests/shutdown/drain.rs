//! SIGTERM under full load: what the balancer has accepted, it answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{Ringmaster, eventually, is_alive, signal};

/// How a client came to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
enum End {
    /// Connections are no longer accepted.
    NotAccepted,
    /// A request on an accepted connection was not answered.
    Lost(String),
}

/// One request on an open connection; whether another may follow on it.
async fn ask(stream: &mut TcpStream) -> Result<bool, String> {
    let request = b"GET /home HTTP/1.1\r\nHost: x\r\n\r\n";
    let sent = stream.write_all(request).await;
    sent.map_err(|error| format!("while sending: {error}"))?;
    let mut answer = Vec::new();
    loop {
        let read = stream.read_buf(&mut answer).await;
        let text = String::from_utf8_lossy(&answer);
        match read {
            Err(error) => return Err(format!("{error} after {text:?}")),
            Ok(0) => return Err(format!("the end after {text:?}")),
            Ok(_) => {}
        }
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let head = head.to_ascii_lowercase();
        let length = head.split("content-length: ").nth(1);
        let length = length.and_then(|rest| rest.lines().next()?.trim().parse::<usize>().ok());
        if body.len() < length.unwrap_or_else(|| panic!("no length: {text:?}")) {
            continue;
        }
        if !head.starts_with("http/1.1 200") {
            return Err(format!("{text:?}"));
        }
        return Ok(!head.contains("connection: close"));
    }
}

/// Sends requests without a pause until connections are no longer accepted.
async fn client(address: String, keep_alive: bool, good: Arc<AtomicUsize>) -> End {
    // A connection that is not even begun any more is not accepted either.
    const MAX_WAIT: Duration = Duration::from_millis(700);
    loop {
        let connecting = tokio::time::timeout(MAX_WAIT, TcpStream::connect(&address)).await;
        let Ok(Ok(mut stream)) = connecting else {
            return End::NotAccepted;
        };
        loop {
            match ask(&mut stream).await {
                Ok(another) => {
                    good.fetch_add(1, Ordering::SeqCst);
                    if !(another && keep_alive) {
                        break;
                    }
                }
                Err(error) => return End::Lost(error),
            }
        }
    }
}

#[actix_web::test]
async fn sigterm_under_load_loses_no_request() {
    for round in 0..3 {
        let mut balancer = Ringmaster::ready(&[]).await;
        let good = Arc::new(AtomicUsize::new(0));
        let clients: Vec<_> = (0..32)
            .map(|number| {
                let address = balancer.address().to_owned();
                let good = Arc::clone(&good);
                actix_web::rt::spawn(client(address, number % 2 == 0, good))
            })
            .collect();
        eventually("the load goes on", || async {
            good.load(Ordering::SeqCst) > 500
        })
        .await;
        signal(balancer.pid(), "TERM");
        for client in clients {
            let end = client.await.unwrap();
            assert_eq!(end, End::NotAccepted, "round {round}: {}", balancer.log());
        }
        assert_eq!(balancer.exited().await.code(), Some(0));
    }
}

/// The kernel keeps connections back on which nothing has come.
#[actix_web::test]
async fn silent_connection_is_served_during_the_drain_delay() {
    let mut balancer = Ringmaster::ready(&[]).await;
    let connect = || TcpStream::connect(balancer.address());
    let mut known = connect().await.unwrap();
    let (mut asks_late, mut says_nothing) = (connect().await.unwrap(), connect().await.unwrap());
    signal(balancer.pid(), "TERM");
    while ask(&mut known).await.unwrap() {}
    assert_eq!(ask(&mut asks_late).await, Ok(false), "{}", balancer.log());
    let mut nothing = Vec::new();
    // An end, and no reset.
    let end = says_nothing.read_to_end(&mut nothing).await;
    assert_eq!(end.unwrap(), 0, "{}", balancer.log());
    assert_eq!(balancer.exited().await.code(), Some(0));
}

#[actix_web::test]
async fn stop_without_requests_in_flight_skips_the_drain_delay() {
    let mut log = String::new();
    // It takes a few looks in a row that come in time: one stop on a busy machine may have none.
    for _ in 0..5 {
        let mut balancer = Ringmaster::start_with(&[], &[("RINGMASTER_LOG", "ringmaster=debug")]);
        let mut idle = TcpStream::connect(balancer.address()).await.unwrap();
        assert_eq!(ask(&mut idle).await, Ok(true));
        signal(balancer.pid(), "INT");
        assert_eq!(balancer.exited().await.code(), Some(0));
        log = balancer.log();
        if log.contains("nothing is in flight") {
            return;
        }
    }
    panic!("the delay is never skipped:\n{log}");
}

/// A command whose server is a grandchild of the balancer's, as behind `npm start`. It writes
/// the server's process id into a file of the replica's name.
fn command_with_grandchild(folder: &std::path::Path) -> String {
    let (folder, program) = (folder.display(), env!("CARGO_BIN_EXE_ringmaster"));
    format!(
        "sh -c '{program} replica --listen 127.0.0.1:{{port}} --id {{name}} & \
         echo $! > {folder}/{{name}}.new; mv {folder}/{{name}}.new {folder}/{{name}}; wait'"
    )
}

/// The process id in the file of a replica's name, which its shell may write after its server answers.
async fn grandchild(folder: &std::path::Path, name: &str) -> u32 {
    let path = folder.join(name);
    eventually("the grandchild's id", || async { path.exists() }).await;
    let pid = std::fs::read_to_string(path).unwrap();
    pid.trim().parse().unwrap()
}

#[actix_web::test]
async fn killed_balancer_ends_grandchildren_too() {
    let folder = tempfile::tempdir().unwrap();
    let command = command_with_grandchild(folder.path());
    let balancer = Ringmaster::ready(&["--command", &command, "--replicas", "2"]).await;
    let grandchildren = [
        grandchild(folder.path(), "Server1").await,
        grandchild(folder.path(), "Server2").await,
    ];
    // The replicas are its own children all the same.
    assert_eq!(balancer.children().len(), 2);
    assert!(grandchildren.iter().all(|&pid| is_alive(pid)));
    signal(balancer.pid(), "KILL");
    eventually("nothing is left", || async {
        grandchildren.iter().all(|&pid| !is_alive(pid))
    })
    .await;
}

/// The children of a process, guardian included.
fn children_of(pid: u32) -> Vec<u32> {
    let listed = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    let listed = listed.unwrap_or_default();
    let pids = listed.split_whitespace();
    pids.map(|pid| pid.parse().unwrap()).collect()
}

#[actix_web::test]
async fn killed_guardian_is_replaced_at_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let command = command_with_grandchild(folder.path());
    let balancer = Ringmaster::ready(&["--command", &command, "--replicas", "2"]).await;
    let guardian = || {
        let is_guardian = |pid: &u32| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            line.ends_with(b"\0guard\0")
        };
        children_of(balancer.pid()).into_iter().find(is_guardian)
    };
    let first = guardian().unwrap();
    // SIGTERM to all of a service's processes does not end it before the balancer.
    signal(first, "TERM");
    signal(first, "KILL");
    eventually("it is gone", || async { !is_alive(first) }).await;
    let survivor = grandchild(folder.path(), "Server2").await;
    signal(balancer.child("Server1"), "KILL");
    eventually("Server1 is back", || async {
        balancer
            .log()
            .contains("Server1 (generation 2) is ready at")
    })
    .await;
    assert!(guardian().is_some_and(|second| second != first));
    signal(balancer.pid(), "KILL");
    eventually("nothing is left", || async {
        !is_alive(survivor) && !is_alive(grandchild(folder.path(), "Server1").await)
    })
    .await;
}

#[actix_web::test]
async fn process_1_reaps_orphans_and_reports_its_own_children() {
    let tried = std::process::Command::new("unshare")
        .args(["--pid", "--fork", "true"])
        .output();
    if !tried.is_ok_and(|output| output.status.success()) {
        assert!(
            std::env::var_os("CI").is_none(),
            "no process namespace can be made: run the tests as root"
        );
        eprintln!("SKIPPED: no process namespace can be made; run as root");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let orphans = folder.path().join("orphans");
    // Each replica leaves ten orphans behind, which end at once; one that loses its port to another
    // program is started again, and leaves ten more.
    let command = format!(
        "sh -c 'for i in 0 1 2 3 4 5 6 7 8 9; do (sh -c \"sleep 0.1; echo >> {}\" &); done; \
         exec {} replica --listen 127.0.0.1:{{port}} --id {{name}}'",
        orphans.display(),
        env!("CARGO_BIN_EXE_ringmaster")
    );
    let mut program = std::process::Command::new("unshare");
    program
        .args(["--pid", "--fork", "--mount-proc", "--kill-child"])
        .arg(env!("CARGO_BIN_EXE_ringmaster"));
    let balancer = Ringmaster::start_by(program, &["--command", &command, "--replicas", "2"]);
    eventually("all orphans have ended", || async {
        std::fs::read_to_string(&orphans).is_ok_and(|lines| lines.lines().count() >= 20)
    })
    .await;
    let process_1 = children_of(balancer.pid())[0];
    eventually("no zombie is left", || async {
        let children = children_of(process_1);
        !children.is_empty() && children.iter().all(|&pid| is_alive(pid))
    })
    .await;
    let is_server1 = |pid: &u32| {
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        let mut variables = environment.split(|&byte| byte == 0);
        variables.any(|variable| variable == b"SERVER_ID=Server1")
    };
    let server1 = children_of(process_1).into_iter().find(is_server1).unwrap();
    signal(server1, "KILL");
    eventually("how it ended is known", || async {
        balancer.log().contains("killed by signal 9")
    })
    .await;
}
