//! The Docker runtime on a real engine. Without one these tests say so and pass, but
//! under `CI=true` they fail.

#![allow(clippy::unwrap_used)]

mod docker;

use std::future::Future;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use docker::{CuttableSocket, REPLICA_TEST, TestFleet, docker as cli, get, inspect, until};
use futures::StreamExt;
use ringmaster::ring::Weight;
use ringmaster::runtime::docker::{DockerRuntime, Security};
use ringmaster::runtime::{Exit, InstanceId, LastWords, LaunchOrder, Runtime, RuntimeEvent};

const GRACE: Duration = Duration::from_secs(5);

fn id(replica: &str, generation: u64) -> InstanceId {
    InstanceId {
        replica: replica.parse().unwrap(),
        generation,
    }
}

fn order(replica: &str, generation: u64) -> LaunchOrder {
    LaunchOrder {
        id: id(replica, generation),
        weight: Weight::default(),
        ordinal: 1,
    }
}

/// Runs a test as the control thread would, if there is an engine to run it on.
fn on_engine<F: Future<Output = ()>>(test: impl FnOnce() -> F) {
    if docker::engine_answers() {
        actix::System::new().block_on(async { test().await });
    }
}

/// An end that nobody asked for.
#[derive(Debug, PartialEq)]
struct Death {
    id: InstanceId,
    exit: Exit,
}

/// The next death.
async fn next(events: &mut (impl futures::Stream<Item = RuntimeEvent> + Unpin)) -> Death {
    let news = async {
        loop {
            if let RuntimeEvent::Exited { id, exit } = events.next().await.unwrap() {
                return Death { id, exit };
            }
        }
    };
    let death = tokio::time::timeout(Duration::from_secs(15), news).await;
    death.expect("a death is told")
}

fn killed() -> Exit {
    Exit {
        signal: Some(9),
        ..Exit::default()
    }
}

/// Not a test: what the containers of all the others run.
#[test]
fn be_a_replica() {
    assert_eq!(REPLICA_TEST, "be_a_replica");
    docker::be_a_replica_in_a_container();
}

#[test]
fn a_replica_starts_answers_and_leaves_nothing() {
    on_engine(|| async {
        let fleet = TestFleet::new();
        let runtime = fleet.runtime();
        assert_eq!(runtime.prepare().await.unwrap(), []);
        assert!(fleet.network_exists());

        let since = Instant::now();
        let address = runtime.launch(order("Server1", 1)).await.unwrap().endpoint;
        let launched = since.elapsed();
        let answer = get(address, "/home");
        eprintln!(
            "launched in {launched:?}, answers after {:?}",
            since.elapsed()
        );
        assert_eq!(
            answer,
            r#"{"message":"Hello from Server: 1","status":"successful"}"#
        );

        runtime.stop(id("Server1", 1), GRACE).await.unwrap();
        assert_eq!(fleet.containers(), [""; 0]);
        // Once more, and of one that never was: no complaint.
        runtime.stop(id("Server1", 1), GRACE).await.unwrap();
        runtime.stop(id("Nobody", 3), Duration::ZERO).await.unwrap();
        runtime.close().await;
        assert!(!fleet.network_exists());
    });
}

