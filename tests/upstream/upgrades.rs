//! WebSocket through the balancer: two joined byte streams if the replica agrees, and
//! nothing that could be taken for another request if it does not.

use std::future::Future;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::support::Ringmaster;
use crate::support::wire::{Scripted, in_time, rest, told, values};

const HANDSHAKE: &str = "GET /chat HTTP/1.1\r\nHost: shop.example\r\nUpgrade: WebSocket\r\n\
     Connection: keep-alive, Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
     Sec-WebSocket-Version: 13\r\n\r\n";
const AGREED: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
     Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
/// A request that an attacker would smuggle.
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n";

/// A replica that answers heartbeats, tells `story` of every other connection, and keeps
/// the heads of what it was asked.
struct Replica {
    balancer: Ringmaster,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Replica {
    async fn telling<F, S>(story: F) -> Self
    where
        F: Fn(TcpStream) -> S + 'static,
        S: Future<Output = ()> + 'static,
    {
        Self::telling_with(&[], story).await
    }

    /// The same, behind a balancer with these options.
    async fn telling_with<F, S>(args: &[&str], story: F) -> Self
    where
        F: Fn(TcpStream) -> S + 'static,
        S: Future<Output = ()> + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let heads = Arc::<Mutex<Vec<String>>>::default();
        let kept = Arc::clone(&heads);
        let story = Rc::new(story);
        actix_web::rt::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (kept, story) = (Arc::clone(&kept), Rc::clone(&story));
                actix_web::rt::spawn(async move {
                    let head = head(&mut stream).await;
                    if head.starts_with("GET /heartbeat ") {
                        let well =
                            b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
                        let _ = stream.write_all(well).await;
                    } else if !head.is_empty() {
                        kept.lock().unwrap().push(head);
                        story(stream).await;
                    }
                });
            }
        });
        let upstream = format!("127.0.0.1:{port}");
        let own = ["--workers", "1", "--upstream", &upstream];
        let balancer = Ringmaster::ready(&[&own, args].concat()).await;
        Self { balancer, heads }
    }

    /// Sends bytes and returns all that comes until the end of the connection.
    async fn told(&self, bytes: &str) -> String {
        let mut client = TcpStream::connect(self.balancer.address()).await.unwrap();
        client.write_all(bytes.as_bytes()).await.unwrap();
        in_time(rest(&mut client)).await
    }

    fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }
}

/// A message's head; empty if none comes.
async fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return String::new(),
        }
    }
    String::from_utf8(head).unwrap()
}

/// A client whose upgrade was agreed to.
async fn upgraded(replica: &Replica) -> TcpStream {
    let mut client = TcpStream::connect(replica.balancer.address())
        .await
        .unwrap();
    client.write_all(HANDSHAKE.as_bytes()).await.unwrap();
    let answer = in_time(head(&mut client)).await.to_ascii_lowercase();
    assert!(answer.starts_with("http/1.1 101 "), "{answer}");
    for field in [
        "\r\nupgrade: websocket\r\n",
        "\r\nconnection: upgrade\r\n",
        "\r\nsec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=\r\n",
    ] {
        assert_eq!(answer.matches(field).count(), 1, "{answer}");
    }
    for field in ["content-length", "transfer-encoding"] {
        assert!(!answer.contains(field), "{answer}");
    }
    client
}

#[actix_web::test]
async fn upgrade_is_agreed_and_a_half_closed_tunnel_still_flows() {
    let replica = Replica::telling(|mut stream| async move {
        // The first bytes of the other protocol, in one piece with the agreement.
        stream
            .write_all(&[AGREED, b"first"].concat())
            .await
            .unwrap();
        let said = rest(&mut stream).await;
        stream
            .write_all(format!("heard: {said}").as_bytes())
            .await
            .unwrap();
    })
    .await;
    let mut client = upgraded(&replica).await;
    let mut first = [0; 5];
    in_time(client.read_exact(&mut first)).await.unwrap();
    assert_eq!(&first, b"first");
    // In HTTP this would be a request; in a tunnel it is data.
    client.write_all(SMUGGLED.as_bytes()).await.unwrap();
    client.shutdown().await.unwrap();
    assert_eq!(
        in_time(rest(&mut client)).await,
        format!("heard: {SMUGGLED}")
    );
    let heads = replica.heads();
    let asked = heads[0].to_ascii_lowercase();
    assert_eq!(heads.len(), 1, "{heads:?}");
    for field in [
        "\r\nupgrade: websocket\r\n",
        "\r\nconnection: upgrade\r\n",
        "\r\nsec-websocket-version: 13\r\n",
        "\r\nhost: shop.example\r\n",
    ] {
        assert_eq!(asked.matches(field).count(), 1, "{asked}");
    }
}

