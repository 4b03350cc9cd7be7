//! Trailers: what follows the last chunk of a body, in both directions.

use std::cell::Cell;

use crate::support::Ringmaster;
use crate::support::wire::{Scripted, in_time, told, values};

const ANSWER: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\
     Connection: x-private\r\n\r\n2\r\nab\r\n0\r\nX-Sum: 1\r\nContent-Length: 5\r\n\
     Set-Cookie: a=1\r\nX-Private: 2\r\ngrpc-status: 0\r\n\r\n";
const UPLOAD: &str = " / HTTP/1.1\r\nHost: x\r\nConnection: close, x-private\r\nTrailer: X-Sum\r\n\
     Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\nX-Sum: 1\r\nX-Forwarded-For: 1.2.3.4\r\n\
     Host: evil\r\nX-Private: 2\r\nTransfer-Encoding: gzip\r\n\r\n";

#[actix_web::test]
async fn response_trailers_reach_a_client_that_takes_them() {
    let replica = Scripted::saying(ANSWER).await;
    let balancer = replica.balancer(&[]).await;
    let get = |version: &str, headers: &str| {
        format!("GET / HTTP/{version}\r\nHost: x\r\n{headers}\r\n").into_bytes()
    };
    // The connection stands where it should: the first of two is like the second.
    let close = get("1.1", "TE: gzip, Trailers\r\nConnection: TE, close\r\n");
    let both = [get("1.1", "te: trailers\r\nConnection: te\r\n"), close].concat();
    let got = told(balancer.address(), &both).await;
    let expected = "2\r\nab\r\n0\r\nX-Sum: 1\r\ngrpc-status: 0\r\n\r\n";
    assert_eq!(got.matches(expected).count(), 2, "{got}");
    assert_eq!(got.matches("\r\nTrailer: X-Sum\r\n").count(), 2, "{got}");
    assert!(got.ends_with(expected), "{got}");
    for request in replica.take_requests() {
        assert_eq!(values(&request, "te"), ["trailers"], "{request}");
        assert_eq!(values(&request, "connection"), ["te"], "{request}");
    }
    for (request, end) in [
        (get("1.1", "Connection: close\r\n"), "2\r\nab\r\n0\r\n\r\n"),
        (
            get("1.1", "TE: gzip\r\nConnection: close\r\n"),
            "2\r\nab\r\n0\r\n\r\n",
        ),
        (get("1.0", "TE: trailers\r\n"), "\r\n\r\nab"),
    ] {
        let got = told(balancer.address(), &request).await;
        assert!(got.ends_with(end), "{got}");
        assert_eq!(values(&got, "trailer"), [""; 0], "{got}");
        assert_eq!(values(&replica.take_requests()[0], "te"), [""; 0]);
    }
}

#[actix_web::test]
async fn response_trailers_are_shown_by_curl() {
    let replica = Scripted::saying(ANSWER).await;
    let balancer = replica.balancer(&[]).await;
    let url = format!("http://{}/", balancer.address());
    let curl = tokio::process::Command::new("curl")
        .args(["-sS", "-i", "-H", "TE: trailers", &url])
        .kill_on_drop(true)
        .output();
    let output = in_time(curl).await.unwrap();
    let got = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{got}");
    let (_, behind) = got.split_once("\r\n\r\nab").unwrap();
    assert_eq!(behind, "X-Sum: 1\r\ngrpc-status: 0\r\n", "{got}");
}

#[actix_web::test]
async fn request_trailers_reach_the_replica() {
    let replica = Scripted::saying("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let balancer = replica.balancer(&[]).await;
    let got = told(balancer.address(), format!("POST{UPLOAD}").as_bytes()).await;
    assert!(got.starts_with("HTTP/1.1 200 "), "{got}");
    let request = replica.take_requests().remove(0);
    assert_eq!(values(&request, "trailer"), ["X-Sum"], "{request}");
    assert!(
        request.ends_with("ab\r\n0\r\nX-Sum: 1\r\n\r\n"),
        "{request}"
    );
}

#[actix_web::test]
async fn request_trailers_are_sent_again_with_the_request() {
    thread_local! {
        static BREAKS: Cell<bool> = const { Cell::new(true) };
    }
    let script = |_: &str| match BREAKS.replace(false) {
        true => Vec::new(),
        false => b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".to_vec(),
    };
    let replicas = [
        Scripted::answering(script).await,
        Scripted::answering(script).await,
    ];
    let [one, two] = replicas
        .each_ref()
        .map(|replica| format!("127.0.0.1:{}", replica.port));
    let balancer =
        Ringmaster::ready(&["--workers", "1", "--upstream", &one, "--upstream", &two]).await;
    let got = told(balancer.address(), format!("PUT{UPLOAD}").as_bytes()).await;
    assert!(got.starts_with("HTTP/1.1 200 "), "{got}");
    for replica in replicas {
        let requests = replica.take_requests();
        assert_eq!(requests.len(), 1, "{requests:?}");
        assert!(
            requests[0].ends_with("\r\n0\r\nX-Sum: 1\r\n\r\n"),
            "{requests:?}"
        );
    }
}
