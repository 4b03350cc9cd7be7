//! `--target-in-flight`: as many replicas as the load needs.

use futures::future::join_all;

use crate::support::{Load, Ringmaster, eventually, get, signal};

const SCALED: [&str; 10] = [
    "--replicas",
    "1",
    "--target-in-flight",
    "4",
    "--max-replicas",
    "3",
    "--scale-down-after",
    "3s",
    "--stop-grace",
    "1s",
];

#[actix_web::test]
async fn replicas_follow_the_load_without_a_failed_request() {
    let balancer = Ringmaster::ready(&SCALED).await;
    let load = Load::start(&balancer.url("/slow?ms=200"), 12);
    eventually("as many replicas as the load needs", || async {
        balancer.replicas().await == ["Server1", "Server2", "Server3"]
    })
    .await;
    load.go_on_for(100).await;
    let result = load.stop().await;
    assert_eq!(result.failures, Vec::<String>::new());
    let load = Load::start(&balancer.url("/home"), 1);
    eventually("the newest are gone", || async {
        balancer.replicas().await == ["Server1"]
    })
    .await;
    let result = load.stop().await;
    assert_eq!(result.failures, Vec::<String>::new());
    assert!(
        balancer
            .log()
            .contains("scaling: 1 to 3 replicas, for 4 requests in flight in each")
    );
    // What died while it was there came back, and a log line is written only for a change.
    assert!(
        balancer.count_in_log("scaling: from") <= 4,
        "{}",
        balancer.log()
    );
}

#[actix_web::test]
async fn idle_fleet_has_no_replica_and_its_next_request_waits_for_the_first() {
    let zero = [
        "--replicas",
        "2",
        "--target-in-flight",
        "4",
        "--max-replicas",
        "3",
        "--min-replicas",
        "0",
        "--idle-timeout-to-zero",
        "1s",
        "--wait-timeout",
        "20s",
        "--admin",
        "127.0.0.1:0",
    ];
    let balancer = Ringmaster::ready(&zero).await;
    for round in 0..2 {
        eventually("none is left", || async {
            balancer.replicas().await.is_empty()
        })
        .await;
        eventually("none runs", || async { balancer.children().is_empty() }).await;
        let fleet = get(&balancer.status_url().await).await.body;
        let last = &fleet["scaling"]["last_decision"];
        assert_eq!(last["to"], 0, "{fleet}");
        let reason = last["reason"].as_str().unwrap();
        assert!(reason.starts_with("no request for "), "{reason}");
        assert_eq!(fleet["desired_replicas"], 0);
        // One, then many at once.
        let url = balancer.url("/home");
        let answers = join_all((0..=round * 30).map(|_| get(&url))).await;
        assert!(answers.iter().all(|answer| answer.status == 200));
        let replicas = balancer.replicas().await;
        assert_eq!(replicas[0], "Server1", "{replicas:?}");
    }
    let log = balancer.log();
    assert!(
        log.contains("scaling: from 2 to 0 replicas, after no request for"),
        "{log}"
    );
    assert!(
        log.contains("scaling: from 0 to 1 replicas, for 1 requests in flight"),
        "{log}"
    );
}

#[actix_web::test]
async fn more_replicas_do_not_take_the_place_of_those_that_are_down() {
    let health = [
        "--heartbeat-interval",
        "100ms",
        "--hang-timeout",
        "1s",
        "--wait-timeout",
        "20s",
    ];
    let args = [&["--replicas", "2"], &SCALED[2..], &health].concat();
    let balancer = Ringmaster::ready(&args).await;
    for name in ["Server1", "Server2"] {
        signal(balancer.child(name), "STOP");
        let hung = format!("{name} (generation 1) is evicted");
        eventually("it hangs", || async { balancer.log().contains(&hung) }).await;
    }
    // These wait until one is replaced.
    let url = balancer.url("/home");
    let answers = join_all((0..40).map(|_| get(&url))).await;
    assert!(answers.iter().all(|answer| answer.status == 200));
    eventually("both are replaced", || async {
        balancer.count_in_log("(generation 2) is ready at") == 2
    })
    .await;
    assert_eq!(balancer.replicas().await, ["Server1", "Server2"]);
    assert_eq!(
        balancer.count_in_log("scaling: from"),
        0,
        "{}",
        balancer.log()
    );
}
