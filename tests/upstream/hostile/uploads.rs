//! Requests with bodies against replicas that do not wait for them.

use std::future::Future;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::replica::{Answer, Client, read_head};
use crate::support::{MAX_WAIT, Ringmaster, eventually};

const CHUNKED_HEAD: &str = "POST /up HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";

/// A balancer in front of a replica whose every connection is told by `story`, which is
/// given the first request's head.
async fn before<F, S>(story: F) -> Ringmaster
where
    F: Fn(String, TcpStream) -> S + 'static,
    S: Future<Output = ()> + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let story = std::rc::Rc::new(story);
    actix_web::rt::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let story = std::rc::Rc::clone(&story);
            actix_web::rt::spawn(async move {
                let Some(head) = read_head(&mut stream).await else {
                    return;
                };
                if head.starts_with("GET ") {
                    // A heartbeat, or a clean request on a fresh connection.
                    let well =
                        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nclean";
                    let _ = stream.write_all(well).await;
                } else {
                    story(head, stream).await;
                }
            });
        }
    });
    Ringmaster::ready(&["--workers", "1", "--upstream", &format!("127.0.0.1:{port}")]).await
}

async fn is_clean(balancer: &Ringmaster) {
    let answer = Client::connect(balancer).await.ask("GET", "/clean").await;
    assert!(
        matches!(&answer, Answer::Whole(got) if got.body == "clean"),
        "{answer:?}"
    );
}

fn status(answer: &Answer) -> u16 {
    answer.status().unwrap_or_else(|| panic!("{answer:?}"))
}

/// More than a test could ever send.
const ENDLESS: usize = 1_000_000_000_000_000;

const TOO_LARGE: &str = "HTTP/1.1 413 Too Large\r\ncontent-length: 3\r\n\r\nbig";

#[actix_web::test]
async fn early_response_reaches_a_stalled_client() {
    for body in ["", "5\r\nhello\r\n"] {
        let balancer = before(|_, mut stream| async move {
            stream.write_all(TOO_LARGE.as_bytes()).await.unwrap();
            // Neither reads nor closes: the balancer must.
            let mut rest = Vec::new();
            let _ = stream.read_to_end(&mut rest).await;
        })
        .await;
        let mut client = Client::connect(&balancer).await;
        client
            .stream
            .write_all(CHUNKED_HEAD.as_bytes())
            .await
            .unwrap();
        client.stream.write_all(body.as_bytes()).await.unwrap();
        let answer = client.answer("POST").await;
        assert_eq!(status(&answer), 413, "{answer:?}");
        is_clean(&balancer).await;
    }
}

#[actix_web::test]
async fn early_response_stops_a_large_upload() {
    for closes in [false, true] {
        let balancer = before(move |_, mut stream| async move {
            stream.write_all(TOO_LARGE.as_bytes()).await.unwrap();
            if !closes {
                tokio::time::sleep(MAX_WAIT).await;
            }
        })
        .await;
        let mut client = Client::connect(&balancer).await;
        let head = format!("PUT /up HTTP/1.1\r\nHost: x\r\nContent-Length: {ENDLESS}\r\n\r\n");
        client.stream.write_all(head.as_bytes()).await.unwrap();
        let (mut reading, mut writing) = client.stream.into_split();
        let sender = actix_web::rt::spawn(async move {
            let piece = vec![b'x'; 64 * 1024];
            let mut sent = 0;
            // Until the balancer has had enough: behind its answer it reads on for a while
            // and discards, or a reset could overtake the answer (RFC 9112, section 9.6).
            while writing.write_all(&piece).await.is_ok() {
                sent += piece.len();
            }
            sent
        });
        let mut got = Vec::new();
        let read = tokio::time::timeout(MAX_WAIT, async {
            // A reset behind the response is the balancer's right.
            while !got.ends_with(b"big") {
                got.push(reading.read_u8().await.unwrap());
            }
        });
        read.await.expect("the answer comes");
        assert!(got.starts_with(b"HTTP/1.1 413 "));
        let sent = tokio::time::timeout(MAX_WAIT, sender)
            .await
            .unwrap()
            .unwrap();
        assert!(sent < ENDLESS, "{sent}");
        is_clean(&balancer).await;
    }
}

