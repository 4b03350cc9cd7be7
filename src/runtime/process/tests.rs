//! The process runtime with real children.

use super::*;
use crate::ring::Weight;

fn order(generation: u64) -> LaunchOrder {
    LaunchOrder {
        id: InstanceId::new("Server1".parse().unwrap(), generation),
        weight: Weight::default(),
        ordinal: 1,
    }
}

fn runtime(command: &[&str]) -> ProcessRuntime {
    ProcessRuntime::new(ReplicaTemplate {
        command: Some(command.iter().map(|word| (*word).to_owned()).collect()),
        ..ReplicaTemplate::default()
    })
}

fn launch(runtime: &ProcessRuntime, order: LaunchOrder) -> Task<Launched> {
    let definition = runtime.inner.template.clone().into();
    runtime.launch(order, &Arc::new(definition), LaunchAs::Replica)
}

#[actix_web::test]
async fn a_child_that_ends_by_itself_is_reported_with_the_way_it_ended() {
    for (script, expected) in [
        ("exit 3", "exited with code 3"),
        ("kill -9 $$", "killed by signal 9"),
        (
            "test \"$SERVER_ID\" = Server1 && test -n \"$PORT\" && exit 0; exit 1",
            "exited with code 0",
        ),
    ] {
        let runtime = runtime(&["sh", "-c", script]);
        let mut events = runtime.events();
        launch(&runtime, order(1)).await.unwrap();
        let Some(RuntimeEvent::Fleet(Event::Instance(id, InstanceEvent::Exited(exit)))) =
            events.next().await
        else {
            panic!("no end is told");
        };
        assert_eq!(id, order(1).id);
        assert_eq!(exit.to_string(), expected, "{script}");
        assert!(runtime.inner.running.borrow().is_empty());
    }
}

#[actix_web::test]
async fn a_stopped_child_is_gone_and_not_reported() {
    for (script, grace) in [
        ("sleep 60", 60),
        // Deaf to SIGTERM: SIGKILL follows.
        ("trap '' TERM; while true; do sleep 0.05; done", 0),
        // Stopped: SIGTERM reaches it all the same.
        ("kill -STOP $$; sleep 60", 60),
    ] {
        let runtime = runtime(&["sh", "-c", script]);
        let mut events = runtime.events();
        launch(&runtime, order(1)).await.unwrap();
        runtime
            .stop(order(1).id, Duration::from_secs(grace))
            .await
            .unwrap();
        assert!(runtime.inner.running.borrow().is_empty(), "{script}");
        // A second stop has nothing to do.
        runtime.stop(order(1).id, Duration::ZERO).await.unwrap();
        assert!(events.next().now_or_never().is_none(), "{script}");
    }
}

#[actix_web::test]
async fn what_a_child_has_started_ends_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pid");
    let script = format!(
        "sleep 600 & echo $! > {0}.new; mv {0}.new {0}; wait",
        file.display()
    );
    let runtime = runtime(&["sh", "-c", &script]);
    launch(&runtime, order(1)).await.unwrap();
    let grandchild = loop {
        if let Ok(pid) = std::fs::read_to_string(&file) {
            break pid.trim().to_owned();
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    runtime.stop(order(1).id, Duration::ZERO).await.unwrap();
    let alive = || {
        std::fs::read_to_string(format!("/proc/{grandchild}/stat"))
            .is_ok_and(|stat| !stat.contains(") Z "))
    };
    while alive() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[actix_web::test]
async fn a_program_that_does_not_exist_is_named_before_anything_starts() {
    let runtime = runtime(&["no-such-program-here", "--port", "{port}"]);
    assert_eq!(
        runtime.prepare().await.unwrap_err().to_string(),
        "cannot run --command: there is no program \"no-such-program-here\""
    );
    assert!(find_program("sh").is_some());
    assert!(find_program("/etc/passwd").is_none());
}

#[actix_web::test]
async fn one_port_is_for_one_replica() {
    let runtime = ProcessRuntime::new(ReplicaTemplate {
        command: Some(vec!["sleep".to_owned(), "60".to_owned()]),
        port: Some(8080),
        ..ReplicaTemplate::default()
    });
    launch(&runtime, order(1)).await.unwrap();
    let error = launch(&runtime, order(2)).await.unwrap_err().to_string();
    assert!(
        error.starts_with("Server1 (generation 1) has port 8080"),
        "{error}"
    );
    runtime.stop(order(1).id, Duration::ZERO).await.unwrap();
    launch(&runtime, order(2)).await.unwrap();
}

#[test]
fn placeholders_are_filled_in_every_word() {
    let runtime = runtime(&["app", "--port={port}", "{name}-{port}"]);
    assert_eq!(
        Inner::command_line(&runtime.inner.template, "S4", 8080).unwrap(),
        ["app", "--port=8080", "S4-8080"]
    );
}

#[actix_web::test]
async fn a_child_that_loses_its_port_is_started_on_another() {
    let folder = tempfile::tempdir().unwrap();
    let (port_file, go) = (folder.path().join("port"), folder.path().join("go"));
    // The first one tells its port and ends once the test has taken it.
    let script = format!(
        "test -e {go} && exec sleep 60; echo $PORT > {port}.new; mv {port}.new {port}; \
         while ! test -e {go}; do sleep 0.01; done; exit 1",
        go = go.display(),
        port = port_file.display()
    );
    let runtime = runtime(&["sh", "-c", &script]);
    let mut events = runtime.events();
    let first = launch(&runtime, order(1)).await.unwrap().endpoint;
    while !port_file.exists() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let _holder = std::net::TcpListener::bind(first).unwrap();
    std::fs::write(&go, "").unwrap();
    runtime.on_probing_started(&order(1).id, first);
    let moved = events.next().await;
    let Some(RuntimeEvent::Fleet(Event::Instance(id, InstanceEvent::Moved(Some(second), reason)))) =
        moved
    else {
        panic!("no other port is told");
    };
    assert_eq!(id, order(1).id);
    assert_ne!(second, first);
    assert!(reason.contains(&first.port().to_string()), "{reason}");
    let ports: Vec<u16> = {
        let running = runtime.inner.running.borrow();
        running.values().map(|known| known.port).collect()
    };
    assert_eq!(ports, [second.port()]);
    runtime.stop(order(1).id, Duration::ZERO).await.unwrap();
    assert!(runtime.inner.running.borrow().is_empty());
    assert!(events.next().now_or_never().is_none());
}
