//! Balancers that share a fleet.

use awc::http::{Method, StatusCode};
use serde_json::json;

use crate::docker::{TestFleet, docker as cli};
use crate::fleet_fixture::{
    THREE, Witness, all_are_ready, back_on_the_ring, containers, has_variable, on_engine,
    on_the_ring, record, route_alike, start, start_two, start_with, status,
};
use crate::support::{Load, Ringmaster, ask, eventually, get, signal};

#[test]
fn two_balancers_share_a_fleet_and_start_each_replica_once() {
    on_engine(|| async {
        let fleet = TestFleet::new();
        let witness = Witness::of(&fleet);
        let (one, other) = start_two(&fleet);
        for name in ["Server1", "Server2", "Server3"] {
            on_the_ring(&one, name, 1).await;
            on_the_ring(&other, name, 1).await;
        }
        route_alike(&one, &other).await;
        let begun = containers(&fleet);
        assert_eq!(begun.len(), 3, "{begun:?}");
        eventually("the starts are told", || async {
            witness.count("start") >= 3
        })
        .await;
        assert_eq!(witness.count("start"), 3);

        // A maintenance is every balancer's.
        let maintenance = format!("{}/maintenance", one.status_url().await);
        for (method, status) in [(Method::PUT, 503), (Method::DELETE, 200)] {
            let answer = ask(method, &maintenance, Some(json!({}))).await;
            assert_eq!(answer.status, StatusCode::OK, "{:?}", answer.body);
            for balancer in [&one, &other] {
                eventually("it follows", || async {
                    get(&balancer.url("/home")).await.status == status
                })
                .await;
            }
        }

        let loads = [&one, &other].map(|balancer| Load::start(&balancer.url("/home"), 4));
        for load in &loads {
            load.go_on_for(100).await;
        }
        // One dies: one of the two starts it again, and both have it.
        cli(&["kill", &fleet.container("Server1")]);
        back_on_the_ring(&one, "Server1").await;
        back_on_the_ring(&other, "Server1").await;
        let healed = containers(&fleet);
        assert_eq!(
            (&healed["Server2"], &healed["Server3"]),
            (&begun["Server2"], &begun["Server3"])
        );

        // Only this one would hold its requests.
        let pause = format!("{}/pause", one.status_url().await);
        let refused = ask(Method::POST, &pause, Some(json!({}))).await;
        assert_eq!(refused.status, StatusCode::CONFLICT, "{:?}", refused.body);
        assert_eq!(refused.body["type"], "/api/problems/shared-fleet");

        // One is added through the one, and removed through the other.
        let heavy = json!({"n": 1, "hostnames": ["heavy"], "weights": {"heavy": 3}});
        let four = one.add(heavy).await.names();
        on_the_ring(&other, "heavy", 1).await;
        assert_eq!(other.replicas().await, four);
        route_alike(&one, &other).await;
        let three = other.rm(json!({"n": 1, "hostnames": ["heavy"]})).await;
        let three = three.names();
        eventually("the other knows", || async {
            one.replicas().await == three
        })
        .await;
        route_alike(&one, &other).await;

        for load in loads {
            load.go_on_for(100).await;
            assert_eq!(load.stop().await.failures, Vec::<String>::new());
        }
        assert_eq!(containers(&fleet), healed);
        // What was killed by hand, and what was removed.
        eventually("both ends are told", || async { witness.count("die") == 2 }).await;
        assert_eq!(witness.count("start"), 5);
        for balancer in [&one, &other] {
            let log = balancer.log();
            assert!(!log.contains("cannot start"), "{log}");
        }
    });
}