#[actix_web::test]
async fn tunnel_closed_on_one_side_closes_the_other() {
    let (ended, mut end) = tokio::sync::mpsc::unbounded_channel();
    let replica = Replica::telling(move |mut stream| {
        let ended = ended.clone();
        async move {
            stream.write_all(AGREED).await.unwrap();
            let said = stream.read_u8().await.unwrap();
            if said == b'?' {
                // Goes first.
                return;
            }
            let _ = rest(&mut stream).await;
            ended.send(()).unwrap();
        }
    })
    .await;
    let mut client = upgraded(&replica).await;
    client.write_all(b"?").await.unwrap();
    assert_eq!(in_time(rest(&mut client)).await, "");

    let mut client = upgraded(&replica).await;
    client.write_all(b"!").await.unwrap();
    drop(client);
    in_time(end.recv()).await.unwrap();
}

#[actix_web::test]
async fn tunnel_direction_that_stalls_blocks_neither_the_other_nor_memory() {
    const BYTES: usize = 48 << 20;
    let replica = Replica::telling(|mut stream| async move {
        stream.write_all(AGREED).await.unwrap();
        let (mut reads, mut writes) = stream.split();
        let says = async {
            for _ in 0..BYTES >> 16 {
                writes.write_all(&[7; 1 << 16]).await.unwrap();
            }
        };
        let hears = async {
            let mut heard = 0;
            let mut buffer = vec![0; 1 << 16];
            while heard < BYTES {
                let count = reads.read(&mut buffer).await.unwrap();
                assert!(count > 0 && buffer[..count].iter().all(|&byte| byte == 9));
                heard += count;
            }
        };
        futures::join!(says, hears);
    })
    .await;
    let mut client = upgraded(&replica).await;
    let before = crate::support::forget_peak(replica.balancer.pid());
    // The client first says all it has to say and reads nothing meanwhile.
    for _ in 0..BYTES >> 16 {
        in_time(client.write_all(&[9; 1 << 16])).await.unwrap();
    }
    let grown = crate::support::peak_kib(replica.balancer.pid()).saturating_sub(before);
    assert!(grown < 16 << 10, "grew by {grown} KiB");
    let mut heard = 0;
    let mut buffer = vec![0; 1 << 16];
    loop {
        let count = in_time(client.read(&mut buffer)).await.unwrap();
        if count == 0 {
            break;
        }
        assert!(buffer[..count].iter().all(|&byte| byte == 7));
        heard += count;
    }
    assert_eq!(heard, BYTES);
}

#[actix_web::test]
async fn tunnel_counts_as_in_flight_until_it_ends() {
    let replica = Replica::telling(|mut stream| async move {
        stream.write_all(AGREED).await.unwrap();
        let said = rest(&mut stream).await;
        let _ = stream.write_all(said.as_bytes()).await;
    })
    .await;
    let mut client = upgraded(&replica).await;
    let mut balancer = replica.balancer;
    crate::support::signal(balancer.pid(), "TERM");
    crate::support::eventually("the balancer stops", || async {
        balancer.count_in_log("finishing the requests in flight") == 1
    })
    .await;
    // What is in flight may come to its end.
    client.write_all(b"still here").await.unwrap();
    client.shutdown().await.unwrap();
    assert_eq!(in_time(rest(&mut client)).await, "still here");
    assert!(balancer.exited().await.success());
}

