//! Rollouts while several balancers serve one fleet, under load.

use std::time::{Duration, Instant};

use awc::http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::docker::{TestFleet, docker as cli};
use crate::fleet_fixture::{
    THREE, Witness, all_are_ready, containers, has_variable, mapping, on_engine, route_alike,
    start_with,
};
use crate::rollouts::{begin, comes_to, only_plain_names_are_left, roll_out, rollouts};
use crate::support::{Load, Ringmaster, ask, eventually, get, signal};

const BLUE: &str = "COLOUR=blue";

/// Balancers that start one after the other, each with its clients; some requests take their time.
async fn balancers<const N: usize>(fleet: &TestFleet, monitor: &str) -> [Ringmaster; N] {
    let flags = ["--rollout-monitor", monitor];
    let balancers = std::array::from_fn(|_| start_with(fleet, &flags));
    for balancer in &balancers {
        all_are_ready(balancer, &THREE).await;
    }
    balancers
}

fn loads<'b>(balancers: impl IntoIterator<Item = &'b Ringmaster>) -> Vec<Load> {
    let of = |balancer: &Ringmaster| {
        let quick = Load::start(&balancer.url("/home"), 3);
        [quick, Load::start(&balancer.url("/slow?ms=700"), 1)]
    };
    balancers.into_iter().flat_map(of).collect()
}

async fn none_failed(loads: Vec<Load>) {
    let mut requests = 0;
    for load in loads {
        load.go_on_for(3).await;
        let result = load.stop().await;
        assert_eq!(result.failures, Vec::<String>::new());
        requests += result.good;
    }
    println!("0 of {requests} requests failed");
}

async fn rollout(balancer: &Ringmaster, id: u64) -> Value {
    get(&format!("{}/{id}", rollouts(balancer).await))
        .await
        .body
}

/// When an instance was ready, in seconds, by a balancer's own account; waits for it, because a balancer that
/// follows may have the rollout's end in its record first.
async fn ready_at(balancer: &Ringmaster, replica: &str, generation: u64) -> f64 {
    let event = balancer.event_of(replica, generation, "ready").await;
    let at = humantime::parse_rfc3339(event["at"].as_str().unwrap()).unwrap();
    let since = at.duration_since(std::time::SystemTime::UNIX_EPOCH);
    since.unwrap().as_secs_f64()
}

#[test]
#[ignore = "takes long: make test-full"]
fn rollout_by_one_balancer_is_followed_by_the_others() {
    on_engine(|| async {
        let fleet = TestFleet::new();
        let witness = Witness::of(&fleet);
        let [one, two, three] = balancers(&fleet, "500ms").await;
        let all = [&one, &two, &three];
        let loads = loads(all);
        route_alike(&one, &two).await;
        let before = mapping(&one).await;
        let id = begin(&two, json!({"env": {"COLOUR": "blue"}})).await;
        let executor = rollout(&two, id).await["balancer"].clone();
        assert!(executor.is_string(), "{executor}");
        for follower in [&one, &three] {
            eventually("it follows", || async {
                rollout(follower, id).await["balancer"] == executor
            })
            .await;
            let pause = format!("{}/{id}/pause", rollouts(follower).await);
            let refused = ask(Method::POST, &pause, None).await;
            assert_eq!(refused.status, StatusCode::CONFLICT, "{:?}", refused.body);
            let detail = refused.body["detail"].as_str().unwrap();
            assert!(detail.contains(executor.as_str().unwrap()), "{detail}");
            let second = roll_out(follower, json!({"env": {"COLOUR": "red"}})).await;
            assert_eq!(second.body["type"], "/api/problems/rollout-under-way");
        }
        // Each key goes where it went, through whichever balancer, all the time.
        while rollout(&two, id).await["state"] != "done" {
            for balancer in all {
                assert_eq!(mapping(balancer).await, before);
            }
        }
        for balancer in all {
            comes_to(balancer, id, "done").await;
            assert_eq!(mapping(balancer).await, before);
        }
        only_plain_names_are_left(&fleet).await;
        let now = containers(&fleet);
        for name in THREE {
            assert!(has_variable(&fleet, name, BLUE), "{name}");
            // Balancers that begin at once may have given a generation away.
            let (_, generation) = now[name].rsplit_once('/').unwrap();
            let generation = generation.parse().unwrap();
            let first = ready_at(&two, name, generation).await;
            for follower in [&one, &three] {
                let followed = ready_at(follower, name, generation).await - first;
                println!("{name} is followed after {:.0} ms", followed * 1e3);
                // On a machine that does nothing else it takes a tenth of a second.
                assert!(followed < 10.0, "{name}: {followed} s");
            }
        }
        none_failed(loads).await;
        // No balancer reported a replaced container as a death.
        assert_eq!(witness.count("start"), 6);
        for balancer in all {
            let log = balancer.log();
            assert!(!log.contains("evicted"), "{log}");
        }

        // Undone by another one.
        let undo = format!("{}/{id}/undo", rollouts(&one).await);
        let undone = ask(Method::POST, &undo, None).await;
        let id = undone.body["id"]
            .as_u64()
            .unwrap_or_else(|| panic!("{:?}", undone.body));
        for balancer in all {
            comes_to(balancer, id, "done").await;
        }
        assert!(!has_variable(&fleet, "Server1", BLUE));
    });
}

