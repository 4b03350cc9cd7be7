//! What an image says of itself: its HEALTHCHECK and its EXPOSE; and names that are taken.

use super::*;

/// An image made from the test's with these changes; removed when this is dropped.
struct Derived(String);

impl Derived {
    fn new(fleet: &TestFleet, changes: &[&str]) -> Self {
        let name = format!("{}-image", fleet.settings.fleet);
        let label = format!("io.ringmaster.fleet={}", fleet.settings.fleet);
        let container = cli(&["create", "--label", &label, &fleet.settings.image]);
        let changes = changes.iter().flat_map(|&change| ["--change", change]);
        let commit: Vec<_> = ["commit"].into_iter().chain(changes).collect();
        cli(&[&commit[..], &[&container, &name]].concat());
        cli(&["rm", &container]);
        Self(name)
    }
}

impl Drop for Derived {
    fn drop(&mut self) {
        crate::docker::quietly(&["rmi", "-f", &self.0]);
    }
}

/// The next event that this picks out.
async fn first<T>(
    events: &mut (impl futures::Stream<Item = RuntimeEvent> + Unpin),
    pick: impl Fn(RuntimeEvent) -> Option<T>,
) -> T {
    let news = async {
        loop {
            if let Some(found) = pick(events.next().await.unwrap()) {
                return found;
            }
        }
    };
    let found = tokio::time::timeout(Duration::from_secs(15), news).await;
    found.expect("it is told")
}

fn health(event: RuntimeEvent) -> Option<(InstanceId, bool)> {
    match event {
        RuntimeEvent::Fleet(Event::Instance(id, InstanceEvent::HealthcheckChanged(healthy))) => {
            Some((id, healthy))
        }
        _ => None,
    }
}

#[test]
fn failing_healthcheck_of_the_image_is_reported() {
    on_engine(|| async {
        let mut fleet = TestFleet::new();
        let check = "HEALTHCHECK --interval=1s --retries=1 CMD [\"/bin/sh\", \"-c\", \"exit 1\"]";
        let image = Derived::new(&fleet, &[check]);
        fleet.settings.image.clone_from(&image.0);
        let runtime = fleet.runtime();
        runtime.prepare().await.unwrap();
        let mut events = runtime.events();
        let launched = runtime.start(order("S1", 1));
        let told = async {
            launched.await.unwrap();
        };
        let unhealthy = first(&mut events, |event| {
            health(event).filter(|(_, healthy)| !healthy)
        });
        let ((id_told, _), ()) = tokio::join!(unhealthy, told);
        assert_eq!(id_told, id("S1", 1));
        drop(events);
        // A balancer that comes later finds it so.
        let later = fleet.runtime();
        later.prepare().await.unwrap();
        let mut events = later.events();
        let found = first(&mut events, |event| {
            health(event).filter(|(_, healthy)| !healthy)
        });
        assert_eq!(found.await.0, id("S1", 1));
    });
}

#[test]
fn replica_port_comes_from_the_image() {
    on_engine(|| async {
        let mut fleet = TestFleet::new();
        let image = Derived::new(&fleet, &["EXPOSE 8081"]);
        fleet.settings.image.clone_from(&image.0);
        let runtime = fleet.runtime();
        runtime.prepare().await.unwrap();
        let running = runtime.start(order("S1", 1)).await.unwrap();
        assert_eq!(running.endpoint.port(), 8081);
        // The program takes its port from the environment.
        assert!(!get(running.endpoint, "/heartbeat").contains("no answer"));
        fleet.settings.template.port = Some(5000);
        let other = fleet.runtime();
        other.prepare().await.unwrap();
        let hint = other.port_hint(5000).unwrap();
        assert_eq!(hint, "the image exposes 8081: --replica-port 8081");
    });
}

#[test]
fn name_freed_by_a_foreign_container_is_reported() {
    on_engine(|| async {
        let fleet = TestFleet::new();
        let runtime = fleet.runtime();
        runtime.prepare().await.unwrap();
        let mut events = runtime.events();
        let name = fleet.container("S1");
        cli(&["create", "--name", &name, &fleet.settings.image]);
        let launching = runtime.start(order("S1", 1));
        let refused = launching.await.unwrap_err().to_string();
        assert!(refused.contains("is taken by a container"), "{refused}");
        cli(&["rm", &name]);
        let freed = first(&mut events, |event| match event {
            RuntimeEvent::Fleet(Event::NameFreed(replica)) => Some(replica),
            _ => None,
        });
        assert_eq!(freed.await.as_str(), "S1");
        runtime.start(order("S1", 2)).await.unwrap();
    });
}
