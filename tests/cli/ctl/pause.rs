//! `ctl pause` and `ctl resume`.

use ringmaster::api::FleetStatus;

use super::{failure, json, run, start_with, text};
use crate::support::{eventually, get};

#[actix_web::test]
async fn fleet_is_paused_and_resumed() {
    let balancer = start_with(&[]).await;
    let said = text(&balancer, &["pause", "--for", "20s"]).await;
    assert!(said.starts_with("paused for "), "{said}");
    assert!(
        said.ends_with("more at the most: 0 requests in flight, 0 waiting\n"),
        "{said}"
    );
    let status = text(&balancer, &["status"]).await;
    assert!(status.contains("Pause"), "{status}");
    let resumed: FleetStatus = json(&balancer, &["resume"]).await;
    assert_eq!(resumed.pause, None);
    let error = failure(&run(&balancer, &["resume"]).await);
    assert!(error.contains("the fleet is not paused"), "{error}");
    let error = failure(&run(&balancer, &["pause", "--for", "1m"]).await);
    assert!(
        error.contains("a pause may last for 30 s (--max-pause)"),
        "{error}"
    );
}

#[actix_web::test]
async fn pause_that_the_fleet_does_not_drain_for_fails_and_says_so() {
    let balancer = start_with(&["--drain-timeout", "100ms"]).await;
    let url = balancer.url("/slow?ms=3000");
    let slow = actix_web::rt::spawn(async move { get(&url).await });
    let fleet = balancer.status_url().await;
    eventually("it is in flight", || async {
        let replicas = get(&format!("{fleet}/replicas")).await.body["items"].clone();
        replicas
            .as_array()
            .unwrap()
            .iter()
            .any(|r| r["in_flight"] == 1)
    })
    .await;
    let output = run(&balancer, &["pause"]).await;
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(
        error.contains("still in flight after --drain-timeout"),
        "{error}"
    );
    text(&balancer, &["resume"]).await;
    assert_eq!(slow.await.unwrap().status, 200);
}
