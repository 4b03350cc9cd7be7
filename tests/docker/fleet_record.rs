//! The fleet record on the engine: balancers that die and come back, with the same flags and others.

use awc::http::Method;
use serde_json::{Value, json};

use crate::docker::{TestFleet, docker as cli};
use crate::fleet_fixture::{
    THREE, Witness, all_are_ready, containers, has_variable, mapping, on_engine, on_the_ring,
    record, routes_as, start, start_two, start_with, status, weights,
};
use crate::support::{Load, Ringmaster, ask, eventually, signal};

#[test]
#[ignore = "takes long: make test-full"]
fn killed_balancer_restarts_under_load_with_its_fleet() {
    on_engine(|| async {
        let fleet = TestFleet::new();
        let witness = Witness::of(&fleet);
        let first = start(&fleet);
        for name in ["Server1", "Server2", "Server3"] {
            on_the_ring(&first, name, 1).await;
        }
        let heavy = json!({"n": 1, "hostnames": ["heavy"], "weights": {"heavy": 3}});
        let names = first.add(heavy).await.names();
        // Not all of the same generation.
        cli(&["kill", &fleet.container("Server1")]);
        // Unlike the log, the history tells of it when every worker thread has it.
        first.event_of("Server1", 2, "ready").await;
        let keys = mapping(&first).await;
        let before = containers(&fleet);
        eventually("the starts are told", || async {
            witness.count("start") >= 5
        })
        .await;
        let begun = witness.count("start");

        // Its clients lose their connections; no others lose anything.
        let load = Load::start(&first.url("/home"), 8);
        load.go_on_for(100).await;
        signal(first.pid(), "KILL");
        load.stop().await;
        drop(first);
        // One dies while no balancer runs.
        cli(&["kill", &fleet.container("Server3")]);

        let second = start(&fleet);
        let load = Load::start(&second.url("/home"), 8);
        on_the_ring(&second, "Server1", 2).await;
        on_the_ring(&second, "Server2", 1).await;
        on_the_ring(&second, "heavy", 1).await;
        on_the_ring(&second, "Server3", 2).await;
        load.go_on_for(100).await;
        assert_eq!(load.stop().await.failures, Vec::<String>::new());
        assert_eq!(second.replicas().await, names);
        routes_as(&second, &keys).await;
        let mut after = containers(&fleet);
        assert_ne!(after.remove("Server3"), before.get("Server3").cloned());
        let mut same = before.clone();
        same.remove("Server3");
        assert_eq!(after, same);
        eventually("its start is told", || async {
            witness.count("start") > begun
        })
        .await;
        assert_eq!(witness.count("start"), begun + 1);
    });
}

#[test]
#[ignore = "takes long: make test-full"]
fn restart_restores_missing_replicas_and_keeps_requested_changes() {
    on_engine(|| async {
        let fleet = TestFleet::new();
        let first = start(&fleet);
        all_are_ready(&first, &THREE).await;
        first
            .add(json!({"n": 1, "hostnames": ["heavy"], "weights": {"heavy": 3}}))
            .await
            .names();
        first
            .rm(json!({"n": 1, "hostnames": ["Server2"]}))
            .await
            .names();
        let admin = format!("{}/ring", first.status_url().await);
        let patch = json!({"strategy": "maglev", "balance_factor": 1.5, "weights": {"Server1": 2}});
        let patched = ask(Method::PATCH, &admin, Some(patch)).await;
        assert_eq!(patched.status, 200, "{:?}", patched.body);
        let keys = mapping(&first).await;
        let before = record(&fleet);
        assert_eq!(status(&first).await["record"]["version"], before["version"]);

        // Acknowledged is written: it is killed at once, and all but one container removed.
        signal(first.pid(), "KILL");
        drop(first);
        for name in ["Server3", "heavy"] {
            cli(&["rm", "--force", &fleet.container(name)]);
        }
        let second = start(&fleet);
        all_are_ready(&second, &["Server1", "Server3", "heavy"]).await;
        let expected = [("Server1", 2), ("Server3", 1), ("heavy", 3)];
        let expected = expected
            .map(|(name, weight)| (name.to_owned(), weight))
            .into();
        assert_eq!(weights(&second).await, expected);
        let status = status(&second).await;
        assert_eq!(status["ring"]["strategy"], "maglev");
        assert_eq!(status["ring"]["balance_factor"], 1.5);
        assert_eq!(status["record"]["drift"], Value::Null);
        routes_as(&second, &keys).await;
        assert_eq!(record(&fleet), before);
        assert!(
            !second.log().contains("flags have changed"),
            "{}",
            second.log()
        );
    });
}

