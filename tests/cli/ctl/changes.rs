//! What changes replicas and ring.

use awc::http::StatusCode;
use ringmaster::api::{
    AddedReplicas, FleetStatus, KeyExplanation, ListPage, ReplicaState, ReplicaStatus, RingChange,
    RingDetails,
};
use serde_json::Value;
use tokio::io::AsyncWriteExt as _;

use super::{failure, in_terminal, json, run, start, start_with, text};
use crate::support::{Ringmaster, get};

#[actix_web::test]
async fn add_and_rm_return_when_the_ring_has_changed() {
    let balancer = start().await;
    let added: AddedReplicas = json(&balancer, &["add", "S4", "S5=2", "--count", "3"]).await;
    assert_eq!(added.added[..2], ["S4", "S5"]);
    assert_eq!((added.added.len(), added.replicas.len()), (3, 6));
    let ring: RingDetails = json(&balancer, &["ring"]).await;
    let weight = |name: &str| {
        ring.replicas
            .iter()
            .find(|one| one.name == name)
            .map(|one| one.weight)
    };
    assert_eq!((weight("S4"), weight("S5")), (Some(1), Some(2)));

    let said = text(&balancer, &["rm", "S4", "S5", "S4"]).await;
    assert!(
        said.starts_with("S4, S5: ") && said.contains("% of the keys move; 4 replicas left"),
        "{said}"
    );
    assert!(said.ends_with("removed S4\nremoved S5\n"), "{said}");
    let left = balancer.replicas().await;
    assert!(
        left.len() == 4 && !left.contains(&"S4".to_owned()),
        "{left:?}"
    );

    let said = text(&balancer, &["add"]).await;
    assert!(
        said.starts_with("added ") && said.ends_with("; 5 replicas now\n"),
        "{said}"
    );
}

#[actix_web::test]
async fn refused_change_says_why_and_changes_nothing() {
    let balancer = start().await;
    for (args, said) in [
        (
            &["rm", "Server1", "S9"][..],
            "there is no replica S9 (404); there are Server1, Server2, Server3",
        ),
        (&["weight", "S9", "2"], "there is no replica S9"),
        (&["add", "Server1"], "Server1"),
        (&["ring", "--strategy", "maglev", "--slots", "1"], "422"),
        (&["ring", "--strategy", "none"], "strategy"),
        (
            &["--fleet", "shop", "rm", "Server1"],
            "there is no fleet shop (404)",
        ),
        (
            &["--fleet", "shop", "status"],
            "there is no fleet shop (404)",
        ),
    ] {
        let error = failure(&run(&balancer, args).await);
        assert!(error.contains(said), "{args:?}: {error}");
    }
    assert_eq!(balancer.replicas().await, ["Server1", "Server2", "Server3"]);
    let ring: RingDetails = json(&balancer, &["ring"]).await;
    assert_eq!(ring.ring.strategy, "rendezvous");
}

#[actix_web::test]
async fn weight_and_ring_are_changed_unless_it_is_a_dry_run() {
    let balancer = start().await;
    let before: RingDetails = json(&balancer, &["ring"]).await;
    let dry: RingChange = json(&balancer, &["weight", "Server1", "2", "--dry-run"]).await;
    assert!(dry.dry_run && dry.moved_share > 0.1);
    let said = text(&balancer, &["ring", "--strategy", "maglev", "--dry-run"]).await;
    assert!(
        said.contains("of the keys would move; nothing is changed"),
        "{said}"
    );
    let after: RingDetails = json(&balancer, &["ring"]).await;
    assert_eq!(before, after);

    let replica: ReplicaStatus = json(&balancer, &["weight", "Server1", "2"]).await;
    assert_eq!(replica.weight, 2);
    let factor = ["--balance-factor", "none", "--weight", "Server2=3"];
    let said = text(
        &balancer,
        &[&["ring", "--strategy", "maglev"][..], &factor].concat(),
    )
    .await;
    assert!(
        said.starts_with("maglev: ") && said.contains("no balance factor"),
        "{said}"
    );
    let after: RingDetails = json(&balancer, &["ring"]).await;
    assert_eq!(
        (&*after.ring.strategy, after.ring.balance_factor),
        ("maglev", None)
    );
    let weights: Vec<u32> = after
        .replicas
        .iter()
        .map(|replica| replica.weight)
        .collect();
    assert_eq!(weights, [2, 3, 1]);
}

#[actix_web::test]
async fn scale_has_as_many_replicas_as_it_says() {
    let balancer = start().await;
    let fleet: FleetStatus = json(&balancer, &["scale", "5"]).await;
    assert_eq!(fleet.desired_replicas, 5);
    assert_eq!(balancer.replicas().await.len(), 5);
    text(&balancer, &["drain", "Server1", "Server2"]).await;
    let said = text(&balancer, &["scale", "2"]).await;
    assert!(
        said.starts_with("3 of 5 replicas are removed, drained ones first"),
        "{said}"
    );
    assert!(said.contains("about 33.33 % of the keys move"), "{said}");
    assert!(said.ends_with("2 replicas now, 2 ready\n"), "{said}");
    let left = balancer.replicas().await;
    assert!(
        left.len() == 2 && !left.contains(&"Server1".to_owned()),
        "{left:?}"
    );
    // As many as there are: nothing to say before it.
    assert_eq!(
        text(&balancer, &["scale", "2"]).await,
        "2 replicas now, 2 ready\n"
    );
}

