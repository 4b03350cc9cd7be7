//! Warm spares: capacity is back at once where a start takes long.

use awc::http::Method;

use crate::support::{Load, Ringmaster, ask_with, eventually, get, is_alive, signal};

/// How long a start takes, in seconds.
const START: f64 = 4.0;

async fn start() -> Ringmaster {
    let program = env!("CARGO_BIN_EXE_ringmaster");
    let slow = format!(
        "sh -c 'sleep {START}; exec {program} replica --listen 127.0.0.1:$PORT --id $SERVER_ID'"
    );
    let args = ["--command", &slow, "--replicas", "2", "--spares", "1"];
    let admin = ["--admin", "127.0.0.1:0", "--key", "query:key"];
    Ringmaster::ready(&[&args[..], &admin].concat()).await
}

async fn spare_is_ready(balancer: &Ringmaster) {
    let fleet = balancer.status_url().await;
    eventually("a spare is ready", || async {
        get(&fleet).await.body["spares"]["ready"] == 1
    })
    .await;
}

#[actix_web::test]
async fn spare_takes_the_place_of_a_dead_replica_at_once() {
    let balancer = start().await;
    spare_is_ready(&balancer).await;
    let load = Load::start(&balancer.url("/home"), 4);
    load.go_on_for(50).await;
    signal(balancer.child("Server1"), "KILL");
    let back = "Server1 (generation 2) is ready at";
    balancer.has_logged(back, 1).await;
    balancer
        .has_logged("Server1 (generation 2): spare-1 takes its place", 1)
        .await;
    // Nothing that was started after the death could be ready by then.
    let outage = balancer.outage("Server1", 1, 2).await;
    assert!(outage < START / 2.0, "{outage}");
    load.go_on_for(50).await;
    assert_eq!(load.stop().await.failures, Vec::<String>::new());

    // The name that it was started with, and the one that it has now; a client has no say in it.
    let mut names = std::collections::BTreeSet::new();
    for key in 0..20 {
        let url = balancer.url(&format!("/whoami?key={key}"));
        let lie = [("Ringmaster-Replica", "Server9")];
        let said = ask_with(Method::GET, &url, &lie, None).await.body;
        let replica = &said["headers"]["ringmaster-replica"];
        names.insert(format!("{} {replica}", said["id"].as_str().unwrap()));
    }
    assert_eq!(names.len(), 2, "{names:?}");
    assert!(
        names
            .iter()
            .any(|name| name.starts_with("spare-1 [\"Server1\"]")),
        "{names:?}"
    );
    assert!(
        names.iter().any(|name| name.ends_with(" [\"Server2\"]")),
        "{names:?}"
    );

    // Another spare is started, and it dies like any other.
    spare_is_ready(&balancer).await;
    // The child still has the name that it was started with.
    signal(balancer.child("spare-1"), "KILL");
    balancer
        .has_logged("Server1 (generation 3) is ready at", 1)
        .await;
    let deaths = get(&format!("{}/deaths", balancer.status_url().await))
        .await
        .body;
    let deaths = deaths["items"].as_array().unwrap().clone();
    assert!(
        deaths.iter().any(|death| death["generation"] == 2),
        "{deaths:?}"
    );
}

#[actix_web::test]
async fn spare_that_dies_is_replaced_and_the_last_ends_with_the_balancer() {
    let balancer = start().await;
    spare_is_ready(&balancer).await;
    signal(balancer.child("spare-1"), "KILL");
    balancer.has_logged("spare-1: killed by signal 9", 1).await;
    balancer.has_logged("starting spare-2", 1).await;
    spare_is_ready(&balancer).await;
    let second = balancer.child("spare-2");
    let (status, log) = balancer.terminate().await;
    assert!(status.success(), "{log}");
    assert!(!is_alive(second));
}
