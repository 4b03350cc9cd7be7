//! SIGTERM under full load: what the balancer has accepted, it answers.

#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::{Ringmaster, eventually, signal};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How a client came to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
enum End {
    /// Nobody accepts connections any more.
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

/// Asks without a pause until nobody accepts any more.
async fn client(address: String, keep_alive: bool, good: Arc<AtomicUsize>) -> End {
    // A connection that is not even begun any more is not accepted either.
    const PATIENCE: Duration = Duration::from_millis(700);
    loop {
        let connecting = tokio::time::timeout(PATIENCE, TcpStream::connect(&address)).await;
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
async fn sigterm_under_full_load_loses_no_request_on_new_connections_or_old() {
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
async fn who_has_connected_and_said_nothing_is_heard_until_the_end_of_the_last_call() {
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
async fn stop_with_nothing_in_flight_does_not_wait_for_the_last_call() {
    let mut balancer = Ringmaster::start_with(&[], &[("RINGMASTER_LOG", "ringmaster=debug")]);
    let mut idle = TcpStream::connect(balancer.address()).await.unwrap();
    assert_eq!(ask(&mut idle).await, Ok(true));
    signal(balancer.pid(), "INT");
    assert_eq!(balancer.exited().await.code(), Some(0));
    assert_eq!(
        balancer.count_in_log("nothing goes on"),
        1,
        "{}",
        balancer.log()
    );
}
