//! What is done to containers and images behind the balancer's back.

use awc::http::Method;
use serde_json::{Value, json};

use crate::docker::{TestFleet, docker as cli};
use crate::fleet_fixture::{containers, on_engine, on_the_ring, start};
use crate::support::{Load, Ringmaster, ask, eventually, get};

#[test]
#[ignore = "takes long: make test-full"]
fn launch_error_is_logged_once_and_shown_until_it_is_over() {
    on_engine(|| async {
        let fleet = TestFleet::new();
        let name = fleet.settings.fleet.as_str();
        let image = fleet.settings.image.as_str();
        let args = [
            "--image",
            image,
            "--fleet",
            name,
            "--memory",
            "128m",
            "--replicas",
            "2",
        ];
        let balancer = Ringmaster::start(&[&args[..], &["--admin", "127.0.0.1:0"]].concat());
        on_the_ring(&balancer, "Server1", 1).await;
        on_the_ring(&balancer, "Server2", 1).await;
        let status = balancer.status_url().await;
        let trouble = async || {
            let body = get(&status).await.body;
            body["replicas"][0]["last_error"].clone()
        };
        let load = Load::start(&balancer.url("/home"), 4);
        load.go_on_for(100).await;

        // By hand: the replica's container gets another name, and its own goes to a stranger.
        let (own, elsewhere) = (fleet.container("Server1"), format!("{name}-elsewhere"));
        cli(&["rename", &own, &elsewhere]);
        let label = format!("io.ringmaster.test={name}");
        cli(&["create", "--name", &own, "--label", &label, image]);
        cli(&["kill", &elsewhere]);
        let line = format!("the container name {own} is taken by a container that is not of fleet");
        eventually("it says who is in the way", || async {
            trouble()
                .await
                .as_str()
                .is_some_and(|text| text.contains(&line))
        })
        .await;
        // Tried several times, told once.
        eventually("it has been tried again", || async {
            let body = get(&status).await.body;
            body["replicas"][0]["generation"].as_u64() > Some(3)
        })
        .await;
        assert_eq!(balancer.count_in_log(&line), 1);
        cli(&["rm", "--force", &own]);
        eventually("it is back, and no trouble any more", || async {
            let body = get(&status).await.body;
            body["replicas"][0]["state"] == "ready" && trouble().await == Value::Null
        })
        .await;
        load.go_on_for(100).await;
        assert_eq!(load.stop().await.failures, Vec::<String>::new());
        // What died stays for its log, under the name that it has, and is no stranger.
        let left = [own, fleet.container("Server2"), elsewhere];
        eventually("one dead container is left", || async {
            fleet.containers() == left
        })
        .await;
        let answer = ask(Method::GET, &status, None).await.body;
        assert_eq!(
            answer["runtime"],
            json!({"kind": "docker", "last_error": null})
        );
        let (status, log) = balancer.terminate().await;
        assert!(status.success(), "{log}");
        assert_eq!(fleet.containers(), [""; 0]);
    });
}

#[test]
#[ignore = "takes long: make test-full"]
fn manual_changes_of_containers_are_noticed() {
    on_engine(|| async {
        let fleet = TestFleet::new();
        let balancer = start(&fleet);
        for name in ["Server1", "Server2", "Server3"] {
            on_the_ring(&balancer, name, 1).await;
        }
        let load = Load::start(&balancer.url("/home"), 4);
        load.go_on_for(100).await;
        cli(&["stop", &fleet.container("Server1")]);
        on_the_ring(&balancer, "Server1", 2).await;
        cli(&["rm", "--force", &fleet.container("Server2")]);
        on_the_ring(&balancer, "Server2", 2).await;

        // One that has all that makes a replica joins.
        let (own, image) = (fleet.container("hand"), crate::docker::test_image());
        let name = fleet.settings.fleet.as_str();
        let label = |key: &str, value: &str| format!("--label=io.ringmaster.{key}={value}");
        cli(&[
            "run",
            "--detach",
            &format!("--name={own}"),
            &format!("--network={name}"),
            &label("fleet", name),
            &label("replica", "hand"),
            &label("generation", "4"),
            &label("weight", "2"),
            "--env=PORT=5000",
            "--env=SERVER_ID=hand",
            image,
        ]);
        on_the_ring(&balancer, "hand", 4).await;
        let four = ["Server1", "Server2", "Server3", "hand"];
        assert_eq!(balancer.replicas().await, four);
        // And is like any other: what dies is started again, what is removed is gone.
        cli(&["kill", &own]);
        on_the_ring(&balancer, "hand", 5).await;
        let three = balancer.rm(json!({"n": 1, "hostnames": ["hand"]})).await;
        assert_eq!(three.names(), four[..3]);
        load.go_on_for(100).await;
        assert_eq!(load.stop().await.failures, Vec::<String>::new());
        assert_eq!(containers(&fleet).len(), 3);
    });
}
