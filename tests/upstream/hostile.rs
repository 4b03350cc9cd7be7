//! Replicas that break the rules: every answer that HTTP/1.1 forbids or that awc gets
//! wrong, over real sockets, in one piece, cut at every place, and in single bytes.
//!
//! After each, clean requests on the same balancer must get their own answers: whatever a
//! replica says, no client ever gets what is another's.

mod replica;
mod uploads;

use futures::StreamExt;
use replica::{Answer, Case, Client, Delivery, Expected, Replica, Then};

use Expected::{Broken, Refused, Whole};
use Then::{Close, Stay};

use crate::support::Ringmaster;

const fn case(
    method: &'static str,
    response: &'static str,
    then: Then,
    reusable: bool,
    expected: Expected,
) -> Case {
    Case {
        method,
        response,
        then,
        reusable,
        expected,
    }
}

/// What a replica says, what it does then, whether its connection may be used again, and
/// what the client must get.
#[rustfmt::skip] // One line a case, whatever its length.
const CASES: &[Case] = &[
    // As it should be.
    case("GET", "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc", Stay, true, Whole(200, "abc")),
    case("GET", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", Stay, true, Whole(200, "abc")),
    case("GET", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1;x=y\r\na\r\n2\r\nbc\r\n0\r\nx: y\r\n\r\n", Stay, true, Whole(200, "abc")),
    case("GET", "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 3\r\n\r\nabc", Close, false, Whole(200, "abc")),
    case("GET", "HTTP/1.0 200 OK\r\ncontent-length: 3\r\n\r\nabc", Stay, false, Whole(200, "abc")),
    // Interim responses are not the response.
    case("GET", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc", Stay, true, Whole(200, "abc")),
    case("GET", "HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 102 P\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc", Stay, true, Whole(200, "abc")),
    case("GET", "HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\n\r\nHTTP/1.1 404 No\r\ncontent-length: 3\r\n\r\nabc", Stay, true, Whole(404, "abc")),
    case("GET", "HTTP/1.1 100 Continue\r\n\r\n", Close, false, Refused),
    case("GET", "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n", Stay, false, Refused),
    // An end that comes too early.
    case("GET", "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nab", Close, false, Broken),
    case("GET", "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n", Close, false, Broken),
    case("GET", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n", Close, false, Broken),
    case("GET", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n", Close, false, Broken),
    case("GET", "HTTP/1.1 200 OK\r\ncontent-le", Close, false, Refused),
    case("GET", "H", Close, false, Refused),
    // Only the end of the connection ends the body.
    case("GET", "HTTP/1.1 200 OK\r\n\r\nabc", Close, false, Whole(200, "abc")),
    case("GET", "HTTP/1.1 200 OK\r\nconnection: keep-alive\r\n\r\nabc", Close, false, Whole(200, "abc")),
    case("GET", "HTTP/1.1 200 OK\r\n\r\n", Close, false, Whole(200, "")),
    case("GET", "HTTP/1.0 200 OK\r\n\r\nabc", Close, false, Whole(200, "abc")),
    case("GET", "HTTP/1.0 200 OK\r\nconnection: keep-alive\r\n\r\nabc", Close, false, Whole(200, "abc")),
    case("GET", "HTTP/1.1 426 No\r\nupgrade: websocket\r\ncontent-length: 3\r\n\r\nabc", Stay, true, Whole(426, "abc")),
    // No body, whatever they claim.
    case("GET", "HTTP/1.1 204 No Content\r\n\r\n", Stay, true, Whole(204, "")),
    case("GET", "HTTP/1.1 204 No Content\r\ncontent-length: 3\r\n\r\n", Stay, false, Whole(204, "")),
    case("GET", "HTTP/1.1 304 Not Modified\r\ncontent-length: 3\r\n\r\n", Stay, false, Whole(304, "")),
    case("GET", "HTTP/1.1 304 Not Modified\r\ntransfer-encoding: chunked\r\n\r\n", Stay, false, Whole(304, "")),
    case("GET", "HTTP/1.1 304 Not Modified\r\n\r\n", Stay, true, Whole(304, "")),
    case("HEAD", "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", Stay, true, Whole(200, "")),
    case("HEAD", "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n", Stay, false, Whole(200, "")),
    case("HEAD", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", Stay, false, Whole(200, "")),
    case("HEAD", "HTTP/1.1 200 OK\r\n\r\n", Stay, true, Whole(200, "")),
    // Bytes where none belong.
    case("GET", "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabcd", Stay, false, Whole(200, "abc")),
    case("GET", "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc\r\n", Stay, false, Whole(200, "abc")),
    case("GET", "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabcHTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nstolen", Stay, false, Whole(200, "abc")),
    case("GET", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nstolen", Stay, false, Whole(200, "abc")),
    case("GET", "HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nstolen", Stay, false, Whole(204, "")),
    case("GET", "HTTP/1.1 304 Not Modified\r\ncontent-length: 3\r\n\r\nabc", Stay, false, Whole(304, "")),
    case("HEAD", "HTTP/1.1 200 OK\r\ncontent-length: 44\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nstolen", Stay, false, Whole(200, "")),
    case("HEAD", "HTTP/1.1 200 OK\r\n\r\nx", Stay, false, Whole(200, "")),
    // The same length twice is one (RFC 9112, section 6.3).
    case("GET", "HTTP/1.1 200 OK\r\ncontent-length: 3\r\nContent-Length: 3\r\n\r\nabc", Stay, true, Whole(200, "abc")),
    case("GET", "HTTP/1.1 200 OK\r\ncontent-length: 3, 3\r\n\r\nabc", Stay, true, Whole(200, "abc")),
    // What is not HTTP, or says two things.
    case("GET", "HTTP/1.1 200 OK\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", Stay, false, Refused),
    case("GET", "HTTP/1.1 200 OK\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\nabcd", Stay, false, Refused),
    case("GET", "HTTP/1.1 200 OK\r\ncontent-length: 3x\r\n\r\nabc", Stay, false, Refused),
    case("GET", "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", Stay, false, Refused),
    case("GET", "HTTP/1.1 200 OK\r\ntransfer-encoding: identity\r\n\r\nabc", Close, false, Refused),
    case("GET", "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", Stay, false, Refused),
    case("GET", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\nabc\r\n0\r\n\r\n", Stay, false, Broken),
    case("GET", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n", Stay, false, Broken),
    case("GET", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n10000000000000000\r\nabc\r\n0\r\n\r\n", Stay, false, Broken),
    case("GET", "HTTP/1.1 200 OK\r\nx: a\0b\r\ncontent-length: 0\r\n\r\n", Stay, false, Refused),
    case("GET", "HTTP/1.1 200 OK\r\nx: a\rcontent-length: 6\r\ncontent-length: 0\r\n\r\nstolen", Stay, false, Refused),
    case("GET", "HTTP/1.1 200 OK\r\nx: a\r\n folded\r\ncontent-length: 0\r\n\r\n", Stay, false, Refused),
    case("GET", "HTTP/1.1 200 OK\r\nno field\r\ncontent-length: 0\r\n\r\n", Stay, false, Refused),
    case("GET", "HTTP/0.9 200 OK\r\ncontent-length: 0\r\n\r\n", Stay, false, Refused),
    case("GET", "HTTP/2.0 200 OK\r\ncontent-length: 0\r\n\r\n", Stay, false, Refused),
    case("GET", "<html>hello</html>", Close, false, Refused),
    case("GET", "\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", Stay, false, Refused),
];

/// One hostile answer, then two clean requests, which must get their own.
async fn one_run(balancer: &Ringmaster, replica: &Replica, index: usize, how: Delivery) {
    let case = &CASES[index];
    let told = format!("{how:?} {} {:?}", case.method, case.response);
    let id = replica.expect(index, how);
    let mut client = Client::connect(balancer).await;
    let answer = client.ask(case.method, &format!("/case/{id}")).await;
    match case.expected {
        Whole(status, body) => {
            let Answer::Whole(got) = &answer else {
                panic!("{told}: {answer:?}");
            };
            assert_eq!((got.status, got.body.as_str()), (status, body), "{told}");
        }
        Refused => assert_eq!(answer.status(), Some(502), "{told}: {answer:?}"),
        // A head that has gone out already cannot be taken back.
        Broken => assert!(
            matches!(answer, Answer::Cut) || answer.status() == Some(502),
            "{told}: {answer:?}"
        ),
    }
    // What comes behind a response has come before the next request goes out.
    replica.has_said_all(id).await;
    for turn in 0..2 {
        if client.is_closed() {
            client = Client::connect(balancer).await;
        }
        let own = format!("{id}-{turn}");
        let answer = client.ask("GET", &format!("/clean/{own}")).await;
        let Answer::Whole(got) = &answer else {
            panic!("after {told}: {answer:?}");
        };
        assert_eq!((got.status, &got.body), (200, &own), "after {told}");
    }
    assert_eq!(replica.requests_for(id), 1, "sent once: {told}");
    assert!(
        case.reusable || !replica.was_reused(id),
        "the connection was used again: {told}"
    );
}

/// All at once, except where bytes follow a response: those come one after the other. For
/// a byte that comes only after the next request went out is, to everybody, that
/// request's answer; HTTP/1.1 cannot tell.
async fn all_runs(runs: Vec<(usize, Delivery)>) {
    let (alone, together): (Vec<_>, Vec<_>) = runs.into_iter().partition(|(index, _)| {
        let case = &CASES[*index];
        matches!(case.expected, Whole(..)) && case.then == Stay && !case.reusable
    });
    for (runs, at_once) in [(alone, 1), (together, 16)] {
        let replica = Replica::start(CASES).await;
        let balancer = replica.balancer().await;
        futures::stream::iter(runs)
            .for_each_concurrent(at_once, |(index, how)| {
                one_run(&balancer, &replica, index, how)
            })
            .await;
    }
}

#[actix_web::test]
async fn invalid_responses_in_one_piece() {
    all_runs(
        (0..CASES.len())
            .map(|index| (index, Delivery::Whole))
            .collect(),
    )
    .await;
}

#[actix_web::test]
async fn invalid_responses_in_single_bytes() {
    all_runs(
        (0..CASES.len())
            .map(|index| (index, Delivery::Dribble))
            .collect(),
    )
    .await;
}

#[actix_web::test]
async fn invalid_responses_cut_at_every_place() {
    let runs = CASES.iter().enumerate().flat_map(|(index, case)| {
        (1..case.response.len()).map(move |at| (index, Delivery::Cut(at)))
    });
    all_runs(runs.collect()).await;
}

#[actix_web::test]
async fn good_connection_is_reused_and_a_spoilt_one_closed_at_once() {
    let replica = Replica::start(CASES).await;
    let balancer = replica.balancer_alone().await;
    for (index, case) in CASES.iter().enumerate() {
        let id = replica.expect(index, Delivery::Whole);
        let mut client = Client::connect(&balancer).await;
        client.ask(case.method, &format!("/case/{id}")).await;
        replica.has_said_all(id).await;
        if case.reusable {
            let mut client = Client::connect(&balancer).await;
            client.ask("GET", "/clean/x").await;
            assert!(
                replica.was_reused(id),
                "not used again: {:?}",
                case.response
            );
        } else {
            crate::support::eventually("the spoilt connection ends", || async {
                replica.has_ended(id)
            })
            .await;
        }
    }
}

#[actix_web::test]
async fn response_head_beyond_the_limits_is_refused() {
    let fields: &'static str = Box::leak("x: y\r\n".repeat(97).into_boxed_str());
    let value: &'static str = Box::leak("a".repeat(64 * 1024).into_boxed_str());
    for response in [
        format!("HTTP/1.1 200 OK\r\n{fields}content-length: 0\r\n\r\n"),
        format!("HTTP/1.1 200 OK\r\nx: {value}\r\ncontent-length: 0\r\n\r\n"),
        format!("HTTP/1.1 200 {value}"),
        "HTTP/1.1 100 Continue\r\n\r\n".repeat(1000),
    ] {
        let response: &'static str = Box::leak(response.into_boxed_str());
        let cases = Box::leak(Box::new([case("GET", response, Stay, false, Refused)]));
        let replica = Replica::start(cases).await;
        let balancer = replica.balancer().await;
        let id = replica.expect(0, Delivery::Whole);
        let answer = Client::connect(&balancer)
            .await
            .ask("GET", &format!("/case/{id}"))
            .await;
        assert_eq!(answer.status(), Some(502), "{answer:?}");
        assert_eq!(balancer.count_in_log("panicked"), 0);
    }
}

/// A body behind the head of a response to HEAD may come long after it. The connection does not
/// wait for it, and ends by a reset: a port in TIME_WAIT for each HEAD would use them all up.
#[actix_web::test]
async fn bodiless_response_that_declares_a_body_resets_its_connection() {
    let claims = |case: &&(usize, &Case)| {
        let has_none = case.1.method == "HEAD" || case.1.response.contains("304 ");
        has_none && case.1.response.ends_with("\r\n\r\n") && !case.1.reusable
    };
    let replica = Replica::start(CASES).await;
    let balancer = replica.balancer_alone().await;
    let cases: Vec<_> = CASES.iter().enumerate().collect();
    let claiming: Vec<_> = cases.iter().filter(claims).collect();
    assert_eq!(claiming.len(), 4);
    for (index, case) in claiming {
        let id = replica.expect(*index, Delivery::Whole);
        let mut client = Client::connect(&balancer).await;
        client.ask(case.method, &format!("/case/{id}")).await;
        crate::support::eventually("the connection ends", || async { replica.has_ended(id) }).await;
        assert!(replica.was_reset(id), "{:?}", case.response);
    }
}
