//! Clients that leave before they have their answer.

use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use socket2::SockRef;

use crate::before;
use crate::pipelining::A;
use crate::raw_client::Client;
use crate::replica::{Gate, path_of, replica, the_end};
use crate::support::eventually;

#[actix_web::test]
async fn disconnect_during_a_response_closes_the_replica_connection() {
    let ended = Arc::new(AtomicBool::new(false));
    let at_replica = Arc::clone(&ended);
    let port = replica(move |request, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n")?;
        match path_of(request) {
            "/pours" => while stream.write_all(b"4\r\npart\r\n").is_ok() {},
            // Says nothing more, and hears the end.
            _ => drop(stream.read(&mut [0])),
        }
        at_replica.store(true, Ordering::SeqCst);
        the_end()
    });
    let balancer = before(port).await;
    for path in ["/pours", "/waits"] {
        let mut client = Client::of(&balancer).await;
        client
            .say(&format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n"))
            .await;
        eventually("some of it", || async { client.queues().unread > 0 }).await;
        // With something unread, it is a reset.
        drop(client);
        eventually("the end at the replica", || async {
            ended.swap(false, Ordering::SeqCst)
        })
        .await;
    }
}

/// Even one that has sent another request ahead, so that there is no need to read on.
#[actix_web::test]
async fn reset_with_a_pipelined_request_closes_the_replica_connection() {
    let (asked, ended) = (Gate::default(), Arc::new(AtomicBool::new(false)));
    let (begun, over) = (asked.clone(), Arc::clone(&ended));
    let port = replica(move |_, stream| {
        begun.open();
        // Never answers, and hears the end.
        drop(stream.read(&mut [0]));
        over.store(true, Ordering::SeqCst);
        the_end()
    });
    let balancer = before(port).await;
    let mut client = Client::of(&balancer).await;
    client.say(&A.repeat(2)).await;
    asked.pass();
    SockRef::from(&client.stream)
        .set_linger(Some(Duration::ZERO))
        .unwrap();
    drop(client);
    eventually("the end at the replica", || async {
        ended.load(Ordering::SeqCst)
    })
    .await;
}