#[actix_web::test]
async fn drained_replica_gets_no_request_until_it_is_undrained() {
    let balancer = start_with(&["--key", "query:user"]).await;
    let owner = async || {
        let why: KeyExplanation = json(&balancer, &["explain", "ada"]).await;
        why.served_by.unwrap()
    };
    let first = owner().await;
    let replica: ReplicaStatus = json(&balancer, &["drain", &first]).await;
    assert_eq!(
        (&*replica.name, replica.state),
        (&*first, ReplicaState::Drained)
    );
    assert_ne!(owner().await, first);
    let table = text(&balancer, &["replicas"]).await;
    let row = table.lines().find(|line| line.starts_with(&first)).unwrap();
    assert!(row.contains(" drained "), "{table}");
    let said = text(&balancer, &["undrain", &first]).await;
    assert_eq!(said, format!("{first} is ready\n"));
    assert_eq!(owner().await, first);
}

#[actix_web::test]
async fn restart_returns_when_the_next_generation_serves() {
    let balancer = start().await;
    let before = balancer.child("Server1");
    let said = text(&balancer, &["restart", "Server1", "Server3"]).await;
    let expected = "Server1 (generation 2) is ready\nServer3 (generation 2) is ready\n";
    assert_eq!(said, expected);
    assert_ne!(balancer.child("Server1"), before);
    let replica: ReplicaStatus = json(&balancer, &["restart", "Server2", "--now"]).await;
    assert_eq!(
        (replica.generation, replica.state),
        (2, ReplicaState::Ready)
    );
    let error = failure(&run(&balancer, &["restart", "Server1", "S9"]).await);
    assert!(error.contains("there is no replica S9"), "{error}");
    let page: ListPage<ReplicaStatus> = json(&balancer, &["replicas"]).await;
    let generations: Vec<u64> = page
        .items
        .iter()
        .map(|replica| replica.generation)
        .collect();
    assert_eq!(generations, [2, 2, 2]);
}

/// `ctl rm` in a terminal, with an answer to its question; the exit code and what is shown.
async fn rm_in_terminal(balancer: &Ringmaster, answer: &str) -> (Option<i32>, String) {
    let admin = balancer.admin_url().await;
    let command = format!("ringmaster ctl --admin {admin} rm Server3");
    let mut process = in_terminal(&command).spawn().unwrap();
    let mut stdin = process.stdin.take().unwrap();
    stdin.write_all(answer.as_bytes()).await.unwrap();
    let output = process.wait_with_output().await.unwrap();
    (
        output.status.code(),
        String::from_utf8_lossy(&output.stdout).into_owned(),
    )
}

#[actix_web::test]
async fn rm_in_a_terminal_asks_and_takes_no_for_an_answer() {
    let balancer = start().await;
    let (code, shown) = rm_in_terminal(&balancer, "n\n").await;
    assert_eq!(code, Some(1), "{shown}");
    assert!(
        shown.contains("of the keys move; 2 replicas left") && shown.contains("Go on? [y/N]"),
        "{shown}"
    );
    assert!(shown.contains("nothing is changed"), "{shown}");
    assert_eq!(balancer.replicas().await.len(), 3);
    let (code, shown) = rm_in_terminal(&balancer, "y\n").await;
    assert_eq!(code, Some(0), "{shown}");
    assert_eq!(balancer.replicas().await, ["Server1", "Server2"]);
}

#[actix_web::test]
async fn drill_heals_as_its_older_name_does() {
    let balancer = start_with(&["--balance-factor", "none"]).await;
    let url = balancer.url("");
    let drilled: Value = json(&balancer, &["drill", "--kill", "Server1", "--url", &url]).await;
    assert_eq!(
        (
            &drilled["failed"],
            &drilled["drills"][0]["generation_after"]
        ),
        (&0.into(), &2.into())
    );
    let status = get(&balancer.url("/home")).await.status;
    assert_eq!(status, StatusCode::OK);
}

#[actix_web::test]
async fn key_is_shown_and_changed() {
    let balancer = start_with(&["--replicas", "1"]).await;
    assert_eq!(text(&balancer, &["key"]).await, "id\n");
    let said = text(&balancer, &["key", "header:X-User"]).await;
    assert_eq!(said, "the key is header:x-user now\n");
    let fleet: FleetStatus = json(&balancer, &["key"]).await;
    assert_eq!(fleet.key, "header:x-user");
    let wrong = run(&balancer, &["key", "moon"]).await;
    assert_eq!(wrong.status.code(), Some(2), "{wrong:?}");
    let said = String::from_utf8_lossy(&wrong.stderr);
    assert!(
        said.contains("moon") && said.contains("header:NAME"),
        "{said}"
    );
}
