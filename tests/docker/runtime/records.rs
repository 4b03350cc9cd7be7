//! The fleet record on the engine.

use std::rc::Rc;

use super::*;
use ringmaster::fleet::{Definition, FleetFlags, FleetRecord, RecordChange, RingSettings};
use ringmaster::ring::{Member, ReplicaName, RingSpec};
use ringmaster::runtime::docker::DockerRecordStore;
use ringmaster::runtime::record::{OpeningRecord, RecordKeeper, RecordStore, Swap};

fn flags(fleet: &TestFleet, replicas: usize) -> FleetFlags {
    let names = (1..=replicas).map(|n| format!("Server{n}").parse().unwrap());
    FleetFlags {
        replicas: names.collect(),
        definition: Definition {
            image: Some(fleet.settings.image.clone()),
            ..Default::default()
        },
        ring: RingSettings {
            spec: RingSpec::default(),
            balance_factor: None,
        },
        key: Default::default(),
    }
}

fn store(fleet: &TestFleet) -> DockerRecordStore {
    DockerRecordStore::new(&fleet.settings.fleet).unwrap()
}

async fn keeper(fleet: &TestFleet, flags: &FleetFlags) -> Rc<RecordKeeper> {
    let mut store: Box<dyn RecordStore> = Box::new(store(fleet));
    loop {
        let opening = OpeningRecord::load(&*store, flags, false).await.unwrap();
        match opening.settle(store, flags, &[]).await.unwrap() {
            Ok(keeper) => return Rc::new(keeper),
            Err(again) => store = again,
        }
    }
}

/// A balancer that adds replicas and removes every second of them again.
async fn change_often(keeper: Rc<RecordKeeper>, prefix: &str) -> Vec<ReplicaName> {
    let mut kept = Vec::new();
    for n in 0..8 {
        let name: ReplicaName = format!("{prefix}{n}").parse().unwrap();
        keeper.note(vec![RecordChange::Add(vec![Member::new(name.clone())])]);
        keeper.flush().await.unwrap();
        if n % 2 == 0 {
            kept.push(name);
        } else {
            keeper.note(vec![RecordChange::Remove(vec![name])]);
            keeper.flush().await.unwrap();
        }
    }
    kept
}

#[test]
fn record_written_by_several_balancers_at_once_loses_no_change() {
    on_engine(|| async {
        let fleet = TestFleet::new();
        let flags = flags(&fleet, 2);
        let (a, b, c) = futures::join!(
            keeper(&fleet, &flags),
            keeper(&fleet, &flags),
            keeper(&fleet, &flags)
        );
        assert_eq!(a.record(), b.record());
        let (a, b, c) = futures::join!(
            change_often(a, "a"),
            change_often(b, "b"),
            change_often(c, "c")
        );
        let mut expected = [flags.replicas, a, b, c].concat();
        let record = store(&fleet).load().await.unwrap().unwrap();
        let mut names: Vec<_> = record.members().into_iter().map(|m| m.name).collect();
        names.sort();
        expected.sort();
        assert_eq!(names, expected);
        // Of 36 changes each has a version, and only the last is kept.
        assert_eq!(record.version, 37);
        let last = format!("{}-record-37", fleet.settings.fleet);
        assert_eq!(fleet.records(), [last]);
    });
}

#[test]
fn record_version_that_is_free_again_is_not_new() {
    on_engine(|| async {
        let fleet = TestFleet::new();
        let flags = flags(&fleet, 3);
        let slow = keeper(&fleet, &flags).await;
        let quick = keeper(&fleet, &flags).await;
        let name = |text: &str| text.parse::<ReplicaName>().unwrap();
        for gone in ["Server1", "Server2"] {
            quick.note(vec![RecordChange::Remove(vec![name(gone)])]);
            quick.flush().await.unwrap();
        }
        // Version 2, which the slow one would write, has been and is gone.
        slow.note(vec![RecordChange::Add(vec![Member::new(name("S4"))])]);
        slow.flush().await.unwrap();
        let record = store(&fleet).load().await.unwrap().unwrap();
        let names: Vec<_> = record.members().into_iter().map(|m| m.name).collect();
        assert_eq!(names, [name("Server3"), name("S4")]);
        assert_eq!((record.version, fleet.records().len()), (4, 1));
    });
}

#[test]
fn record_that_is_large_fits_and_skips_taken_names() {
    on_engine(|| async {
        let fleet = TestFleet::new();
        let store = store(&fleet);
        let record = FleetRecord::rebuild(&flags(&fleet, 1024), &[]);
        assert_eq!(store.write(record.clone()).await, Ok(Swap::Written(1)));
        assert_eq!(store.load().await, Ok(Some(record.clone())));
        assert_eq!(store.write(record.clone()).await, Ok(Swap::Lost));

        // A replica may be called like a version.
        let label = format!("io.ringmaster.fleet={}", fleet.settings.fleet);
        let taken = format!("{}-record-2", fleet.settings.fleet);
        let image = crate::docker::test_image();
        cli(&["create", "--name", &taken, "--label", &label, image]);
        let gone = RecordChange::Remove(vec!["Server1".parse().unwrap()]);
        let next = record.with(&[gone]).unwrap();
        assert_eq!(store.write(next).await, Ok(Swap::Written(3)));
        let newest = store.load().await.unwrap().unwrap();
        assert_eq!((newest.version, newest.members().len()), (3, 1023));

        // It is no replica to the runtime, and no network is held by it.
        let runtime = fleet.runtime();
        assert_eq!(runtime.prepare().await.unwrap(), []);
        runtime.close().await;
        assert!(!fleet.network_exists());
        store.remove(3).await.unwrap();
        assert_eq!(fleet.records(), [""; 0]);
        assert_eq!(store.load().await, Ok(None));
    });
}

#[test]
fn record_that_is_unreadable_is_named() {
    on_engine(|| async {
        let fleet = TestFleet::new();
        let name = format!("{}-record-5", fleet.settings.fleet);
        let label = |key: &str, value: &str| format!("--label=io.ringmaster.{key}={value}");
        cli(&[
            "create",
            &format!("--name={name}"),
            &label("fleet", &fleet.settings.fleet),
            &label("record", "5"),
            &label("record.json", "{\"format\":1"),
            crate::docker::test_image(),
        ]);
        let error = store(&fleet).load().await.unwrap_err().to_string();
        let begin = format!("container {name} is no fleet record: ");
        assert!(error.starts_with(&begin), "{error}");
        assert!(error.contains(&format!("docker rm {name}")), "{error}");
    });
}
