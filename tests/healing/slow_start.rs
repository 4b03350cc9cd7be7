//! A fresh replica's share of its keys grows with `--slow-start`; no other keys move.

use crate::support::{Ringmaster, eventually, get, signal};

const KEYS: usize = 240;
/// Each time that the fresh one has warmed up before it could be looked at, it is killed again.
const ATTEMPTS: usize = 4;

/// The replica that answers each key.
async fn answered_by(balancer: &Ringmaster) -> Vec<String> {
    let mut names = Vec::new();
    for key in 0..KEYS {
        let reply = get(&balancer.url(&format!("/home?user=u{key}"))).await;
        let (_, name) = reply.message().rsplit_once(' ').unwrap();
        names.push(name.to_owned());
    }
    names
}

/// The share of its keys that each replica serves, while it is ready.
async fn share(balancer: &Ringmaster) -> Vec<Option<f64>> {
    let status = get(&balancer.status_url().await).await.body;
    let replicas = status["replicas"].as_array().unwrap().iter();
    replicas
        .map(|one| one["slow_start_share"].as_f64())
        .collect()
}

async fn all_are_warm(balancer: &Ringmaster) {
    eventually("all serve all of their keys", || async {
        share(balancer).await == [Some(1.0); 3]
    })
    .await;
}

#[actix_web::test]
async fn slow_start_gives_a_fresh_replica_a_growing_share() {
    let args = ["--slow-start", "5s", "--key", "query:user", "--admin"];
    let balancer = Ringmaster::ready(&[&args[..], &["127.0.0.1:0"]].concat()).await;
    all_are_warm(&balancer).await;
    let home = answered_by(&balancer).await;
    let second = &home[home.iter().position(|name| name.ends_with('2')).unwrap()];

    let mut seen_fresh = None;
    for generation in 2..2 + ATTEMPTS {
        all_are_warm(&balancer).await;
        signal(balancer.child("Server2"), "KILL");
        let back = format!("Server2 (generation {generation}) is ready at");
        eventually("it is back", || async { balancer.log().contains(&back) }).await;
        let begun = share(&balancer).await[1].unwrap();
        let fresh = answered_by(&balancer).await;
        let ended = share(&balancer).await[1].unwrap();
        for (now, home) in fresh.iter().zip(&home) {
            assert!(now == home || home == second, "{home}'s key is at {now}");
        }
        if ended < 0.6 {
            seen_fresh = Some((begun, ended, fresh));
            break;
        }
    }
    let (begun, ended, fresh) = seen_fresh.expect("it was never seen fresh");
    let own = home.iter().filter(|name| *name == second).count() as f64;
    let served = fresh.iter().filter(|name| *name == second).count() as f64 / own;
    // Some eighty keys follow the share that closely.
    assert!(
        begun - 0.2 < served && served < ended + 0.2,
        "{served} of its keys at {begun} to {ended}"
    );

    all_are_warm(&balancer).await;
    assert_eq!(answered_by(&balancer).await, home);
}

#[actix_web::test]
async fn slow_start_of_all_replicas_moves_no_key() {
    let slow = ["--slow-start", "1h", "--key", "query:user", "--admin"];
    let slow = Ringmaster::ready(&[&slow[..], &["127.0.0.1:0"]].concat()).await;
    let fast = Ringmaster::ready(&["--key", "query:user"]).await;
    for share in share(&slow).await {
        assert!((0.1..0.2).contains(&share.unwrap()), "{share:?}");
    }
    assert_eq!(answered_by(&slow).await, answered_by(&fast).await);
}