#[test]
fn a_replica_is_locked_in() {
    on_engine(|| async {
        let mut fleet = TestFleet::new();
        let runtime = fleet.runtime();
        runtime.prepare().await.unwrap();
        runtime.launch(order("S1", 1)).await.unwrap();
        let found = inspect(&fleet.container("S1"));
        let (config, host) = (&found["Config"], &found["HostConfig"]);
        assert_eq!(config["User"], "65534:65534");
        assert_eq!(config["Hostname"], "S1");
        assert_eq!(host["CapDrop"], serde_json::json!(["ALL"]));
        assert_eq!(
            host["SecurityOpt"],
            serde_json::json!(["no-new-privileges"])
        );
        assert_eq!(host["ReadonlyRootfs"], true);
        assert_eq!(host["Privileged"], false);
        assert_eq!(host["Memory"], 128 << 20);
        assert_eq!(host["MemorySwap"], 128 << 20);
        assert_eq!(host["NanoCpus"], 1_000_000_000);
        assert_eq!(host["PidsLimit"], 64);
        assert_eq!(host["RestartPolicy"]["Name"], "no");
        let aliases = &found["NetworkSettings"]["Networks"][&fleet.settings.network]["Aliases"];
        assert!(
            aliases.as_array().unwrap().contains(&"S1".into()),
            "{aliases}"
        );
        let labels = &config["Labels"];
        assert_eq!(labels["io.ringmaster.fleet"], fleet.settings.fleet.as_str());
        assert_eq!(labels["io.ringmaster.replica"], "S1");
        assert_eq!(labels["io.ringmaster.generation"], "1");

        fleet.settings.security = Security::Baseline;
        let runtime = fleet.runtime();
        runtime.launch(order("S2", 1)).await.unwrap();
        let found = inspect(&fleet.container("S2"));
        assert_eq!(found["Config"]["User"], "");
        assert_eq!(found["HostConfig"]["ReadonlyRootfs"], false);
        assert_eq!(
            found["HostConfig"]["SecurityOpt"],
            serde_json::json!(["no-new-privileges"])
        );
    });
}

#[test]
fn a_death_is_reported_and_the_successor_takes_the_name() {
    on_engine(|| async {
        let fleet = TestFleet::new();
        let runtime = fleet.runtime();
        runtime.prepare().await.unwrap();
        let mut events = runtime.events();
        runtime.launch(order("S1", 1)).await.unwrap();
        runtime.launch(order("S2", 1)).await.unwrap();

        cli(&["kill", &fleet.container("S1")]);
        let death = Death {
            id: id("S1", 1),
            exit: killed(),
        };
        assert_eq!(next(&mut events).await, death);

        let address = runtime.launch(order("S1", 2)).await.unwrap().endpoint;
        assert!(get(address, "/home").contains("Server: S1"));
        let labels = inspect(&fleet.container("S1"))["Config"]["Labels"].clone();
        assert_eq!(labels["io.ringmaster.generation"], "2");
        let both = [fleet.container("S1"), fleet.container("S2")];
        until("the dead one is gone", || fleet.containers() == both).await;

        // A late stop of the old generation does not touch the new one.
        runtime.stop(id("S1", 1), Duration::ZERO).await.unwrap();
        assert!(get(address, "/home").contains("Server: S1"));

        // A stop that was asked for is no news: the next event is the other's.
        runtime.stop(id("S1", 2), GRACE).await.unwrap();
        cli(&["kill", "-s", "INT", &fleet.container("S2")]);
        let death = Death {
            id: id("S2", 1),
            exit: Exit {
                code: Some(0),
                ..Exit::default()
            },
        };
        assert_eq!(next(&mut events).await, death);
    });
}

/// The engine (20.10) goes on listing a container that is renamed and removed at once.
#[test]
fn clearing_the_old_and_starting_the_new_do_not_collide() {
    on_engine(|| async {
        let fleet = TestFleet::new();
        let runtime = fleet.runtime();
        runtime.prepare().await.unwrap();
        let mut events = runtime.events();
        runtime.launch(order("S1", 1)).await.unwrap();
        for generation in 1..4 {
            // An operator's way of removing, and a kill, which leaves removing to us.
            match generation {
                2 => cli(&["rm", "-f", &fleet.container("S1")]),
                _ => cli(&["kill", &fleet.container("S1")]),
            };
            let Death { id: dead, .. } = next(&mut events).await;
            assert_eq!(dead, id("S1", generation));
            let clear = runtime.stop(dead, GRACE);
            let (cleared, launched) =
                futures::join!(clear, runtime.launch(order("S1", generation + 1)));
            cleared.unwrap();
            launched.unwrap();
        }
        until("one is left", || fleet.containers().len() == 1).await;
        runtime.stop(id("S1", 4), GRACE).await.unwrap();
        assert_eq!(fleet.containers(), [""; 0]);
    });
}

