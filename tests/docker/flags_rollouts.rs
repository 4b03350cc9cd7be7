//! Balancers that were killed and start again with flags that define replicas in another way, and with
//! flags that do not.

use serde_json::{Value, json};

use crate::docker::{TestFleet, docker as cli, quietly};
use crate::fleet_fixture::{
    THREE, all_are_ready, containers, has_variable, mapping, on_engine, on_the_ring, record,
    routes_as, start_with, status,
};
use crate::rollouts::{Derived, begin, comes_to, only_plain_names_are_left, rollouts};
use crate::support::{Load, Ringmaster, eventually, get, items, signal};

const BLUE: &str = "COLOUR=blue";

/// What a balancer logs at its start, before it listens, if its flags differ.
const CHANGED: &str = "the flags have changed since fleet record";

fn kill(balancer: Ringmaster) {
    signal(balancer.pid(), "KILL");
}

async fn all_rollouts(balancer: &Ringmaster) -> Vec<Value> {
    items(&get(&rollouts(balancer).await).await.body)
}

fn all_have(fleet: &TestFleet, names: &[&str], variable: &str) -> bool {
    names.iter().all(|name| has_variable(fleet, name, variable))
}

/// What a balancer that is killed after that leaves behind says that the rollout is over.
pub async fn end_is_recorded(fleet: &TestFleet, id: u64) {
    eventually("the record has the rollout's end", || async {
        record(fleet)["past_rollouts"][0]["id"] == id
    })
    .await;
}

#[test]
fn other_flags_are_rolled_out_without_losing_a_request_and_once() {
    on_engine(|| async {
        let fleet = TestFleet::new();
        let first = start_with(&fleet, &[]);
        all_are_ready(&first, &THREE).await;
        let keys = mapping(&first).await;
        let before = record(&fleet);
        kill(first);
        let mut flags = vec!["--rollout-monitor", "200ms", "--env", BLUE];
        let second = start_with(&fleet, &flags);
        let load = Load::start(&second.url("/home"), 4);
        // What is not ready yet has its keys elsewhere.
        all_are_ready(&second, &THREE).await;
        let id = 1;
        let url = format!("{}/{id}", rollouts(&second).await);
        eventually("the rollout has begun", || async {
            get(&url).await.body["state"].is_string()
        })
        .await;
        while get(&url).await.body["finished_at"].is_null() {
            assert_eq!(mapping(&second).await, keys);
        }
        let done = comes_to(&second, id, "done").await;
        assert_eq!(done["changes"], json!(["env: COLOUR is new"]));
        load.go_on_for(50).await;
        assert_eq!(load.stop().await.failures, Vec::<String>::new());
        only_plain_names_are_left(&fleet).await;
        assert!(all_have(&fleet, &THREE, BLUE));
        routes_as(&second, &keys).await;
        let log = second.log();
        let changed = format!("{CHANGED} {}", fleet.container("record-"));
        assert_eq!(second.count_in_log(&changed), 1, "{log}");
        let because = "rollout 1 has begun because the flags have changed: env: COLOUR is new";
        assert_eq!(second.count_in_log(because), 1, "{log}");
        assert!(!log.contains("blue") && !log.contains("WARN"), "{log}");
        assert_eq!(status(&second).await["record"]["drift"], Value::Null);
        end_is_recorded(&fleet, id).await;
        assert_ne!(record(&fleet)["definition_hash"], before["definition_hash"]);
        let after = containers(&fleet);
        kill(second);

        // The same flags again are none that differ, and more replicas are no other definition.
        let third = start_with(&fleet, &flags);
        all_are_ready(&third, &THREE).await;
        assert_eq!(third.count_in_log(CHANGED), 0, "{}", third.log());
        kill(third);
        flags.extend(["--replicas", "4"]);
        let fourth = start_with(&fleet, &flags);
        all_are_ready(&fourth, &["Server1", "Server2", "Server3", "Server4"]).await;
        assert!(has_variable(&fleet, "Server4", BLUE));
        assert_eq!(all_rollouts(&fourth).await.len(), 1);
        let mut now = containers(&fleet);
        now.remove("Server4");
        assert_eq!(now, after);
    });
}