#[actix_web::test]
async fn invalid_upgrade_is_refused_and_input_behind_it_discarded() {
    let replica = Replica::telling(|mut stream| async move {
        stream.write_all(AGREED).await.unwrap();
        let _ = rest(&mut stream).await;
    })
    .await;
    let refused = [
        "POST / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
        "HEAD / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
        "GET / HTTP/1.0\r\nHost: x\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: keep-alive\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: h2c\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: upgrade\r\nContent-Length: 5\r\n\r\nhello",
        "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: upgrade\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ]
    .map(|request| {let replica=&replica; async move {
        let request: &str = request;
        let got = replica.told(&format!("{request}{SMUGGLED}")).await;
        assert_eq!(got.matches("\r\n\r\n").count(), 1, "{request}{got}");
        assert_eq!(got.split(' ').nth(1), Some("400"), "{request}{got}");
        // Which is what HTTP/1.0 does unasked.
        let closes = got.starts_with("HTTP/1.0") || got.contains("\r\nconnection: close\r\n");
        assert!(closes, "{request}{got}");
    }});
    // All at once: actix listens for a second to a client that may say more.
    futures::future::join_all(refused).await;
    assert_eq!(replica.heads(), [""; 0]);
}

/// The offer is ignored (RFC 9110, section 7.8), so what follows the body is another request.
#[actix_web::test]
async fn upgrade_with_a_body_is_answered_in_http_and_hides_nothing_behind_it() {
    const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nupgrade: tcp\r\n\r\n";
    const BEHIND: &str = "GET /behind HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    for (answer, status, count) in [(OK, "200", 2), (SWITCH, "502", 1)] {
        let replica = Scripted::saying(answer).await;
        let balancer = replica.balancer(&[]).await;
        for (header, body) in [
            ("Content-Length: 5", "hello"),
            ("Transfer-Encoding: chunked", "5\r\nhello\r\n0\r\n\r\n"),
        ] {
            let offer = format!(
                "POST / HTTP/1.1\r\nHost: x\r\nUpgrade: tcp\r\nConnection: upgrade\r\n{header}\r\n\r\n{body}{BEHIND}"
            );
            let got = told(balancer.address(), offer.as_bytes()).await;
            let answers = got.matches(&format!("HTTP/1.1 {status} ")).count();
            assert_eq!(answers, count, "{offer}{got}");
            let requests = replica.take_requests();
            assert_eq!(requests.len(), count, "{requests:?}");
            assert!(requests[0].to_lowercase().ends_with(body), "{requests:?}");
            for request in requests {
                assert_eq!(values(&request, "upgrade"), [""; 0], "{request}");
                assert_eq!(values(&request, "connection"), [""; 0], "{request}");
                assert_eq!(values(&request, "via"), ["1.1 ringmaster"], "{request}");
            }
        }
    }
}

#[actix_web::test]
async fn switch_to_a_protocol_that_was_not_offered_is_a_502_and_counts_as_that_alone() {
    const OTHER: &str = "HTTP/1.1 101 Switching Protocols\r\nupgrade: other\r\n\r\n";
    let replica = Scripted::saying(OTHER).await;
    let balancer = replica.balancer(&["--admin", "127.0.0.1:0"]).await;
    let got = told(balancer.address(), HANDSHAKE.as_bytes()).await;
    assert!(got.starts_with("HTTP/1.1 502 "), "{got}");
    let admin = balancer.admin_url().await.replace("http://", "");
    let asked = format!("GET /metrics HTTP/1.0\r\nHost: {admin}\r\n\r\n");
    let metrics = told(&admin, asked.as_bytes()).await;
    let counted = metrics
        .lines()
        .filter(|line| line.starts_with("ringmaster_requests_total{"));
    let counted: Vec<_> = counted.collect();
    assert_eq!(counted.len(), 1, "{counted:?}");
    assert!(
        counted[0].contains("code=\"5xx\"") && counted[0].ends_with(" 1"),
        "{counted:?}"
    );
    let mut failed = metrics.lines().filter(|line| {
        line.starts_with("ringmaster_upstream_failures_total{") && line.ends_with(" 1")
    });
    let failed = failed.next().unwrap();
    assert!(failed.contains("reason=\"invalid_response\""), "{failed}");
}

#[actix_web::test]
async fn declined_upgrade_passes_the_response_and_closes() {
    for answer in [
        "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        "HTTP/1.1 426 Upgrade Required\r\ncontent-length: 5\r\nupgrade: websocket\r\n\r\nhello",
        "HTTP/1.1 204 No Content\r\n\r\n",
    ] {
        let replica = Replica::telling(move |mut stream| async move {
            stream.write_all(answer.as_bytes()).await.unwrap();
            // What comes here would have been taken for a request.
            assert_eq!(rest(&mut stream).await, "");
        })
        .await;
        let got = replica.told(&format!("{HANDSHAKE}{SMUGGLED}")).await;
        let (head, body) = got.split_once("\r\n\r\n").unwrap();
        assert_eq!(head.split(' ').nth(1), answer.split(' ').nth(1), "{got}");
        assert!(head.contains("\r\nconnection: close"), "{got}");
        let required = values(&got, "upgrade") == ["websocket"];
        assert_eq!(required, answer.contains("426"), "{got}");
        let chunked = head.contains("\r\ntransfer-encoding: chunked");
        assert_eq!(chunked, answer.contains("chunked"), "{got}");
        let whole = if chunked {
            "5\r\nhello\r\n0\r\n\r\n"
        } else {
            "hello"
        };
        assert_eq!(body == whole, answer.contains("hello"), "{got}");
        assert_eq!(replica.heads().len(), 1, "{:?}", replica.heads());
    }
}