#[test]
fn a_restarted_balancer_finds_its_replicas() {
    on_engine(|| async {
        let fleet = TestFleet::new();
        let first = fleet.runtime();
        first.prepare().await.unwrap();
        let heavy = LaunchOrder {
            weight: Weight::new(5).unwrap(),
            ordinal: 2,
            ..order("A", 4)
        };
        let address = first.launch(heavy.clone()).await.unwrap().endpoint;
        first.launch(order("B", 1)).await.unwrap();
        cli(&["kill", &fleet.container("B")]);
        drop(first);

        let second = fleet.runtime();
        let found = second.prepare().await.unwrap();
        let found: Vec<_> = found.into_iter().map(|f| (f.order, f.endpoint)).collect();
        assert_eq!(found, [(order("B", 1), None), (heavy, Some(address))]);

        // Adopted like its own: its death is news, and its network goes in the end.
        let mut events = second.events();
        cli(&["kill", &fleet.container("A")]);
        let Death { id: dead, .. } = next(&mut events).await;
        assert_eq!(dead, id("A", 4));
        second.close().await;
        assert_eq!(fleet.containers(), [""; 0]);
        assert!(!fleet.network_exists());
    });
}

#[test]
fn a_name_held_by_somebody_else_is_respected() {
    on_engine(|| async {
        let (fleet, other) = (TestFleet::running(&["sleep", "60"]), TestFleet::new());
        let runtime = fleet.runtime();
        runtime.prepare().await.unwrap();
        let name = fleet.container("S1");
        let label = format!("io.ringmaster.fleet={}", other.settings.fleet);
        let image = docker::test_image();
        cli(&[
            "run", "-d", "--name", &name, "--label", &label, image, "sleep", "60",
        ]);
        let refused = runtime.launch(order("S1", 1)).await.unwrap_err();
        assert_eq!(
            refused.to_string(),
            format!(
                "the container name {name} is taken by a container that is not of fleet {}",
                fleet.settings.fleet
            )
        );
        assert_eq!(inspect(&name)["State"]["Running"], true);
    });
}

#[test]
fn of_two_balancers_that_start_a_replica_one_does_and_both_have_it() {
    on_engine(|| async {
        let fleet = TestFleet::new();
        let balancers = [fleet.runtime(), fleet.runtime()];
        for balancer in &balancers {
            balancer.prepare().await.unwrap();
        }
        // They need not agree on the generation.
        let [one, other] = &balancers;
        let (one, other) = futures::join!(one.launch(order("S1", 2)), other.launch(order("S1", 5)));
        let (one, other) = (one.unwrap(), other.unwrap());
        assert_eq!(one, other);
        assert_eq!(fleet.containers(), [fleet.container("S1")]);
        assert!(get(one.endpoint, "/home").contains("Server: S1"));

        // It is everybody's, so anybody's death of it is everybody's news.
        let [mut first, mut second] = balancers.each_ref().map(|b| b.events());
        cli(&["kill", &fleet.container("S1")]);
        let (first, second) = futures::join!(next(&mut first), next(&mut second));
        assert_eq!((&first.id, &second.id), (&one.id, &one.id));
    });
}

#[test]
fn what_a_balancer_has_given_up_makes_way_for_its_successor() {
    on_engine(|| async {
        let fleet = TestFleet::running(&["sleep", "60"]);
        let runtime = fleet.runtime();
        runtime.prepare().await.unwrap();
        runtime.launch(order("S1", 1)).await.unwrap();
        let before = inspect(&fleet.container("S1"))["Id"].clone();
        // A stop that comes to nothing.
        drop(runtime.stop(id("S1", 1), GRACE));
        runtime.launch(order("S1", 2)).await.unwrap();
        assert_ne!(inspect(&fleet.container("S1"))["Id"], before);
        assert_eq!(fleet.containers(), [fleet.container("S1")]);
    });
}

#[test]
fn a_name_that_a_balancer_took_and_never_used_is_free_after_a_while() {
    on_engine(|| async {
        let fleet = TestFleet::new();
        let runtime = fleet.runtime();
        runtime.prepare().await.unwrap();
        let label = |name: &str, value: &str| format!("io.ringmaster.{name}={value}");
        cli(&[
            "create",
            "--name",
            &fleet.container("S1"),
            "--label",
            &label("fleet", &fleet.settings.fleet),
            "--label",
            &label("replica", "S1"),
            "--label",
            &label("generation", "1"),
            docker::test_image(),
        ]);
        let running = runtime.launch(order("S1", 2)).await.unwrap();
        assert_eq!(running.id, id("S1", 2));
        assert_eq!(fleet.containers(), [fleet.container("S1")]);
    });
}

