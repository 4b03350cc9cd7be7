//! A canary of containers on a real engine, under load.

use awc::http::{Method, StatusCode};
use serde_json::json;

use crate::docker::{TestFleet, docker as cli, inspect};
use crate::fleet_fixture::{all_are_ready, on_engine, start_with};
use crate::rollouts::{THREE, begin, comes_to, only_plain_names_are_left, roll_out, rollouts};
use crate::support::{Load, ask, eventually, get, signal};

#[test]
#[ignore = "takes long: make test-full"]
fn canary_of_containers_is_healed_undone_and_promoted_without_losing_a_request() {
    on_engine(|| async {
        let fleet = TestFleet::new();
        let balancer = start_with(&fleet, &["--rollout-monitor", "100ms"]);
        all_are_ready(&balancer, &THREE).await;
        let load = Load::start(&balancer.url("/home"), 4);
        load.go_on_for(50).await;
        let container = |generation: u32| {
            let name = format!("canary-1-extra-{generation}");
            fleet.container(&name)
        };

        let new = json!({"env": {"COLOUR": "blue"}, "canary": "50%"});
        let id = begin(&balancer, new.clone()).await;
        comes_to(&balancer, id, "canary").await;
        // Half of three replicas are two.
        let env = inspect(&container(1))["Config"]["Env"].to_string();
        assert!(env.contains("COLOUR=blue"), "{env}");
        assert_eq!(fleet.containers().len(), 5);
        assert_eq!(balancer.replicas().await, THREE);
        load.go_on_for(50).await;
        cli(&["kill", &container(1)]);
        balancer
            .has_logged("canary-1 (generation 2) is ready at", 1)
            .await;
        load.go_on_for(50).await;
        let url = format!("{}/{id}", rollouts(&balancer).await);
        let canary = get(&url).await.body["canary"].clone();
        assert!(
            canary["served"]["requests"].as_u64().unwrap() > 10,
            "{canary}"
        );
        ask(Method::POST, &format!("{url}/undo"), None).await;
        comes_to(&balancer, id, "rolled_back").await;
        only_plain_names_are_left(&fleet).await;
        assert_eq!(fleet.containers().len(), 3);
        load.go_on_for(50).await;

        let id = begin(&balancer, new).await;
        comes_to(&balancer, id, "canary").await;
        load.go_on_for(50).await;
        let url = format!("{}/{id}/promote", rollouts(&balancer).await);
        let promoted = ask(Method::POST, &url, None).await;
        assert_eq!(promoted.status, StatusCode::OK, "{:?}", promoted.body);
        comes_to(&balancer, id, "done").await;
        only_plain_names_are_left(&fleet).await;
        for name in THREE {
            let env = inspect(&fleet.container(name))["Config"]["Env"].to_string();
            assert!(env.contains("COLOUR=blue"), "{name}: {env}");
        }
        load.go_on_for(50).await;
        assert_eq!(load.stop().await.failures, Vec::<String>::new());
    });
}

#[test]
fn canary_of_a_balancer_that_was_killed_is_started_anew_or_removed() {
    on_engine(|| async {
        let fleet = TestFleet::new();
        let balancer = start_with(&fleet, &[]);
        all_are_ready(&balancer, &THREE).await;
        let id = begin(
            &balancer,
            json!({"env": {"COLOUR": "blue"}, "canary": "10%"}),
        )
        .await;
        comes_to(&balancer, id, "canary").await;
        let name = fleet.container("canary-1-extra-1");
        let before = inspect(&name)["Id"].clone();
        signal(balancer.pid(), "KILL");
        drop(balancer);

        let balancer = start_with(&fleet, &[]);
        balancer
            .has_logged("rollout 1 goes on with its canary", 1)
            .await;
        let url = format!("{}/{id}", rollouts(&balancer).await);
        eventually("it is ready", || async {
            get(&url).await.body["canary"]["instances"][0]["ready"] == true
        })
        .await;
        assert_ne!(inspect(&name)["Id"], before);
        assert_eq!(balancer.replicas().await, THREE);
        signal(balancer.pid(), "KILL");
        drop(balancer);

        // Other flags end the rollout, and the canary with it, and begin one of their own.
        let balancer = start_with(&fleet, &["--env", "COLOUR=red", "--rollout-monitor", "0s"]);
        comes_to(&balancer, id + 1, "done").await;
        all_are_ready(&balancer, &THREE).await;
        only_plain_names_are_left(&fleet).await;
        assert_eq!(balancer.replicas().await, THREE);
        // Another balancer would not follow.
        let other = start_with(&fleet, &["--env", "COLOUR=red"]);
        all_are_ready(&other, &THREE).await;
        let refused = roll_out(&balancer, json!({"env": {"A": "1"}, "canary": "10%"})).await;
        assert_eq!(refused.body["type"], "/api/problems/cannot-roll-out");
    });
}