#[actix_web::test]
async fn upload_and_response_stream_in_both_directions() {
    let balancer = before(|head, mut stream| async move {
        assert!(
            head.contains("\r\ntransfer-encoding: chunked\r\n"),
            "{head}"
        );
        // Answers to the head, then to each chunk before the next has been sent.
        let begin = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        stream.write_all(begin).await.unwrap();
        loop {
            let mut chunk = [0; 8];
            stream.read_exact(&mut chunk[..5]).await.unwrap();
            if &chunk[..5] == b"0\r\n\r\n" {
                stream.write_all(b"0\r\n\r\n").await.unwrap();
                return;
            }
            stream.read_exact(&mut chunk[5..6]).await.unwrap();
            stream.write_all(&chunk[..6]).await.unwrap();
        }
    })
    .await;
    let mut client = Client::connect(&balancer).await;
    client
        .stream
        .write_all(CHUNKED_HEAD.as_bytes())
        .await
        .unwrap();
    let head = tokio::time::timeout(MAX_WAIT, read_head(&mut client.stream)).await;
    assert!(head.unwrap().unwrap().starts_with("HTTP/1.1 200 "));
    for turn in 0..3 {
        let chunk = format!("1\r\n{turn}\r\n");
        client.stream.write_all(chunk.as_bytes()).await.unwrap();
        let mut echo = [0; 6];
        let read = client.stream.read_exact(&mut echo);
        tokio::time::timeout(MAX_WAIT, read).await.unwrap().unwrap();
        assert_eq!(echo, chunk.as_bytes());
    }
    client.stream.write_all(b"0\r\n\r\n").await.unwrap();
    let mut end = [0; 5];
    client.stream.read_exact(&mut end).await.unwrap();
    assert_eq!(&end, b"0\r\n\r\n");
    is_clean(&balancer).await;
}

#[actix_web::test]
async fn expect_continue_is_answered_by_the_balancer() {
    let balancer = before(|head, mut stream| async move {
        assert!(!head.contains("expect"), "{head}");
        assert!(head.contains("\r\ncontent-length: 5\r\n"), "{head}");
        let mut body = [0; 5];
        stream.read_exact(&mut body).await.unwrap();
        let answer = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\
                       connection: close\r\ncontent-length: 5\r\n\r\n";
        stream.write_all(answer).await.unwrap();
        stream.write_all(&body).await.unwrap();
    })
    .await;
    let mut client = Client::connect(&balancer).await;
    let head = "POST /e HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n";
    client.stream.write_all(head.as_bytes()).await.unwrap();
    let interim = tokio::time::timeout(MAX_WAIT, read_head(&mut client.stream)).await;
    assert_eq!(interim.unwrap().unwrap(), "HTTP/1.1 100 Continue\r\n\r\n");
    client.stream.write_all(b"hello").await.unwrap();
    let answer = client.answer("POST").await;
    assert!(
        matches!(&answer, Answer::Whole(got) if got.status == 200 && got.body == "hello"),
        "{answer:?}"
    );
    // Without a body there is nothing to wait for.
    let head = "GET /e HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n\r\n";
    client.stream.write_all(head.as_bytes()).await.unwrap();
    assert_eq!(status(&client.answer("GET").await), 200);
}

#[actix_web::test]
async fn truncated_upload_ends_the_replica_request() {
    let (told, mut heard) = tokio::sync::mpsc::unbounded_channel();
    let balancer = before(move |_, mut stream| {
        let told = told.clone();
        async move {
            let mut rest = Vec::new();
            let _ = stream.read_buf(&mut rest).await;
            let _ = told.send(rest.clone());
            let _ = stream.read_to_end(&mut rest).await;
            let _ = told.send(rest);
        }
    })
    .await;
    let mut client = Client::connect(&balancer).await;
    let half = format!("{CHUNKED_HEAD}5\r\nhello\r\n");
    client.stream.write_all(half.as_bytes()).await.unwrap();
    // The replica has some of it before the client goes.
    let some = tokio::time::timeout(MAX_WAIT, heard.recv()).await;
    assert_ne!(some.unwrap().unwrap(), b"");
    drop(client);
    let rest = tokio::time::timeout(MAX_WAIT, heard.recv())
        .await
        .unwrap()
        .unwrap();
    assert!(!rest.ends_with(b"0\r\n\r\n"), "{rest:?}");
    is_clean(&balancer).await;
}

#[actix_web::test]
async fn connection_closed_before_the_response_counts_as_sent() {
    let balancer = before(|_, stream| answer_once_and_hang_up_on_the_second(stream)).await;
    let post = "POST /p HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nab";
    for expected in [200, 502] {
        let mut client = Client::connect(&balancer).await;
        client.stream.write_all(post.as_bytes()).await.unwrap();
        assert_eq!(status(&client.answer("POST").await), expected);
    }
    eventually("the log tells", || async {
        balancer.count_in_log("the connection ended before the response") == 1
    })
    .await;
}

#[actix_web::test]
async fn idempotent_request_is_retried_on_the_only_replica() {
    let balancer = before(|_, stream| answer_once_and_hang_up_on_the_second(stream)).await;
    let put = "PUT /p HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nab";
    for _ in 0..4 {
        let mut client = Client::connect(&balancer).await;
        client.stream.write_all(put.as_bytes()).await.unwrap();
        assert_eq!(status(&client.answer("PUT").await), 200);
    }
}

async fn answer_once_and_hang_up_on_the_second(mut stream: TcpStream) {
    let mut body = [0; 2];
    stream.read_exact(&mut body).await.unwrap();
    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
    stream.write_all(answer).await.unwrap();
    read_head(&mut stream).await;
}