#[test]
fn a_replica_that_one_balancer_removes_is_known_to_the_other_to_be_removed() {
    on_engine(|| async {
        let fleet = TestFleet::new();
        let (one, other) = (fleet.runtime(), fleet.runtime());
        one.prepare().await.unwrap();
        other.prepare().await.unwrap();
        let mut heard = other.events();
        let started = one.launch(order("S1", 1)).await.unwrap();
        // It may be told more than once that it is there.
        let mut next_but = async |known: &RuntimeEvent| {
            let news = async {
                loop {
                    let news = heard.next().await.unwrap();
                    if news != *known {
                        return news;
                    }
                }
            };
            let next = tokio::time::timeout(Duration::from_secs(15), news).await;
            next.expect("news comes")
        };
        let appeared = RuntimeEvent::Appeared {
            order: order("S1", 1),
            endpoint: started.endpoint,
        };
        assert_eq!(next_but(&RuntimeEvent::Recovered).await, appeared);
        one.disown(id("S1", 1)).await;
        one.stop(id("S1", 1), GRACE).await.unwrap();
        // And no word of its end.
        let disowned = RuntimeEvent::Disowned { id: id("S1", 1) };
        assert_eq!(next_but(&appeared).await, disowned);
        one.launch(order("S2", 1)).await.unwrap();
        let after = next_but(&disowned).await;
        assert!(matches!(after, RuntimeEvent::Appeared { .. }), "{after:?}");
    });
}

#[test]
fn labels_alone_make_nobody_a_replica() {
    on_engine(|| async {
        let fleet = TestFleet::new();
        let stranger = format!("{}-by-hand", fleet.settings.fleet);
        let label = |name: &str, value: &str| format!("io.ringmaster.{name}={value}");
        cli(&[
            "run",
            "--detach",
            "--name",
            &stranger,
            "--label",
            &label("fleet", &fleet.settings.fleet),
            "--label",
            &label("replica", "S1"),
            "--label",
            &label("generation", "99"),
            docker::test_image(),
            "sleep",
            "60",
        ]);
        let runtime = fleet.runtime();
        assert_eq!(runtime.prepare().await.unwrap(), []);
        let started = runtime.launch(order("S1", 1)).await.unwrap();
        assert_eq!(started.id, id("S1", 1));
        runtime.stop(id("S1", 1), GRACE).await.unwrap();
        runtime.close().await;
        assert_eq!(inspect(&stranger)["State"]["Running"], true);
    });
}

#[test]
fn what_cannot_start_says_why_and_leaves_nothing() {
    on_engine(|| async {
        let mut fleet = TestFleet::running(&["nosuchprogram"]);
        let runtime = fleet.runtime();
        runtime.prepare().await.unwrap();
        let refused = runtime.launch(order("S1", 1)).await.unwrap_err();
        assert_eq!(
            refused.to_string(),
            r#"exec: "nosuchprogram": executable file not found in $PATH"#
        );
        assert_eq!(fleet.containers(), [""; 0]);

        fleet.settings.image = "ringmaster.invalid/nosuch:1".to_owned();
        let runtime = fleet.runtime();
        let refused = runtime.prepare().await.unwrap_err().to_string();
        assert!(
            refused.starts_with("no image ringmaster.invalid/nosuch:1: "),
            "{refused}"
        );
        let refused = runtime.launch(order("S1", 1)).await.unwrap_err();
        assert_eq!(
            refused.to_string(),
            "no such image: ringmaster.invalid/nosuch:1"
        );

        fleet.settings.network = "host".to_owned();
        fleet.settings.image = docker::test_image().to_owned();
        let refused = fleet.runtime().prepare().await.unwrap_err().to_string();
        assert!(
            refused.starts_with("network host gives replicas no address"),
            "{refused}"
        );
        fleet.settings.network = fleet.settings.fleet.clone();
    });
}

