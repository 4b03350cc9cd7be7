//! Replicas that are drained, restarted and drilled on request: containers on a real engine, of balancers
//! that share a fleet.

use awc::http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::docker::{TestFleet, docker as cli};
use crate::fleet_fixture::{all_are_ready, on_engine, start};
use crate::support::{Load, Ringmaster, ask, eventually, get, signal};

const THREE: [&str; 3] = ["Server1", "Server2", "Server3"];

async fn set_state(balancer: &Ringmaster, name: &str, state: &str) -> Value {
    let url = format!("{}/replicas/{name}", balancer.status_url().await);
    let reply = ask(Method::PATCH, &url, Some(json!({ "state": state }))).await;
    assert_eq!(reply.status, StatusCode::OK, "{:?}", reply.body);
    reply.body
}

async fn restart(balancer: &Ringmaster, name: &str) -> Value {
    let url = format!("{}/replicas/{name}/restart", balancer.status_url().await);
    let reply = ask(Method::POST, &url, None).await;
    assert_eq!(reply.status, StatusCode::OK, "{:?}", reply.body);
    reply.body
}

async fn has_state(balancer: &Ringmaster, name: &str, state: &str) {
    let url = format!("{}/replicas/{name}", balancer.status_url().await);
    eventually(&format!("{name} is {state}"), || async {
        get(&url).await.body["state"] == state
    })
    .await;
}

#[test]
fn container_is_drained_restarted_and_drilled_without_losing_a_request() {
    on_engine(|| async {
        let fleet = TestFleet::new();
        let balancer = start(&fleet);
        all_are_ready(&balancer, &THREE).await;
        let load = Load::start(&balancer.url("/home"), 4);
        load.go_on_for(50).await;
        let restarted = restart(&balancer, "Server2").await;
        assert_eq!(restarted["state"], "ready");
        assert_eq!(restarted["generation"], 2);
        load.go_on_for(50).await;
        assert_eq!(
            set_state(&balancer, "Server2", "drained").await["state"],
            "drained"
        );
        load.go_on_for(50).await;
        let restarted = restart(&balancer, "Server2").await;
        assert_eq!(restarted["state"], "drained");
        assert_eq!(restarted["generation"], 3);
        cli(&["kill", &fleet.container("Server2")]);
        eventually("it is healed", || async {
            balancer.count_in_log("Server2 (generation 4) is ready, and stays drained") == 1
        })
        .await;
        assert_eq!(
            set_state(&balancer, "Server2", "active").await["state"],
            "ready"
        );
        for fault in [
            json!({"fault": "kill"}),
            json!({"fault": "pause", "for": "1s"}),
        ] {
            let drills = format!("{}/drills", balancer.status_url().await);
            let drill = ask(Method::POST, &drills, Some(fault)).await.body;
            assert_eq!(drill["state"], "recovered", "{drill}");
        }
        load.go_on_for(50).await;
        assert_eq!(load.stop().await.failures, Vec::<String>::new());
    });
}

#[test]
fn drained_state_holds_for_every_balancer_of_a_fleet_and_for_the_next() {
    on_engine(|| async {
        let fleet = TestFleet::new();
        let one = start(&fleet);
        all_are_ready(&one, &THREE).await;
        let other = start(&fleet);
        all_are_ready(&other, &THREE).await;
        set_state(&one, "Server1", "drained").await;
        has_state(&other, "Server1", "drained").await;
        set_state(&other, "Server2", "drained").await;
        has_state(&one, "Server2", "drained").await;
        has_state(&one, "Server1", "drained").await;
        set_state(&other, "Server1", "active").await;
        has_state(&one, "Server1", "ready").await;
        for balancer in [&one, &other] {
            signal(balancer.pid(), "KILL");
        }
        drop((one, other));
        let next = start(&fleet);
        has_state(&next, "Server2", "drained").await;
        has_state(&next, "Server1", "ready").await;
    });
}

#[test]
fn restart_in_a_shared_fleet_loses_no_request_of_either_balancer() {
    on_engine(|| async {
        let fleet = TestFleet::new();
        let one = start(&fleet);
        all_are_ready(&one, &THREE).await;
        let other = start(&fleet);
        all_are_ready(&other, &THREE).await;
        let loads = [&one, &other].map(|balancer| Load::start(&balancer.url("/home"), 4));
        for load in &loads {
            load.go_on_for(50).await;
        }
        let restarted = restart(&one, "Server2").await;
        let generation = restarted["generation"].as_u64().unwrap();
        assert!(generation > 1, "{restarted}");
        let url = format!("{}/replicas/Server2", other.status_url().await);
        eventually("the other has it", || async {
            let server2 = get(&url).await.body;
            server2["state"] == "ready" && server2["generation"] == generation
        })
        .await;
        for load in loads {
            load.go_on_for(50).await;
            assert_eq!(load.stop().await.failures, Vec::<String>::new());
        }
    });
}