#[test]
#[ignore = "takes long: make test-full"]
fn restart_with_changed_flags_starts_what_is_missing_and_rolls_out_the_definition() {
    on_engine(|| async {
        let fleet = TestFleet::new();
        let first = start(&fleet);
        all_are_ready(&first, &THREE).await;
        signal(first.pid(), "KILL");
        drop(first);
        cli(&["rm", "--force", &fleet.container("Server3")]);

        let flags = [
            "--replicas",
            "4",
            "--env",
            "COLOUR=blue",
            "--rollout-monitor",
            "0s",
        ];
        let second = start_with(&fleet, &flags);
        let words = "env: COLOUR is new; replicas 3 -> 4; what runs serves on";
        second.has_logged(words, 1).await;
        crate::rollouts::comes_to(&second, 1, "done").await;
        let four = ["Server1", "Server2", "Server3", "Server4"];
        all_are_ready(&second, &four).await;
        eventually("old containers are gone", || async {
            fleet.containers().len() == four.len()
        })
        .await;
        for name in four {
            assert!(has_variable(&fleet, name, "COLOUR=blue"));
        }
        assert_eq!(status(&second).await["record"]["drift"], Value::Null);
    });
}

#[test]
#[ignore = "takes long: make test-full"]
fn record_is_one_and_is_written_again_when_removed() {
    on_engine(|| async {
        let fleet = TestFleet::new();
        let (one, other) = start_two(&fleet);
        all_are_ready(&one, &THREE).await;
        all_are_ready(&other, &THREE).await;
        let add = async |balancer: &Ringmaster, names: [&str; 2]| {
            for name in names {
                balancer
                    .add(json!({"n": 1, "hostnames": [name]}))
                    .await
                    .names();
            }
        };
        futures::join!(add(&one, ["a1", "a2"]), add(&other, ["b1", "b2"]));
        one.rm(json!({"n": 1, "hostnames": ["Server2"]}))
            .await
            .names();
        let all = ["Server1", "Server3", "a1", "a2", "b1", "b2"];
        all_are_ready(&one, &all).await;
        all_are_ready(&other, &all).await;
        let names = |record: &Value| {
            let replicas = record["replicas"].as_array().unwrap().iter();
            let mut names: Vec<_> = replicas.map(|r| r["name"].to_string()).collect();
            names.sort();
            names
        };
        let quoted = all.map(|name| format!("\"{name}\""));
        eventually("the record is settled", || async {
            fleet.records().len() == 1
        })
        .await;
        assert_eq!(names(&record(&fleet)), quoted);

        // By hand, while they run: one of them writes it again.
        let removed = fleet.records().remove(0);
        cli(&["rm", &removed]);
        eventually("the record is back", || async {
            fleet.records().len() == 1
        })
        .await;
        assert_eq!(names(&record(&fleet)), quoted);
        let line = "the fleet record was removed by hand or by another program";
        let told = || one.count_in_log(line) + other.count_in_log(line);
        eventually("it is told", || async { told() > 0 }).await;
        assert_eq!(told(), 1);

        // And while none runs: rebuilt from what does.
        for balancer in [one, other] {
            signal(balancer.pid(), "KILL");
        }
        cli(&["rm", &fleet.records().remove(0)]);
        cli(&["rm", "--force", &fleet.container("b2")]);
        let third = start(&fleet);
        all_are_ready(&third, &all[..5]).await;
        assert_eq!(third.count_in_log("there is no fleet record"), 1);
        assert_eq!(names(&record(&fleet)), quoted[..5]);
    });
}