#[test]
fn an_exit_right_after_the_start_is_reported_one_way_or_the_other() {
    on_engine(|| async {
        let fleet = TestFleet::running(&["sh", "-c", "exit 3"]);
        let runtime = fleet.runtime();
        runtime.prepare().await.unwrap();
        let mut events = runtime.events();
        match runtime.launch(order("S1", 1)).await {
            Err(refused) => {
                assert_eq!(refused.to_string(), "exited with code 3 at once");
                assert_eq!(fleet.containers(), [""; 0]);
            }
            Ok(_) => {
                let Death { exit, .. } = next(&mut events).await;
                assert_eq!(exit.code, Some(3));
            }
        }
    });
}

#[test]
fn running_out_of_memory_is_told_apart_from_a_kill() {
    on_engine(|| async {
        // Reads zeros until a newline, which never comes.
        let mut fleet = TestFleet::running(&["sh", "-c", "sleep 0.3; exec tail /dev/zero"]);
        fleet.settings.template.memory = Some(16 << 20);
        let runtime = fleet.runtime();
        runtime.prepare().await.unwrap();
        let mut events = runtime.events();
        runtime.launch(order("S1", 1)).await.unwrap();
        let Death { exit, .. } = next(&mut events).await;
        assert!(exit.out_of_memory, "{exit:?}");
        assert_eq!(exit.to_string(), "out of memory");
    });
}

#[test]
fn a_container_s_last_words_are_heard_until_it_is_cleared_away() {
    on_engine(|| async {
        let script = "echo one; echo two >&2; sleep 0.5; for i in 1 2; do echo $i; done; exit 3";
        let fleet = TestFleet::running(&["sh", "-c", script]);
        let runtime = fleet.runtime();
        runtime.prepare().await.unwrap();
        let mut events = runtime.events();
        runtime.launch(order("S1", 1)).await.unwrap();
        assert_eq!(runtime.last_words(id("S1", 1)).await.exit, None);
        next(&mut events).await;
        let words = runtime.last_words(id("S1", 1)).await;
        assert_eq!(words.exit.unwrap().code, Some(3));
        assert_eq!(words.lines.len(), 4, "{:?}", words.lines);
        assert_eq!(words.lines[2..], ["1", "2"]);
        runtime.stop(id("S1", 1), GRACE).await.unwrap();
        let nothing = runtime.last_words(id("S1", 1)).await;
        assert_eq!(nothing, LastWords::default());
    });
}

#[test]
fn what_ignores_sigterm_is_killed_after_its_grace() {
    on_engine(|| async {
        // As process 1, without a handler, it never sees the signal.
        let fleet = TestFleet::running(&["sleep", "60"]);
        let runtime = fleet.runtime();
        runtime.prepare().await.unwrap();
        runtime.launch(order("S1", 1)).await.unwrap();
        runtime.launch(order("S2", 1)).await.unwrap();
        let since = Instant::now();
        runtime.stop(id("S1", 1), Duration::ZERO).await.unwrap();
        assert!(
            since.elapsed() < Duration::from_secs(1),
            "{:?}",
            since.elapsed()
        );
        let since = Instant::now();
        runtime
            .stop(id("S2", 1), Duration::from_millis(700))
            .await
            .unwrap();
        assert!(since.elapsed() >= Duration::from_millis(700));
        assert_eq!(fleet.containers(), [""; 0]);
    });
}

#[test]
fn a_stop_overtakes_a_launch_and_nothing_is_left() {
    on_engine(|| async {
        let fleet = TestFleet::new();
        let runtime = fleet.runtime();
        runtime.prepare().await.unwrap();
        let launch = actix::spawn(runtime.launch(order("S1", 1)));
        until("it exists", || !fleet.containers().is_empty()).await;
        runtime.stop(id("S1", 1), GRACE).await.unwrap();
        assert_eq!(fleet.containers(), [""; 0]);
        // The launch may have been through before the stop came; then it was stopped.
        if let Err(refused) = launch.await.unwrap() {
            assert_eq!(refused.to_string(), "stopped while it was starting");
        }
    });
}

