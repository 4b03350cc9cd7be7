//! How containers end, and what becomes of their names.

use super::*;
use crate::docker::quietly;

#[test]
fn death_is_reported_and_the_successor_takes_the_name() {
    on_engine(|| async {
        let fleet = TestFleet::new();
        let runtime = fleet.runtime();
        runtime.prepare().await.unwrap();
        let mut events = runtime.events();
        runtime.start(order("S1", 1)).await.unwrap();
        runtime.start(order("S2", 1)).await.unwrap();

        cli(&["kill", &fleet.container("S1")]);
        let death = Death {
            id: id("S1", 1),
            exit: killed(),
        };
        assert_eq!(next(&mut events).await, death);

        let address = runtime.start(order("S1", 2)).await.unwrap().endpoint;
        assert!(get(address, "/home").contains("Server: S1"));
        let labels = inspect(&fleet.container("S1"))["Config"]["Labels"].clone();
        assert_eq!(labels["io.ringmaster.generation"], "2");
        // The dead one has made way, and its log can still be read.
        let dead = format!("{}-dead-1", fleet.container("S1"));
        let all = [fleet.container("S1"), dead.clone(), fleet.container("S2")];
        assert_eq!(fleet.containers(), all);
        cli(&["logs", &dead]);

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
fn removal_and_launch_at_once_do_not_collide() {
    on_engine(|| async {
        let fleet = TestFleet::new();
        let runtime = fleet.runtime();
        runtime.prepare().await.unwrap();
        let mut events = runtime.events();
        runtime.start(order("S1", 1)).await.unwrap();
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
                futures::join!(clear, runtime.start(order("S1", generation + 1)));
            cleared.unwrap();
            launched.unwrap();
        }
        until("one is left", || fleet.containers().len() == 1).await;
        runtime.stop(id("S1", 4), GRACE).await.unwrap();
        assert_eq!(fleet.containers(), [""; 0]);
    });
}

#[test]
fn log_of_a_dead_container_is_kept_until_the_next_death_or_removal() {
    on_engine(|| async {
        let fleet = TestFleet::new();
        let runtime = fleet.runtime();
        runtime.prepare().await.unwrap();
        let mut events = runtime.events();
        runtime.start(order("S1", 1)).await.unwrap();
        let names = |generations: &[u64]| -> Vec<String> {
            let dead = |g: &u64| format!("{}-dead-{g}", fleet.container("S1"));
            let first = [fleet.container("S1")].into_iter();
            first.chain(generations.iter().map(dead)).collect()
        };
        // One that dies by itself, and one that is killed because it hangs.
        cli(&["kill", &fleet.container("S1")]);
        next(&mut events).await;
        runtime.start(order("S1", 2)).await.unwrap();
        until("1 is kept", || fleet.containers() == names(&[1])).await;
        runtime.keep_log(&id("S1", 2));
        runtime.stop(id("S1", 2), Duration::ZERO).await.unwrap();
        runtime.start(order("S1", 3)).await.unwrap();
        until("2 is kept", || fleet.containers() == names(&[2])).await;

        // A balancer that comes back keeps it, too.
        let next_balancer = fleet.runtime();
        let found = next_balancer.prepare().await.unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(fleet.containers(), names(&[2]));

        next_balancer.announce_removal(id("S1", 3)).await;
        next_balancer.stop(id("S1", 3), GRACE).await.unwrap();
        assert_eq!(fleet.containers(), [""; 0]);
    });
}

#[test]
fn exit_right_after_the_start_is_reported() {
    on_engine(|| async {
        let fleet = TestFleet::running(&["sh", "-c", "exit 3"]);
        let runtime = fleet.runtime();
        runtime.prepare().await.unwrap();
        let mut events = runtime.events();
        match runtime.start(order("S1", 1)).await {
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
fn exit_by_out_of_memory_differs_from_a_kill() {
    on_engine(|| async {
        // Reads zeros until a newline, which never comes.
        let mut fleet = TestFleet::running(&["sh", "-c", "sleep 0.3; exec tail /dev/zero"]);
        fleet.settings.template.memory = Some(16 << 20);
        let runtime = fleet.runtime();
        runtime.prepare().await.unwrap();
        let mut events = runtime.events();
        if let Err(refused) = runtime.start(order("S1", 1)).await {
            // On a busy machine it may have ended before its start is over.
            assert!(refused.to_string().contains("out of memory"), "{refused}");
            return;
        }
        let Death { exit, .. } = next(&mut events).await;
        assert!(exit.out_of_memory, "{exit:?}");
        assert_eq!(exit.to_string(), "out of memory");
    });
}

#[test]
fn exit_report_is_readable_until_the_removal() {
    on_engine(|| async {
        // It ends when it is told to, so that it can be asked before, however long that takes.
        let script = "echo one; echo two >&2; until [ -e /tmp/end ]; do sleep 0.1; done; \
             for i in 1 2; do echo $i; done; exit 3";
        let fleet = TestFleet::running(&["sh", "-c", script]);
        let runtime = fleet.runtime();
        runtime.prepare().await.unwrap();
        let mut events = runtime.events();
        runtime.start(order("S1", 1)).await.unwrap();
        assert_eq!(runtime.exit_report(id("S1", 1)).await.exit, None);
        // The container may end before the client does, which is no failure.
        let end = ["sh", "-c", ": > /tmp/end"];
        quietly(&[&["exec", &fleet.container("S1")], &end[..]].concat());
        next(&mut events).await;
        let words = runtime.exit_report(id("S1", 1)).await;
        assert_eq!(words.exit.unwrap().code, Some(3));
        assert_eq!(words.lines.len(), 4, "{:?}", words.lines);
        assert_eq!(words.lines[2..], ["1", "2"]);
        runtime.stop(id("S1", 1), GRACE).await.unwrap();
        let nothing = runtime.exit_report(id("S1", 1)).await;
        assert_eq!(nothing, ExitReport::default());
    });
}

#[test]
fn container_that_ignores_sigterm_is_killed_after_its_grace() {
    on_engine(|| async {
        // As process 1, without a handler, it never sees the signal.
        let fleet = TestFleet::running(&["sleep", "60"]);
        let runtime = fleet.runtime();
        runtime.prepare().await.unwrap();
        runtime.start(order("S1", 1)).await.unwrap();
        runtime.start(order("S2", 1)).await.unwrap();
        let since = Instant::now();
        runtime.stop(id("S1", 1), Duration::ZERO).await.unwrap();
        // Left to itself the engine waits for ten seconds.
        assert!(since.elapsed() < GRACE, "{:?}", since.elapsed());
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
fn stop_during_a_launch_leaves_nothing() {
    on_engine(|| async {
        let fleet = TestFleet::new();
        let runtime = fleet.runtime();
        runtime.prepare().await.unwrap();
        let launch = actix::spawn(runtime.start(order("S1", 1)));
        until("it exists", || !fleet.containers().is_empty()).await;
        runtime.stop(id("S1", 1), GRACE).await.unwrap();
        assert_eq!(fleet.containers(), [""; 0]);
        // The launch may have been through before the stop came; then it was stopped.
        if let Err(refused) = launch.await.unwrap() {
            assert_eq!(refused.to_string(), "stopped while it was starting");
        }
    });
}
