//! Cookies of the dashboard's sessions, which browsers send to the client port, too: replicas
//! neither get nor set them.

use crate::support::wire::{Scripted, told, values};

#[actix_web::test]
async fn session_cookie_does_not_reach_a_replica() {
    let replica = Scripted::saying("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let balancer = replica.balancer(&[]).await;
    for (sent, expected) in [
        ("ringmaster_session_5001=secret", &[][..]),
        ("a=b; ringmaster_session_5001=secret; c=d", &["a=b; c=d"]),
        ("a=b;c", &["a=b;c"]),
        (
            "a=b\r\nCookie: ringmaster_session_1=secret;ringmaster_session_2=secret\r\ncOOKIE: c=d",
            &["a=b", "c=d"],
        ),
    ] {
        let request = format!(
            "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nCookie: {sent}\r\nX-Last: 1\r\n\r\n"
        );
        told(balancer.address(), request.as_bytes()).await;
        let asked = replica.take_requests().remove(0);
        assert_eq!(values(&asked, "cookie"), expected, "{asked}");
        assert_eq!(values(&asked, "x-last"), ["1"], "{asked}");
        assert!(!asked.contains("secret"), "{asked}");
    }
}

#[actix_web::test]
async fn replica_cannot_set_a_session_cookie() {
    let replica = Scripted::saying(
        "HTTP/1.1 103 Early Hints\r\nSet-Cookie: ringmaster_session_5001=early\r\nLink: </a>\r\n\r\n\
         HTTP/1.1 200 OK\r\nSet-Cookie: a=b\r\nset-cookie: ringmaster_session_5001=fixed; Path=/\r\n\
         SET-COOKIE: =ringmaster_session_5001=fixed\r\nSet-Cookie: ringmaster=1\r\ncontent-length: 0\r\n\r\n",
    )
    .await;
    let balancer = replica.balancer(&[]).await;
    let request = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let answer = told(balancer.address(), request).await;
    assert!(answer.starts_with("HTTP/1.1 103 "), "{answer}");
    assert!(!answer.contains("ringmaster_session"), "{answer}");
    let (_, answer) = answer.split_once("\r\n\r\n").unwrap();
    assert_eq!(values(answer, "set-cookie"), ["a=b", "ringmaster=1"]);
}