#[test]
#[ignore = "takes long: make test-full"]
fn unchanged_flags_leave_what_a_rollout_on_request_has_brought() {
    on_engine(|| async {
        let fleet = TestFleet::new();
        let flags = ["--rollout-monitor", "0s"];
        let first = start_with(&fleet, &flags);
        all_are_ready(&first, &THREE).await;
        let id = begin(&first, json!({"env": {"COLOUR": "blue"}})).await;
        comes_to(&first, id, "done").await;
        only_plain_names_are_left(&fleet).await;
        end_is_recorded(&fleet, id).await;
        let before = (containers(&fleet), record(&fleet));
        kill(first);
        let second = start_with(&fleet, &flags);
        all_are_ready(&second, &THREE).await;
        assert_eq!(second.count_in_log(CHANGED), 0, "{}", second.log());
        assert_eq!(all_rollouts(&second).await.len(), 1);
        assert_eq!((containers(&fleet), record(&fleet)), before);
        kill(second);

        // Flags that say what runs by now are no rollout either.
        let flags = ["--rollout-monitor", "0s", "--env", BLUE];
        let third = start_with(&fleet, &flags);
        all_are_ready(&third, &THREE).await;
        assert_eq!(third.count_in_log(CHANGED), 0, "{}", third.log());
        assert_eq!(all_rollouts(&third).await.len(), 1);
        assert_eq!(containers(&fleet), before.0);
    });
}

#[test]
#[ignore = "takes long: make test-full"]
fn broken_flags_are_rolled_back_and_not_tried_again() {
    on_engine(|| async {
        let fleet = TestFleet::new();
        let first = start_with(&fleet, &[]);
        all_are_ready(&first, &THREE).await;
        let before = containers(&fleet);
        kill(first);
        let broken = ["--command", "/no-such-program", "--start-timeout", "15s"];
        let second = start_with(&fleet, &broken);
        let load = Load::start(&second.url("/home"), 2);
        let back = comes_to(&second, 1, "rolled_back").await;
        assert_eq!(
            back["changes"],
            json!(["command none -> `/no-such-program`"])
        );
        load.go_on_for(20).await;
        assert_eq!(load.stop().await.failures, Vec::<String>::new());
        assert_eq!(containers(&fleet), before);
        end_is_recorded(&fleet, 1).await;
        kill(second);

        // The same flags: what runs is healed with the definition that holds.
        let third = start_with(&fleet, &broken);
        all_are_ready(&third, &THREE).await;
        assert_eq!(third.count_in_log(CHANGED), 0, "{}", third.log());
        cli(&["kill", &fleet.container("Server1")]);
        // The second generation was the trial's.
        on_the_ring(&third, "Server1", 3).await;
        assert_eq!(all_rollouts(&third).await.len(), 1);
        let before = containers(&fleet);
        kill(third);

        // The rollout of an image that cannot be pulled does not begin.
        let missing = "127.0.0.1:9/no-such-image:1";
        let args = [
            "--image",
            missing,
            "--fleet",
            &fleet.settings.fleet,
            "--memory",
            "128m",
            "--admin",
            "127.0.0.1:0",
        ];
        let fourth = Ringmaster::start(&args);
        all_are_ready(&fourth, &THREE).await;
        let line = "the definition that the flags say is not rolled out yet: no image";
        eventually("it is told", || async { fourth.count_in_log(line) == 1 }).await;
        let drift = status(&fourth).await["record"]["drift"].clone();
        assert_eq!(drift["in_effect"], "record", "{drift}");
        assert_eq!(all_rollouts(&fourth).await.len(), 1);
        assert_eq!(containers(&fleet), before);
        kill(fourth);

        // Nothing has come of it, so the first flags have nothing to do.
        let last = start_with(&fleet, &[]);
        all_are_ready(&last, &THREE).await;
        assert_eq!(all_rollouts(&last).await.len(), 1);
        assert_eq!(last.count_in_log("has begun because"), 0, "{}", last.log());
        assert_eq!(containers(&fleet), before);
    });
}