#[actix_web::test]
async fn upgrade_to_another_protocol_gets_an_http_response() {
    let replica = Replica::telling(|mut stream| async move {
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
        stream.write_all(answer).await.unwrap();
        let _ = rest(&mut stream).await;
    })
    .await;
    let got = replica
        .told(
            "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQ\r\n\
             Connection: close, Upgrade, HTTP2-Settings\r\n\r\n",
        )
        .await;
    assert!(
        got.starts_with("HTTP/1.1 200 ") && got.ends_with("\r\n\r\nok"),
        "{got}"
    );
    let asked = replica.heads()[0].to_ascii_lowercase();
    assert!(
        !asked.contains("upgrade") && !asked.contains("http2"),
        "{asked}"
    );
}

/// A Python that has the `websockets` package, or none.
fn python() -> Option<String> {
    let candidates = [
        std::env::var("WEBSOCKETS_PYTHON").ok(),
        Some("python3".to_owned()),
        // Where Debian's package goes, when another python3 stands first in the path.
        Some("/usr/bin/python3".to_owned()),
    ];
    candidates.into_iter().flatten().find(|python| {
        Command::new(python)
            .args(["-c", "import websockets"])
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    })
}

struct Peer(Child);

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[actix_web::test]
async fn python_websockets_talk_through_the_balancer() {
    let Some(python) = python() else {
        assert!(
            std::env::var_os("CI").is_none(),
            "python3-websockets is missing"
        );
        eprintln!("skipped: no Python with the websockets package (or set WEBSOCKETS_PYTHON)");
        return;
    };
    let script = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/upstream/upgrades/peer.py"
    );
    let mut server = Command::new(&python)
        .args([script, "server"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut port = String::new();
    BufReader::new(server.stdout.take().unwrap())
        .read_line(&mut port)
        .unwrap();
    let _server = Peer(server);
    let upstream = format!("127.0.0.1:{}", port.trim());
    let balancer = Ringmaster::ready(&["--upstream", &upstream]).await;
    let url = format!("ws://{}/chat", balancer.address());
    let client = tokio::process::Command::new(&python)
        .args([script, "client", &url])
        .kill_on_drop(true)
        .output();
    let output = in_time(client).await.unwrap();
    let (said, complained) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(
        output.status.success() && said.contains("all is well"),
        "{said}{complained}"
    );
}

#[actix_web::test]
async fn tunnels_have_a_limit_of_their_own() {
    let args = ["--max-in-flight=1", "--max-tunnels=2"];
    let replica = Replica::telling_with(&args, async |mut stream| {
        stream.write_all(AGREED).await.unwrap();
        // Open until the client has gone.
        rest(&mut stream).await;
    })
    .await;
    let mut open = Vec::new();
    for _ in 0..2 {
        let mut client = TcpStream::connect(replica.balancer.address())
            .await
            .unwrap();
        client.write_all(HANDSHAKE.as_bytes()).await.unwrap();
        let agreed = in_time(head(&mut client)).await;
        assert!(agreed.starts_with("HTTP/1.1 101 "), "{agreed}");
        open.push(client);
    }
    let refused = replica.told(HANDSHAKE).await;
    assert!(refused.starts_with("HTTP/1.1 503 "), "{refused}");
    assert!(refused.contains("as many tunnels"), "{refused}");
    drop(open.pop());
    loop {
        let mut client = TcpStream::connect(replica.balancer.address())
            .await
            .unwrap();
        client.write_all(HANDSHAKE.as_bytes()).await.unwrap();
        if in_time(head(&mut client))
            .await
            .starts_with("HTTP/1.1 101 ")
        {
            break;
        }
    }
}
