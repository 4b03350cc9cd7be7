//! Servers with invalid responses to heartbeats and to `ringmaster healthcheck`.
//! What is no good answer is a miss in good time, and costs no memory, however much is sent.

use std::cell::Cell;
use std::process::Stdio;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::support::wire::in_time;
use crate::support::{Ringmaster, eventually, forget_peak, get, peak_kib};

/// How a server answers.
#[derive(Debug, Clone, Copy)]
enum Says {
    /// This, and nothing more while the connection is open.
    Stays(&'static str),
    /// This, and that is all.
    Ends(&'static str),
    /// This, and then that again and again, as fast as it can.
    Floods(&'static str, &'static str),
    /// The same, but slowly.
    Drips(&'static str, &'static str),
}
use Says::{Drips, Ends, Floods, Stays};

/// Whether it is well that says so, when `well` must be in the body.
#[rustfmt::skip] // One line a case, whatever its length.
const SERVERS: &[(bool, Says)] = &[
    (true, Stays("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nwell")),
    (true, Stays("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nwe\r\n2\r\nll\r\n0\r\n\r\n")),
    (true, Ends("HTTP/1.1 200 OK\r\n\r\nwell")),
    (true, Ends("HTTP/1.0 200 OK\r\n\r\nwell")),
    (true, Stays("HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nwell")),
    // So much of a body is looked at, and it is there.
    (true, Floods("HTTP/1.1 200 OK\r\n\r\nwell", "and more of it ")),
    (false, Ends("")),
    (false, Stays("")),
    (false, Ends("<html>well</html>")),
    (false, Ends("HTTP/1.1 200 OK\r\n")),
    (false, Ends("HTTP/1.1 100 Continue\r\n\r\n")),
    (false, Stays("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nill")),
    (false, Stays("HTTP/1.1 200 OK\r\ncontent-length: 4\r\ncontent-length: 5\r\n\r\nwell")),
    (false, Stays("HTTP/1.1 204 No Content\r\ncontent-length: 4\r\n\r\nwell")),
    (false, Ends("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nwell")),
    (false, Ends("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nwell\r\n")),
    (false, Stays("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nwell")),
    (false, Floods("", "\0")),
    (false, Floods("HTTP/1.1 200 OK\r\n", "x-more: and more\r\n")),
    (false, Floods("HTTP/1.1 200 OK\r\nx-long: ", "more")),
    (false, Floods("", "HTTP/1.1 100 Continue\r\n\r\n")),
    (false, Floods("HTTP/1.1 200 OK\r\n\r\n", "ill and ")),
    (false, Floods("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", "4\r\nill \r\n")),
    (false, Floods("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4;", "more")),
    (false, Drips("HTTP/1.1 200 OK\r\n", "x: y\r\n")),
    (false, Drips("HTTP/1.1 200 OK\r\ncontent-length: 4000\r\n\r\n", "?")),
    (false, Drips("", "HTTP/1.1 102 Processing\r\n\r\n")),
];

/// A server that answers like this; its port, and how often it was asked.
async fn server(says: Says) -> (u16, Rc<Cell<usize>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let asked = Rc::<Cell<usize>>::default();
    let counted = Rc::clone(&asked);
    actix_web::rt::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let counted = Rc::clone(&counted);
            actix_web::rt::spawn(async move {
                answer(stream, says).await;
                // The connection is closed by then.
                counted.set(counted.get() + 1);
            });
        }
    });
    (port, asked)
}

async fn answer(mut stream: TcpStream, says: Says) {
    let mut request = [0; 4096];
    let _ = stream.read(&mut request).await;
    let (first, again, pause) = match says {
        Stays(first) | Ends(first) => (first, "", Duration::ZERO),
        Floods(first, again) => (first, again, Duration::ZERO),
        Drips(first, again) => (first, again, Duration::from_millis(20)),
    };
    let _ = stream.write_all(first.as_bytes()).await;
    match says {
        Ends(_) => {}
        Stays(_) => while !matches!(stream.read(&mut request).await, Ok(0) | Err(_)) {},
        Floods(..) => {
            let flood = again.repeat(64 * 1024 / again.len());
            while stream.write_all(flood.as_bytes()).await.is_ok() {}
        }
        Drips(..) => {
            while stream.write_all(again.as_bytes()).await.is_ok() {
                tokio::time::sleep(pause).await;
            }
        }
    }
}

#[actix_web::test]
async fn heartbeat_with_an_invalid_response_fails() {
    let mut args: Vec<String> = [
        "--workers",
        "1",
        "--admin",
        "127.0.0.1:0",
        "--heartbeat-body",
        "well",
        "--heartbeat-interval",
        "300ms",
        "--heartbeat-timeout",
        "200ms",
    ]
    .map(str::to_owned)
    .to_vec();
    let mut servers = Vec::new();
    for (is_good, says) in SERVERS {
        let (port, asked) = server(*says).await;
        args.extend(["--upstream".to_owned(), format!("127.0.0.1:{port}")]);
        servers.push((port, asked, is_good, says));
    }
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let balancer = Ringmaster::start(&args);
    let status = balancer.status_url().await;
    let ready = async || {
        let replicas = get(&status).await.body["replicas"].clone();
        let replicas = replicas.as_array().unwrap().clone();
        let ready = replicas
            .iter()
            .filter_map(|replica| replica["endpoint"].as_str());
        let mut ready: Vec<String> = ready.map(str::to_owned).collect();
        ready.sort();
        ready
    };
    let good = servers.iter().filter(|(_, _, is_good, _)| **is_good);
    let mut good: Vec<String> = good.map(|(port, ..)| format!("127.0.0.1:{port}")).collect();
    good.sort();
    eventually("those that are well", async || ready().await == good).await;

    let before = forget_peak(balancer.pid());
    let asked: Vec<usize> = servers.iter().map(|(_, asked, ..)| asked.get()).collect();
    eventually("five more answers of each", async || {
        servers
            .iter()
            .zip(&asked)
            .all(|((_, asked, ..), before)| asked.get() >= before + 5)
    })
    .await;
    // One that is well may have been late a few times, on a busy machine.
    eventually("the same are well", async || ready().await == good).await;
    let grown = peak_kib(balancer.pid()).saturating_sub(before);
    assert!(grown < 16 * 1024, "{grown} KiB more");
}

#[actix_web::test]
async fn heartbeat_ends_in_time_whatever_the_response() {
    let checks = SERVERS.iter().map(async |(_, says)| {
        let (port, _) = server(*says).await;
        let check = tokio::process::Command::new(env!("CARGO_BIN_EXE_ringmaster"))
            .args(["healthcheck", "--url", &format!("http://127.0.0.1:{port}/")])
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .status();
        let is_good = in_time(check).await.unwrap().success();
        // It looks at the head alone.
        let has_head = match says {
            Stays(first) | Ends(first) | Floods(first, _) | Drips(first, _) => {
                first.contains("200 OK") && first.contains("\r\n\r\n") || first.contains(" 204 ")
            }
        };
        let is_clear = !format!("{says:?}").contains("content-length: 4\\r\\ncontent-length: 5");
        assert_eq!(is_good, has_head && is_clear, "{says:?}");
    });
    futures::future::join_all(checks).await;
}
