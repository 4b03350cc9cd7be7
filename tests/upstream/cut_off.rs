//! A replica that has ended while its connections stay as they were, as those of a container
//! do whose network was cut: nobody waits for what cannot come any more.

use awc::http::{Method, StatusCode};
use futures::StreamExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::support::{MAX_WAIT, Ringmaster, ask, client, eventually, signal};

/// Says something and no more to GET, nothing to POST and in a tunnel. Nobody ends it, so it does so itself.
const SERVER: &str = r#"
import http.server, os, sys, threading

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        self.send_response(101 if "Upgrade" in self.headers else 200)
        if self.path == "/heartbeat":
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if "Upgrade" in self.headers:
            self.send_header("Connection", "Upgrade")
            self.send_header("Upgrade", "websocket")
            self.end_headers()
            self.hang()
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.write(b"5\r\nfirst\r\n")
        self.hang()
    def do_POST(self):
        open(sys.argv[2], "w").close()
        self.hang()
    def hang(self):
        self.wfile.flush()
        threading.Event().wait(60)

threading.Timer(60, os._exit, [0]).start()
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"#;

const HANDSHAKE: &[u8] = b"GET / HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\n\
    Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

#[actix_web::test]
async fn request_on_a_dead_replica_with_an_open_connection_ends() {
    let folder = tempfile::tempdir().unwrap();
    let (server, posted) = (
        folder.path().join("server.py"),
        folder.path().join("posted"),
    );
    std::fs::write(&server, SERVER).unwrap();
    // The serving process is not the replica's child, so it outlives the replica.
    let command = format!(
        "sh -c 'setsid python3 {} {{port}} {} & wait'",
        server.display(),
        posted.display()
    );
    // Whatever else could end them takes longer than this test may.
    let args = [
        "--replicas",
        "1",
        "--response-timeout",
        "1h",
        "--command",
        &command,
    ];
    let balancer = Ringmaster::ready(&args).await;
    let mut streamed = client().get(balancer.url("/")).send().await.unwrap();
    assert_eq!(streamed.next().await.unwrap().unwrap(), "first");
    let mut tunnel = TcpStream::connect(balancer.address()).await.unwrap();
    tunnel.write_all(HANDSHAKE).await.unwrap();
    let mut agreed = vec![0; 12];
    tunnel.read_exact(&mut agreed).await.unwrap();
    assert_eq!(agreed, b"HTTP/1.1 101");
    let url = balancer.url("/");
    let unanswered = actix_web::rt::spawn(async move { ask(Method::POST, &url, None).await });
    eventually("the replica has the POST", || async { posted.exists() }).await;

    signal(balancer.child("Server1"), "KILL");
    let rest = timeout(MAX_WAIT, streamed.next()).await.unwrap();
    assert!(!matches!(rest, Some(Ok(_))), "{rest:?}");
    let answer = timeout(MAX_WAIT, unanswered).await.unwrap().unwrap();
    assert_eq!(answer.status, StatusCode::BAD_GATEWAY);
    let mut rest = Vec::new();
    let end = timeout(MAX_WAIT, tunnel.read_to_end(&mut rest)).await;
    assert!(end.is_ok(), "a tunnel without its end");
    let told = "is broken off: its replica has ended";
    eventually("the log says so", || async {
        balancer.count_in_log(told) == 1
    })
    .await;
}