#[test]
fn stopped_balancer_leaves_the_replicas_until_the_last_one_stops() {
    on_engine(|| async {
        let fleet = TestFleet::new();
        let (one, other) = start_two(&fleet);
        for name in ["Server1", "Server2", "Server3"] {
            on_the_ring(&one, name, 1).await;
            on_the_ring(&other, name, 1).await;
        }
        let before = containers(&fleet);
        let load = Load::start(&other.url("/home"), 8);
        load.go_on_for(100).await;
        let (status, log) = one.terminate().await;
        assert!(status.success(), "{log}");
        assert_eq!(fleet.records().len(), 1);
        load.go_on_for(100).await;
        // One that was killed is not taken for one that is there.
        let third = start(&fleet);
        on_the_ring(&third, "Server1", 1).await;
        drop(third);
        assert_eq!(load.stop().await.failures, Vec::<String>::new());
        assert_eq!(containers(&fleet), before);
        assert_eq!(fleet.containers().len(), 3);

        let (status, log) = other.terminate().await;
        assert!(status.success(), "{log}");
        assert_eq!(fleet.containers(), [""; 0]);
        assert_eq!(fleet.records(), [""; 0]);
        assert!(!fleet.network_exists());
    });
}

#[test]
fn joining_with_other_flags_adopts_the_record() {
    on_engine(|| async {
        let fleet = TestFleet::new();
        let one = start(&fleet);
        all_are_ready(&one, &THREE).await;
        let before = (containers(&fleet), record(&fleet));
        let flags = [
            "--replicas",
            "5",
            "--env",
            "COLOUR=blue",
            "--strategy",
            "maglev",
        ];
        let other = start_with(&fleet, &flags);
        all_are_ready(&other, &THREE).await;
        let words = "definition differs: env: COLOUR is new; replicas 3 -> 5; strategy ";
        assert_eq!(other.count_in_log(words), 1, "{}", other.log());
        let fleet_status = status(&other).await["record"].clone();
        assert_eq!(fleet_status["drift"]["in_effect"], "record");
        assert_eq!((containers(&fleet), record(&fleet)), before);
        route_alike(&one, &other).await;

        // It heals by the record, too.
        signal(one.pid(), "KILL");
        drop(one);
        cli(&["kill", &fleet.container("Server1")]);
        on_the_ring(&other, "Server1", 2).await;
        assert!(!has_variable(&fleet, "Server1", "COLOUR=blue"));
    });
}

#[test]
fn balancers_without_a_fleet_name_share_nothing() {
    on_engine(|| async {
        let image = crate::docker::test_image();
        let start = || {
            let args = ["--image", image, "--memory", "128m", "--replicas", "1"];
            Ringmaster::start(&[&args[..], &["--admin", "127.0.0.1:0"]].concat())
        };
        let mut fleets = Vec::new();
        for balancer in [start(), start()] {
            all_are_ready(&balancer, &["Server1"]).await;
            let container = status(&balancer).await["replicas"][0]["container"].to_string();
            let port = balancer.address().rsplit(':').next().unwrap().to_owned();
            assert_eq!(container, format!("\"ringmaster-{port}-Server1\""));
            fleets.push(container);
            let (status, log) = balancer.terminate().await;
            assert!(status.success(), "{log}");
        }
        assert_ne!(fleets[0], fleets[1]);
    });
}

#[test]
fn key_and_drained_states_hold_for_every_balancer_of_the_fleet() {
    on_engine(|| async {
        let fleet = TestFleet::new();
        let (one, other) = start_two(&fleet);
        for name in THREE {
            on_the_ring(&one, name, 1).await;
            on_the_ring(&other, name, 1).await;
        }
        let (here, there) = (one.status_url().await, other.status_url().await);
        let replica = format!("{here}/replicas/Server2");
        for (url, body, seen) in [
            (&here, json!({"key": "path"}), "/key"),
            (&replica, json!({"state": "drained"}), "/replicas/1/drained"),
        ] {
            let before = get(&there).await;
            let changed = ask(Method::PATCH, url, Some(body)).await;
            assert_eq!(changed.status, StatusCode::OK, "{:?}", changed.body);
            let was = before.body.pointer(seen);
            eventually("the other balancer follows", || async {
                get(&there).await.body.pointer(seen) != was
            })
            .await;
            // It is another configuration there, too.
            let after = get(&there).await;
            assert_ne!(after.header("etag"), before.header("etag"), "{seen}");
        }
        assert_eq!(get(&there).await.body["key"], "path");
    });
}