#[test]
fn a_network_of_somebody_else_stays() {
    on_engine(|| async {
        let fleet = TestFleet::new();
        cli(&["network", "create", "--internal", &fleet.settings.network]);
        let runtime = fleet.runtime();
        runtime.prepare().await.unwrap();
        let address: SocketAddr = runtime.launch(order("S1", 1)).await.unwrap().endpoint;
        assert!(get(address, "/home").contains("Server: S1"));
        runtime.stop(id("S1", 1), GRACE).await.unwrap();
        runtime.close().await;
        assert!(fleet.network_exists());
    });
}

#[test]
fn a_death_unseen_while_the_engine_was_out_of_reach_is_found_afterwards() {
    on_engine(|| async {
        let fleet = TestFleet::new();
        let directory = tempfile::tempdir().unwrap();
        let mut socket = CuttableSocket::new(directory.path());
        let runtime = DockerRuntime::at(&socket.host(), fleet.settings.clone()).unwrap();
        runtime.prepare().await.unwrap();
        let mut events = runtime.events();
        runtime.launch(order("S1", 1)).await.unwrap();
        runtime.launch(order("S2", 1)).await.unwrap();
        // One is seen to die, so that the stream is known to be up.
        cli(&["kill", &fleet.container("S2")]);
        let Death { id: dead, .. } = next(&mut events).await;
        assert_eq!(dead, id("S2", 1));

        socket.cut().await;
        cli(&["rm", "-f", &fleet.container("S1")]);
        let refused = runtime
            .launch(order("S3", 1))
            .await
            .unwrap_err()
            .to_string();
        assert!(
            refused.starts_with("cannot reach the Docker engine at unix://"),
            "{refused}"
        );
        socket.mend();
        let Death { id: dead, .. } = next(&mut events).await;
        assert_eq!(dead, id("S1", 1));
    });
}

#[test]
fn an_event_stream_that_ends_is_taken_up_again_without_a_word() {
    on_engine(|| async {
        let fleet = TestFleet::new();
        let directory = tempfile::tempdir().unwrap();
        let mut socket = CuttableSocket::new(directory.path());
        let runtime = DockerRuntime::at(&socket.host(), fleet.settings.clone()).unwrap();
        runtime.prepare().await.unwrap();
        // Somebody listens all the time, as a balancer does.
        let (heard, mut events) = futures::channel::mpsc::unbounded();
        actix::spawn(runtime.events().map(Ok).forward(heard));
        for generation in 1..4 {
            runtime.launch(order("S1", generation)).await.unwrap();
            socket.interrupt().await;
            cli(&["kill", &fleet.container("S1")]);
            assert_eq!(next(&mut events).await.id, id("S1", generation));
            assert_eq!(runtime.trouble(), None);
        }
    });
}

#[test]
fn a_removal_that_went_unheard_is_told_apart_from_a_death() {
    on_engine(|| async {
        let fleet = TestFleet::new();
        let directory = tempfile::tempdir().unwrap();
        let mut socket = CuttableSocket::new(directory.path());
        let one = fleet.runtime();
        let other = DockerRuntime::at(&socket.host(), fleet.settings.clone()).unwrap();
        one.prepare().await.unwrap();
        one.launch(order("S1", 1)).await.unwrap();
        one.launch(order("S2", 1)).await.unwrap();
        other.prepare().await.unwrap();
        let mut heard = other.events();
        cli(&["kill", &fleet.container("S2")]);
        assert_eq!(next(&mut heard).await.id, id("S2", 1));

        socket.cut().await;
        one.disown(id("S1", 1)).await;
        one.stop(id("S1", 1), GRACE).await.unwrap();
        assert!(other.launch(order("S3", 1)).await.is_err());
        socket.mend();
        let news = async {
            loop {
                match heard.next().await.unwrap() {
                    RuntimeEvent::Disowned { id } => return id,
                    RuntimeEvent::Exited { id, exit } => panic!("{id} {exit}"),
                    _ => {}
                }
            }
        };
        let removed = tokio::time::timeout(Duration::from_secs(15), news).await;
        assert_eq!(removed.unwrap(), id("S1", 1));
    });
}