#[test]
#[ignore = "takes long: make test-full"]
fn replicas_serve_whose_image_is_gone_until_they_are_replaced() {
    on_engine(|| async {
        let fleet = TestFleet::new();
        let image = Derived::new(&fleet, "ENV COLOUR=blue");
        let name = fleet.settings.fleet.as_str();
        let of = |image: &str| {
            let never = ["--pull", "never", "--rollout-monitor", "0s"];
            let usual = ["--image", image, "--fleet", name, "--memory", "128m"];
            Ringmaster::start(&[&usual[..], &["--admin", "127.0.0.1:0"], &never].concat())
        };
        let id = cli(&["images", "-q", &image.0]);
        let first = of(&image.0);
        all_are_ready(&first, &THREE).await;
        let before = containers(&fleet);
        kill(first);
        quietly(&["rmi", "-f", &image.0]);
        let second = of(&image.0);
        all_are_ready(&second, &THREE).await;
        let line = "what runs serves on, and none can be started of that image";
        assert_eq!(second.count_in_log(line), 1, "{}", second.log());
        assert_eq!(containers(&fleet), before);
        kill(second);

        let third = of(&fleet.settings.image);
        let load = Load::start(&third.url("/home"), 2);
        comes_to(&third, 1, "done").await;
        load.go_on_for(20).await;
        assert_eq!(load.stop().await.failures, Vec::<String>::new());
        only_plain_names_are_left(&fleet).await;
        assert!(!all_have(&fleet, &THREE[..1], BLUE));
        // What dies is healed with what there is now.
        cli(&["kill", &fleet.container("Server2")]);
        on_the_ring(&third, "Server2", 3).await;
        quietly(&["rmi", "-f", &id]);
    });
}

#[test]
#[ignore = "takes long: make test-full"]
fn rollout_under_way_goes_back_before_that_of_other_flags_begins() {
    on_engine(|| async {
        let fleet = TestFleet::new();
        let first = start_with(&fleet, &["--rollout-monitor", "1min"]);
        all_are_ready(&first, &THREE).await;
        let keys = mapping(&first).await;
        let id = begin(&first, json!({"env": {"COLOUR": "red"}})).await;
        eventually("one has been replaced", || async {
            first.count_in_log("has the new definition") == 1
        })
        .await;
        kill(first);
        let flags = ["--rollout-monitor", "0s", "--env", BLUE];
        let second = start_with(&fleet, &flags);
        let load = Load::start(&second.url("/home"), 2);
        let back = comes_to(&second, id, "rolled_back").await;
        assert_eq!(back["reason"], "the flags have changed the definition");
        comes_to(&second, id + 1, "done").await;
        load.go_on_for(20).await;
        assert_eq!(load.stop().await.failures, Vec::<String>::new());
        only_plain_names_are_left(&fleet).await;
        assert!(all_have(&fleet, &THREE, BLUE));
        routes_as(&second, &keys).await;
    });
}

#[test]
#[ignore = "takes long: make test-full"]
fn flags_that_others_overrule_hold_once_their_balancer_starts_alone() {
    on_engine(|| async {
        let fleet = TestFleet::new();
        let one = start_with(&fleet, &[]);
        all_are_ready(&one, &THREE).await;
        let before = containers(&fleet);
        let flags = ["--rollout-monitor", "0s", "--env", BLUE];
        let other = start_with(&fleet, &flags);
        all_are_ready(&other, &THREE).await;
        let overruled = "definition differs: env: COLOUR is new";
        assert_eq!(other.count_in_log(overruled), 1, "{}", other.log());
        assert_eq!(all_rollouts(&other).await, [] as [Value; 0]);
        assert_eq!(containers(&fleet), before);
        kill(one);
        kill(other);
        let other = start_with(&fleet, &flags);
        comes_to(&other, 1, "done").await;
        // One that joins with the earlier flags is overruled in its turn.
        let one = start_with(&fleet, &[]);
        all_are_ready(&one, &THREE).await;
        let overruled = "definition differs: env: COLOUR is gone";
        assert_eq!(one.count_in_log(overruled), 1, "{}", one.log());
        only_plain_names_are_left(&fleet).await;
        assert!(all_have(&fleet, &THREE, BLUE));
    });
}
