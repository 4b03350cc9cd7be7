//! Rollouts of containers on a real engine, under load.

use awc::http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::docker::{TestFleet, docker as cli, inspect, quietly};
use crate::fleet_fixture::{all_are_ready, on_engine, start_with};
use crate::support::{Load, Reply, Ringmaster, ask, eventually, get, signal};

pub const THREE: [&str; 3] = ["Server1", "Server2", "Server3"];

/// An image made from the test's with this change; removed when this is dropped.
pub struct Derived(pub String);

impl Derived {
    pub fn new(fleet: &TestFleet, change: &str) -> Self {
        let name = format!("{}-image", fleet.settings.fleet);
        let label = format!("io.ringmaster.fleet={}", fleet.settings.fleet);
        let container = cli(&["create", "--label", &label, &fleet.settings.image]);
        cli(&["commit", "--change", change, &container, &name]);
        cli(&["rm", &container]);
        Self(name)
    }
}

impl Drop for Derived {
    fn drop(&mut self) {
        quietly(&["rmi", "-f", &self.0]);
    }
}

pub async fn rollouts(balancer: &Ringmaster) -> String {
    format!("{}/rollouts", balancer.status_url().await)
}

pub async fn roll_out(balancer: &Ringmaster, new: Value) -> Reply {
    ask(Method::POST, &rollouts(balancer).await, Some(new)).await
}

pub async fn begin(balancer: &Ringmaster, new: Value) -> u64 {
    let begun = roll_out(balancer, new).await;
    assert_eq!(begun.status, StatusCode::CREATED, "{:?}", begun.body);
    begun.body["id"].as_u64().unwrap()
}

pub async fn comes_to(balancer: &Ringmaster, id: u64, state: &str) -> Value {
    let url = format!("{}/{id}", rollouts(balancer).await);
    eventually(&format!("rollout {id} is {state}"), || async {
        get(&url).await.body["state"] == state
    })
    .await;
    get(&url).await.body
}

/// Waits until the fleet has these containers alone, and those of the last deaths, which are kept.
pub async fn only_plain_names_are_left(fleet: &TestFleet) {
    eventually("old containers are gone", || async {
        let mut names = fleet.containers();
        names.retain(|name| !name.contains("-dead-"));
        names.sort();
        let expected = THREE.map(|name| fleet.container(name));
        names == expected
    })
    .await;
}

fn images(fleet: &TestFleet) -> Vec<String> {
    let of = |name: &str| inspect(&fleet.container(name))["Config"]["Image"].to_string();
    THREE.map(of).to_vec()
}

#[test]
#[ignore = "takes long: make test-full"]
fn another_image_is_rolled_out_undone_and_rolled_back_without_losing_a_request() {
    on_engine(|| async {
        let fleet = TestFleet::new();
        let image = Derived::new(&fleet, "ENV COLOUR=blue");
        let broken = ["--rollout-monitor", "500ms", "--start-timeout", "15s"];
        let balancer = start_with(&fleet, &broken);
        all_are_ready(&balancer, &THREE).await;
        let load = Load::start(&balancer.url("/home"), 4);
        load.go_on_for(50).await;

        let id = begin(&balancer, json!({"image": image.0})).await;
        let done = comes_to(&balancer, id, "done").await;
        assert_eq!(done["reason"], Value::Null, "{done}");
        only_plain_names_are_left(&fleet).await;
        assert_eq!(images(&fleet), vec![format!("{:?}", image.0); 3]);
        load.go_on_for(50).await;
        // What dies is healed with the new image.
        cli(&["kill", &fleet.container("Server2")]);
        eventually("it is healed", || async {
            balancer.count_in_log("Server2 (generation 3) is ready at") == 1
        })
        .await;
        assert_eq!(images(&fleet), vec![format!("{:?}", image.0); 3]);

        // A version that ends at once changes nothing.
        let id = begin(&balancer, json!({"command": ["/no-such-program"]})).await;
        comes_to(&balancer, id, "rolled_back").await;
        assert_eq!(images(&fleet), vec![format!("{:?}", image.0); 3]);
        // An image that nobody has is refused.
        let missing = roll_out(&balancer, json!({"image": "127.0.0.1:9/no-such-image:1"})).await;
        assert_eq!(
            missing.status,
            StatusCode::UNPROCESSABLE_ENTITY,
            "{:?}",
            missing.body
        );
        assert_eq!(missing.body["type"], "/api/problems/cannot-roll-out");

        let url = format!("{}/1/undo", rollouts(&balancer).await);
        let undone = ask(Method::POST, &url, None).await;
        let id = undone.body["id"].as_u64().unwrap();
        comes_to(&balancer, id, "done").await;
        let before = format!("{:?}", fleet.settings.image);
        assert_eq!(images(&fleet), vec![before; 3]);
        only_plain_names_are_left(&fleet).await;
        load.go_on_for(50).await;
        assert_eq!(load.stop().await.failures, Vec::<String>::new());
    });
}

#[test]
#[ignore = "takes long: make test-full"]
fn rollout_of_containers_goes_on_when_the_balancer_is_back() {
    on_engine(|| async {
        let fleet = TestFleet::new();
        let balancer = start_with(&fleet, &["--rollout-monitor", "1s"]);
        all_are_ready(&balancer, &THREE).await;
        let id = begin(&balancer, json!({"env": {"COLOUR": "blue"}})).await;
        let url = format!("{}/{id}", rollouts(&balancer).await);
        eventually("one is done", || async {
            get(&url).await.body["done"] != 0
        })
        .await;
        signal(balancer.pid(), "KILL");
        drop(balancer);
        let balancer = start_with(&fleet, &["--rollout-monitor", "100ms"]);
        comes_to(&balancer, id, "done").await;
        only_plain_names_are_left(&fleet).await;
        for name in THREE {
            let env = inspect(&fleet.container(name))["Config"]["Env"].to_string();
            assert!(env.contains("COLOUR=blue"), "{name}: {env}");
        }
        all_are_ready(&balancer, &THREE).await;
        // The one that had been replaced before the kill is no exception.
        let status = get(&balancer.status_url().await).await.body;
        for replica in status["replicas"].as_array().unwrap() {
            assert_eq!(replica["outdated"], false, "{status}");
        }

        // Balancers that share the fleet would start what is stopped first. One that finds the rollout under
        // way would refuse for that.
        crate::flags_rollouts::end_is_recorded(&fleet, id).await;
        let other = start_with(&fleet, &["--rollout-order", "stop-first"]);
        all_are_ready(&other, &THREE).await;
        let refused = roll_out(&other, json!({"env": {"COLOUR": "red"}})).await;
        assert_eq!(refused.body["type"], "/api/problems/cannot-roll-out");
        let detail = refused.body["detail"].as_str().unwrap();
        assert!(detail.contains("other balancers"), "{detail}");
    });
}
