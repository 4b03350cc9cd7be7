//! An engine that cannot be reached for a while, and what happened meanwhile.

use super::*;

/// A runtime whose way to the engine can be cut.
fn through_a_socket(fleet: &TestFleet) -> (tempfile::TempDir, CuttableSocket, DockerRuntime) {
    let directory = tempfile::tempdir().unwrap();
    let socket = CuttableSocket::new(directory.path());
    let runtime = DockerRuntime::at(&socket.host(), fleet.settings.clone()).unwrap();
    (directory, socket, runtime)
}

#[test]
fn death_while_the_engine_is_unreachable_is_found_afterwards() {
    on_engine(|| async {
        let fleet = TestFleet::new();
        let (_directory, mut socket, runtime) = through_a_socket(&fleet);
        runtime.prepare().await.unwrap();
        let mut events = runtime.events();
        runtime.start(order("S1", 1)).await.unwrap();
        runtime.start(order("S2", 1)).await.unwrap();
        // One is seen to die, so that the stream is known to be up.
        cli(&["kill", &fleet.container("S2")]);
        let Death { id: dead, .. } = next(&mut events).await;
        assert_eq!(dead, id("S2", 1));

        socket.cut().await;
        cli(&["rm", "-f", &fleet.container("S1")]);
        let refused = runtime.start(order("S3", 1)).await.unwrap_err().to_string();
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
fn event_stream_that_ends_is_resumed_silently() {
    on_engine(|| async {
        let fleet = TestFleet::new();
        let (_directory, mut socket, runtime) = through_a_socket(&fleet);
        runtime.prepare().await.unwrap();
        // The events are read all the time, as a balancer does.
        let (heard, mut events) = futures::channel::mpsc::unbounded();
        actix::spawn(runtime.events().map(Ok).forward(heard));
        for generation in 1..4 {
            runtime.start(order("S1", generation)).await.unwrap();
            socket.interrupt().await;
            cli(&["kill", &fleet.container("S1")]);
            assert_eq!(next(&mut events).await.id, id("S1", generation));
            assert_eq!(runtime.last_error(), None);
        }
    });
}

#[test]
fn removal_while_the_engine_is_unreachable_is_no_death() {
    on_engine(|| async {
        let fleet = TestFleet::new();
        let (_directory, mut socket, other) = through_a_socket(&fleet);
        let one = fleet.runtime();
        one.prepare().await.unwrap();
        one.start(order("S1", 1)).await.unwrap();
        one.start(order("S2", 1)).await.unwrap();
        other.prepare().await.unwrap();
        let mut heard = other.events();
        cli(&["kill", &fleet.container("S2")]);
        assert_eq!(next(&mut heard).await.id, id("S2", 1));

        socket.cut().await;
        one.announce_removal(id("S1", 1)).await;
        one.stop(id("S1", 1), GRACE).await.unwrap();
        assert!(other.start(order("S3", 1)).await.is_err());
        socket.mend();
        let news = async {
            loop {
                let RuntimeEvent::Fleet(Event::Instance(id, event)) = heard.next().await.unwrap()
                else {
                    continue;
                };
                match event {
                    InstanceEvent::RemovedElsewhere => return id,
                    InstanceEvent::Exited(exit) => panic!("{id} {exit}"),
                    _ => {}
                }
            }
        };
        let removed = tokio::time::timeout(Duration::from_secs(15), news).await;
        assert_eq!(removed.unwrap(), id("S1", 1));
    });
}