#[test]
#[ignore = "takes long: make test-full"]
fn replicas_that_die_amid_a_followed_rollout_are_healed_once_with_what_they_had() {
    on_engine(|| async {
        let fleet = TestFleet::new();
        let witness = Witness::of(&fleet);
        let [one, two] = balancers(&fleet, "6s").await;
        let loads = loads([&one, &two]);
        let id = begin(&one, json!({"env": {"COLOUR": "blue"}})).await;
        eventually("one is done", || async {
            rollout(&one, id).await["done"] == 1
        })
        .await;
        // One whose turn has not come, and one that has been replaced.
        assert!(has_variable(&fleet, "Server1", BLUE));
        for (name, is_blue) in [("Server3", false), ("Server1", true)] {
            let before = witness.count("die");
            cli(&["kill", &fleet.container(name)]);
            eventually("it has died", || async { witness.count("die") > before }).await;
            for balancer in [&one, &two] {
                all_are_ready(balancer, &THREE).await;
            }
            assert_eq!(has_variable(&fleet, name, BLUE), is_blue, "{name}");
        }
        for balancer in [&one, &two] {
            comes_to(balancer, id, "done").await;
        }
        only_plain_names_are_left(&fleet).await;
        none_failed(loads).await;
        for name in THREE {
            assert!(has_variable(&fleet, name, BLUE), "{name}");
        }
        // At the start, by the rollout, and for the two that were killed.
        assert_eq!(witness.count("start"), 3 + 3 + 2);
        route_alike(&one, &two).await;
    });
}

#[test]
#[ignore = "takes long: make test-full"]
fn rollout_whose_balancer_is_killed_is_finished_by_another_one() {
    on_engine(|| async {
        let fleet = TestFleet::new();
        let [one, two, three] = balancers(&fleet, "2s").await;
        let loads = loads([&two, &three]);
        let before = mapping(&two).await;
        let id = begin(&one, json!({"env": {"COLOUR": "blue"}})).await;
        eventually("one is done", || async {
            rollout(&two, id).await["done"] == 1
        })
        .await;
        signal(one.pid(), "KILL");
        drop(one);
        let killed = Instant::now();
        // One that starts meanwhile follows.
        let four = start_with(&fleet, &["--rollout-monitor", "2s"]);
        let taken_over = format!("rollout {id}: taken over from balancer");
        let count = || {
            let of = |balancer: &Ringmaster| balancer.count_in_log(&taken_over);
            of(&two) + of(&three) + of(&four)
        };
        eventually("it is taken over", || async { count() > 0 }).await;
        println!("taken over {:?} after the kill", killed.elapsed());
        let all = [&two, &three, &four];
        for balancer in all {
            comes_to(balancer, id, "done").await;
        }
        assert_eq!(count(), 1);
        only_plain_names_are_left(&fleet).await;
        for name in THREE {
            assert!(has_variable(&fleet, name, BLUE), "{name}");
        }
        none_failed(loads).await;
        for balancer in all {
            all_are_ready(balancer, &THREE).await;
            assert_eq!(mapping(balancer).await, before);
        }
    });
}

#[test]
#[ignore = "takes long: make test-full"]
fn balancer_that_stops_leaves_its_rollout_to_the_others() {
    on_engine(|| async {
        let fleet = TestFleet::new();
        let [one, two] = balancers(&fleet, "1s").await;
        let loads = loads([&two]);
        let id = begin(&one, json!({"env": {"COLOUR": "blue"}})).await;
        eventually("one is replaced", || async {
            has_variable(&fleet, "Server1", BLUE)
        })
        .await;
        let (status, log) = one.terminate().await;
        assert!(status.success(), "{log}");
        let left = Instant::now();
        eventually("it is taken over", || async {
            two.count_in_log("taken over from balancer") == 1
        })
        .await;
        assert!(
            left.elapsed() < Duration::from_secs(10),
            "{:?}",
            left.elapsed()
        );
        comes_to(&two, id, "done").await;
        only_plain_names_are_left(&fleet).await;
        none_failed(loads).await;
    });
}

#[test]
#[ignore = "takes long: make test-full"]
fn balancer_that_hangs_amid_its_rollout_follows_when_it_goes_on() {
    on_engine(|| async {
        let fleet = TestFleet::new();
        let [one, two] = balancers(&fleet, "2s").await;
        let loads = loads([&two]);
        let id = begin(&one, json!({"env": {"COLOUR": "blue"}})).await;
        eventually("one is done", || async {
            rollout(&two, id).await["done"] == 1
        })
        .await;
        signal(one.pid(), "STOP");
        eventually("it is taken over", || async {
            two.count_in_log("taken over from balancer") == 1
        })
        .await;
        signal(one.pid(), "CONT");
        eventually("it follows", || async {
            one.count_in_log(": this one follows") == 1
        })
        .await;
        for balancer in [&one, &two] {
            comes_to(balancer, id, "done").await;
            all_are_ready(balancer, &THREE).await;
        }
        only_plain_names_are_left(&fleet).await;
        for name in THREE {
            assert!(has_variable(&fleet, name, BLUE), "{name}");
        }
        route_alike(&one, &two).await;
        none_failed(loads).await;
    });
}
