//! One of several: names and networks that others hold, balancers that share a fleet.

use std::cell::RefCell;
use std::rc::Rc;

use super::*;

#[test]
fn restarted_balancer_finds_its_replicas() {
    on_engine(|| async {
        let fleet = TestFleet::new();
        let first = fleet.runtime();
        first.prepare().await.unwrap();
        let heavy = LaunchOrder {
            weight: Weight::new(5).unwrap(),
            ordinal: 2,
            ..order("A", 4)
        };
        let address = first.start(heavy.clone()).await.unwrap().endpoint;
        first.start(order("B", 1)).await.unwrap();
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
fn name_of_a_foreign_container_is_respected() {
    on_engine(|| async {
        let (fleet, other) = (TestFleet::running(&["sleep", "60"]), TestFleet::new());
        let runtime = fleet.runtime();
        runtime.prepare().await.unwrap();
        let name = fleet.container("S1");
        let label = format!("io.ringmaster.fleet={}", other.settings.fleet);
        let image = crate::docker::test_image();
        cli(&[
            "run", "-d", "--name", &name, "--label", &label, image, "sleep", "60",
        ]);
        let refused = runtime.start(order("S1", 1)).await.unwrap_err();
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
fn replica_started_by_two_balancers_runs_once() {
    on_engine(|| async {
        let fleet = TestFleet::new();
        let balancers = [fleet.runtime(), fleet.runtime()];
        for balancer in &balancers {
            balancer.prepare().await.unwrap();
        }
        // They need not agree on the generation.
        let [one, other] = &balancers;
        let (one, other) = futures::join!(one.start(order("S1", 2)), other.start(order("S1", 5)));
        let (one, other) = (one.unwrap(), other.unwrap());
        assert_eq!((&one.id, one.endpoint), (&other.id, other.endpoint));
        // Who comes second learns by which definition it was started.
        let told = [one.definition, other.definition];
        let hash = balancers[0].definition().hash();
        assert!(
            told.contains(&None) && told.contains(&Some(hash)),
            "{told:?}"
        );
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
fn own_successor_that_takes_a_place_is_not_taken_for_an_older_one() {
    on_engine(|| async {
        let fleet = TestFleet::new();
        let (one, late) = (fleet.runtime(), fleet.runtime());
        one.prepare().await.unwrap();
        one.start(order("S1", 1)).await.unwrap();
        let told = Rc::new(RefCell::new(Vec::new()));
        let (mut events, telling) = (one.events(), Rc::clone(&told));
        actix::spawn(async move {
            while let Some(event) = events.next().await {
                telling.borrow_mut().push(event);
            }
        });
        late.prepare().await.unwrap();
        let definition = Arc::new(one.definition());
        // Begun by a balancer that has yet to learn that another one carries the rollout out.
        let beside = late.launch(order("S1", 2), &definition, LaunchAs::Successor);
        beside.await.unwrap();
        one.launch(order("S1", 3), &definition, LaunchAs::Successor)
            .await
            .unwrap();
        one.take_place(id("S1", 3)).await;
        cli(&["kill", &fleet.container("S1")]);
        let killed = Event::Instance(id("S1", 3), InstanceEvent::Exited(killed()));
        crate::support::eventually("its end is told", || async {
            told.borrow().contains(&RuntimeEvent::Fleet(killed.clone()))
        })
        .await;
        let started = RuntimeEvent::Fleet(Event::SuccessorStarted(id("S1", 2)));
        let succeeded =
            |event: &&RuntimeEvent| matches!(event, RuntimeEvent::Fleet(Event::Succeeded(..)));
        let told = told.borrow();
        assert!(told.contains(&started), "{told:?}");
        assert_eq!(told.iter().find(succeeded), None);
    });
}

#[test]
fn container_given_up_makes_way_for_its_successor() {
    on_engine(|| async {
        let fleet = TestFleet::running(&["sleep", "60"]);
        let runtime = fleet.runtime();
        runtime.prepare().await.unwrap();
        runtime.start(order("S1", 1)).await.unwrap();
        let before = inspect(&fleet.container("S1"))["Id"].clone();
        // A stop that comes to nothing.
        drop(runtime.stop(id("S1", 1), GRACE));
        runtime.start(order("S1", 2)).await.unwrap();
        assert_ne!(inspect(&fleet.container("S1"))["Id"], before);
        assert_eq!(fleet.containers(), [fleet.container("S1")]);
    });
}

#[test]
fn name_taken_and_never_used_becomes_free() {
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
            crate::docker::test_image(),
        ]);
        let running = runtime.start(order("S1", 2)).await.unwrap();
        assert_eq!(running.id, id("S1", 2));
        assert_eq!(fleet.containers(), [fleet.container("S1")]);
    });
}

#[test]
fn removal_by_one_balancer_is_known_to_the_other() {
    on_engine(|| async {
        let fleet = TestFleet::new();
        let (one, other) = (fleet.runtime(), fleet.runtime());
        one.prepare().await.unwrap();
        other.prepare().await.unwrap();
        let mut heard = other.events();
        let started = one.start(order("S1", 1)).await.unwrap();
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
        let definition = Some(one.definition().hash());
        let appeared = Event::Discovered(order("S1", 1), started.endpoint, definition).into();
        let recovered = Event::Recovered.into();
        assert_eq!(next_but(&recovered).await, appeared);
        one.announce_removal(id("S1", 1)).await;
        one.stop(id("S1", 1), GRACE).await.unwrap();
        // And no word of its end.
        let disowned = Event::Instance(id("S1", 1), InstanceEvent::RemovedElsewhere).into();
        assert_eq!(next_but(&appeared).await, disowned);
        one.start(order("S2", 1)).await.unwrap();
        let after = next_but(&disowned).await;
        let is_new = matches!(after, RuntimeEvent::Fleet(Event::Discovered(..)));
        assert!(is_new, "{after:?}");
    });
}

#[test]
fn labels_alone_make_no_replica() {
    on_engine(|| async {
        let fleet = TestFleet::new();
        let unmanaged = format!("{}-by-hand", fleet.settings.fleet);
        let label = |name: &str, value: &str| format!("io.ringmaster.{name}={value}");
        cli(&[
            "run",
            "--detach",
            "--name",
            &unmanaged,
            "--label",
            &label("fleet", &fleet.settings.fleet),
            "--label",
            &label("replica", "S1"),
            "--label",
            &label("generation", "99"),
            crate::docker::test_image(),
            "sleep",
            "60",
        ]);
        let runtime = fleet.runtime();
        assert_eq!(runtime.prepare().await.unwrap(), []);
        let started = runtime.start(order("S1", 1)).await.unwrap();
        assert_eq!(started.id, id("S1", 1));
        runtime.stop(id("S1", 1), GRACE).await.unwrap();
        runtime.close().await;
        assert_eq!(inspect(&unmanaged)["State"]["Running"], true);
    });
}

#[test]
fn foreign_network_stays() {
    on_engine(|| async {
        let fleet = TestFleet::new();
        cli(&["network", "create", "--internal", &fleet.settings.network]);
        let runtime = fleet.runtime();
        runtime.prepare().await.unwrap();
        let address: SocketAddr = runtime.start(order("S1", 1)).await.unwrap().endpoint;
        assert!(get(address, "/home").contains("Server: S1"));
        runtime.stop(id("S1", 1), GRACE).await.unwrap();
        runtime.close().await;
        assert!(fleet.network_exists());
    });
}

/// Old engines (20.10) let several have one name, and nothing can start in any of them then.
#[test]
fn balancers_started_at_once_create_one_network() {
    on_engine(|| async {
        let fleet = TestFleet::new();
        let begin = cli(&["info", "--format", "{{.SystemTime}}"]);
        let balancers: Vec<_> = (0..4).map(|_| fleet.runtime()).collect();
        let begun = balancers.iter().map(DockerRuntime::prepare);
        for found in futures::future::join_all(begun).await {
            assert_eq!(found.unwrap(), []);
        }
        let end = cli(&["info", "--format", "{{.SystemTime}}"]);
        let network = format!("network={}", fleet.settings.network);
        let made = cli(&[
            "events",
            "--since",
            &begin,
            "--until",
            &end,
            "--filter",
            &network,
            "--filter",
            "event=create",
            "--format",
            "{{.Actor.Attributes.name}}",
        ]);
        assert_eq!(made, fleet.settings.network);
        // None of them is in doubt whose it is.
        let replica = balancers[3].start(order("A", 1)).await.unwrap();
        assert!(get(replica.endpoint, "/home").contains("Server: A"));
        balancers[3].stop(id("A", 1), GRACE).await.unwrap();
        for balancer in balancers {
            balancer.close().await;
        }
        assert!(!fleet.network_exists());
    });
}
