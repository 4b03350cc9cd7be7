//! A balancer that may open few files: clients wait for their turn, and none is lost.

use futures::future::join_all;
use tokio::net::TcpStream;

use crate::support::{Ringmaster, client, eventually};

/// Sends this many requests at once, each held by a replica for a while; returns the statuses.
async fn held_all_at_once(balancer: &Ringmaster, requests: usize) -> Vec<u16> {
    let ask = |_| async {
        // Without keep-alive, or a connection that is done would keep its place.
        let request = client()
            .get(balancer.url("/slow?ms=300"))
            .insert_header(("Connection", "close"));
        let answer = request.send().await;
        answer.map_or(0, |response| response.status().as_u16())
    };
    join_all((0..requests).map(ask)).await
}

#[actix_web::test]
async fn connections_beyond_the_fd_limit_wait_and_none_is_lost() {
    // (256 - 128 - 3 * 8) / 2 = 52 connections.
    let balancer = Ringmaster::start_with_files(256, &["--workers", "2"]);
    eventually("all replicas on the ring", || async {
        balancer.count_in_log("is ready at") >= 3
    })
    .await;
    let statuses = held_all_at_once(&balancer, 200).await;
    assert_eq!(statuses, [200; 200], "{}", balancer.log());
}

#[actix_web::test]
async fn fd_limit_at_connect_gets_503_and_ejects_no_replica() {
    // Far more connections than two files for each allow.
    let balancer =
        Ringmaster::start_with_files(128, &["--workers", "1", "--max-connections", "100"]);
    eventually("all replicas on the ring", || async {
        balancer.count_in_log("is ready at") >= 3
    })
    .await;
    let statuses = held_all_at_once(&balancer, 90).await;
    let told = statuses.iter().filter(|status| **status == 503).count();
    assert!(told > 0, "{statuses:?}");
    assert!(
        statuses.iter().all(|status| [200, 503].contains(status)),
        "{statuses:?}"
    );
    assert_eq!(balancer.count_in_log("ejected"), 0, "{}", balancer.log());
    // And it serves on, once the files of those who have left are closed.
    eventually("it serves on", || async {
        held_all_at_once(&balancer, 10).await == [200; 10]
    })
    .await;
}

#[actix_web::test]
async fn fd_limit_at_accept_is_logged_once_until_it_is_over() {
    let balancer =
        Ringmaster::start_with_files(128, &["--workers", "2", "--max-connections", "1000"]);
    let told = || balancer.count_in_log("cannot accept connections: Too many open files");
    let over = || balancer.count_in_log("accepting connections again");
    for _ in 0..2 {
        let connect = |_| TcpStream::connect(balancer.address());
        let clients = join_all((0..150).map(connect)).await;
        eventually("too many files", async || told() > over()).await;
        drop(clients);
        // Both threads fail, again and again: one line for each try would be far too many.
        eventually("room again", async || told() == over()).await;
    }
}
