//! Warm spares as containers: capacity is back at once where a start takes long.

use std::collections::BTreeMap;

use awc::http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::docker::{IN_IMAGE, REPLICA_TEST, TestFleet, docker as cli, inspect};
use crate::fleet_fixture::{all_are_ready, on_engine, route_alike, start_with};
use crate::rollouts::{begin, comes_to};
use crate::support::{Load, Ringmaster, ask, ask_with, eventually, get, items, signal};

/// How long a start takes, in seconds.
const START: f64 = 5.0;

const TWO: [&str; 2] = ["Server1", "Server2"];

/// A balancer over two servers that start slowly.
fn start_slow(fleet: &TestFleet, more: &[&str]) -> Ringmaster {
    let command =
        format!("sh -c 'sleep {START}; exec {IN_IMAGE} --exact {REPLICA_TEST} --nocapture'");
    let monitor = ["--rollout-monitor", "100ms"];
    let usual = ["--replicas", "2", "--command", &command];
    start_with(fleet, &[&usual[..], &monitor, more].concat())
}

async fn start_with_spare(fleet: &TestFleet) -> Ringmaster {
    let balancer = start_slow(fleet, &["--spares", "1"]);
    all_are_ready(&balancer, &TWO).await;
    spare_is_ready(&balancer).await;
    balancer
}

async fn spare_is_ready(balancer: &Ringmaster) {
    let fleet = balancer.status_url().await;
    eventually("a spare is ready", || async {
        get(&fleet).await.body["spares"] == json!({"wanted": 1, "ready": 1, "starting": 0})
    })
    .await;
}

/// The names of the containers that are spares.
fn spares(fleet: &TestFleet) -> Vec<String> {
    let mut names = fleet.containers();
    names.retain(|name| name.contains("-of-"));
    names
}

fn only_spare(fleet: &TestFleet) -> String {
    let mut names = spares(fleet);
    assert_eq!(names.len(), 1, "{names:?}");
    names.remove(0)
}

fn id(container: &str) -> Value {
    inspect(container)["Id"].clone()
}

/// Its generation, which it keeps.
fn generation(container: &str) -> u64 {
    let labels = &inspect(container)["Config"]["Labels"];
    let text = labels["io.ringmaster.generation"].as_str().unwrap();
    text.parse().unwrap()
}

/// Which replica each of many keys goes to, and the `SERVER_ID` of that.
async fn owners(balancer: &Ringmaster) -> Vec<(String, String)> {
    let mut owners = Vec::new();
    for key in 0..50 {
        let url = balancer.url("/whoami");
        let key = format!("key-{key}");
        let headers = [("X-Key", key.as_str()), ("Ringmaster-Replica", "a lie")];
        let said = ask_with(Method::GET, &url, &headers, None).await.body;
        let replica = &said["headers"]["ringmaster-replica"];
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        owners.push((text(&replica[0]), text(&said["id"])));
    }
    owners
}

fn replicas_of(owners: &[(String, String)]) -> Vec<&str> {
    owners.iter().map(|(replica, _)| replica.as_str()).collect()
}

/// The `SERVER_ID`s that each replica has.
fn ids_of(owners: &[(String, String)]) -> BTreeMap<&str, &str> {
    let pairs = owners.iter();
    pairs.map(|(replica, id)| (&**replica, &**id)).collect()
}

/// Kills the container of Server1, and waits until the spare plays it. Returns the spare's generation.
async fn kill_server1(fleet: &TestFleet, balancer: &Ringmaster) -> u64 {
    let (spare, own) = (only_spare(fleet), fleet.container("Server1"));
    let (before, generation) = (id(&spare), generation(&spare));
    cli(&["kill", &own]);
    let back = format!("Server1 (generation {generation}) is ready at");
    balancer.has_logged(&back, 1).await;
    assert_eq!(id(&own), before);
    generation
}

#[test]
#[ignore = "takes long: make test-full"]
fn spare_container_takes_the_place_of_a_dead_one_at_once() {
    on_engine(|| async {
        let fleet = TestFleet::new();
        let balancer = start_with_spare(&fleet).await;
        let before = owners(&balancer).await;
        let server2 = id(&fleet.container("Server2"));
        let load = Load::start(&balancer.url("/home"), 4);
        load.go_on_for(50).await;

        let first = kill_server1(&fleet, &balancer).await;
        // Nothing that was started after the death could be ready by then.
        let took = balancer.outage("Server1", 1, first).await;
        println!("back after {took:.3} s, where a start takes {START} s");
        assert!(took < START, "{took}");
        load.go_on_for(50).await;
        let after = owners(&balancer).await;
        assert_eq!(replicas_of(&before), replicas_of(&after));
        let ids = BTreeMap::from([("Server1", "spare-1"), ("Server2", "2")]);
        assert_eq!(ids_of(&after), ids);
        assert_eq!(id(&fleet.container("Server2")), server2);
        balancer
            .has_logged(
                &format!("Server1 (generation {first}): spare-1 takes its place"),
                1,
            )
            .await;

        // Another spare is started; one that plays a replica dies like any other.
        spare_is_ready(&balancer).await;
        let second = kill_server1(&fleet, &balancer).await;
        assert!(second > first);
        let took = balancer.outage("Server1", first, second).await;
        assert!(took < START, "{took}");
        let kept = fleet.container(&format!("Server1-dead-{first}"));
        eventually("only the last dead container is kept", || async {
            let mut dead = fleet.containers();
            dead.retain(|name| name.contains("-dead-"));
            dead == [kept.clone()]
        })
        .await;
        let url = format!("{}/deaths", balancer.status_url().await);
        let deaths = items(&get(&url).await.body);
        let died = |death: &&Value| death["replica"] == "Server1" && death["generation"] == first;
        let death = deaths.iter().find(died).unwrap();
        assert_eq!(death["signal"], 9, "{death}");

        // A replica that is added is played by a spare, and one that is removed leaves nothing.
        spare_is_ready(&balancer).await;
        let added = balancer
            .add(json!({"n": 1, "hostnames": ["Server3"]}))
            .await;
        assert_eq!(added.status, StatusCode::OK, "{:?}", added.body);
        assert_eq!(ids_of(&owners(&balancer).await)["Server3"], "spare-3");
        let one = json!({"n": 1, "hostnames": ["Server3"]});
        assert_eq!(balancer.rm(one).await.status, StatusCode::OK);
        eventually("it is gone", || async {
            let names = fleet.containers();
            !names.iter().any(|name| name.contains("Server3"))
        })
        .await;
        load.go_on_for(50).await;
        assert_eq!(load.stop().await.failures, Vec::<String>::new());

        // All ends with the balancer.
        spare_is_ready(&balancer).await;
        let (status, log) = balancer.terminate().await;
        assert!(status.success(), "{log}");
        assert_eq!(fleet.containers(), [""; 0]);
        assert!(!fleet.network_exists());
    });
}

#[test]
#[ignore = "takes long: make test-full"]
fn spares_outlive_a_balancer_that_was_killed() {
    on_engine(|| async {
        let fleet = TestFleet::new();
        let balancer = start_with_spare(&fleet).await;
        let before = id(&only_spare(&fleet));
        signal(balancer.pid(), "KILL");
        drop(balancer);

        // As spares.
        let balancer = start_with_spare(&fleet).await;
        balancer
            .has_logged("spare-1 was the spare of an earlier balancer", 1)
            .await;
        assert_eq!(balancer.count_in_log("starting spare-"), 0);
        assert_eq!(id(&only_spare(&fleet)), before);
        let first = kill_server1(&fleet, &balancer).await;
        assert_eq!(id(&fleet.container("Server1")), before);
        spare_is_ready(&balancer).await;
        assert!(only_spare(&fleet).contains("-spare-2-of-"));
        signal(balancer.pid(), "KILL");
        drop(balancer);

        // One that plays a replica still does. A take-over that was not finished: the name is free.
        let kept = id(&only_spare(&fleet));
        cli(&["kill", &fleet.container("Server2")]);
        cli(&[
            "rename",
            &fleet.container("Server2"),
            &fleet.container("Server2-dead-1"),
        ]);
        let balancer = start_with_spare(&fleet).await;
        assert_eq!(id(&fleet.container("Server1")), before);
        let own = fleet.container("Server2");
        assert_eq!(id(&own), kept);
        let status = get(&balancer.status_url().await).await.body;
        assert_eq!(status["replicas"][0]["generation"], first, "{status}");
        let second = generation(&own);
        assert_eq!(status["replicas"][1]["generation"], second, "{status}");
        signal(balancer.pid(), "KILL");
        drop(balancer);

        // The same, with the name taken.
        cli(&["rm", "--force", &own]);
        let kept = id(&only_spare(&fleet));
        cli(&["rename", &only_spare(&fleet), &own]);
        let balancer = start_with_spare(&fleet).await;
        assert_eq!(id(&own), kept);
        let owners = owners(&balancer).await;
        let ids = BTreeMap::from([("Server1", "spare-1"), ("Server2", "spare-3")]);
        assert_eq!(ids_of(&owners), ids);
        signal(balancer.pid(), "KILL");
        drop(balancer);

        // A balancer that keeps none ends what is left.
        let balancer = start_slow(&fleet, &[]);
        all_are_ready(&balancer, &TWO).await;
        eventually("the spare is gone", || async { spares(&fleet).is_empty() }).await;
        assert_eq!(id(&own), kept);
    });
}

#[test]
#[ignore = "takes long: make test-full"]
fn spare_container_that_dies_is_replaced_and_all_follow_a_rollout() {
    on_engine(|| async {
        let fleet = TestFleet::new();
        let balancer = start_with_spare(&fleet).await;
        let spare = only_spare(&fleet);
        cli(&["kill", &spare]);
        balancer.has_logged("spare-1: killed by signal 9", 1).await;
        balancer.has_logged("starting spare-2", 1).await;
        spare_is_ready(&balancer).await;
        let second = only_spare(&fleet);
        assert!(second.contains("-spare-2-of-"), "{second}");

        // One that plays a replica is replaced like any other.
        kill_server1(&fleet, &balancer).await;
        let load = Load::start(&balancer.url("/home"), 4);
        load.go_on_for(50).await;
        let new = json!({"env": {"COLOUR": "blue"}});
        let rollout = begin(&balancer, new).await;
        comes_to(&balancer, rollout, "done").await;
        load.go_on_for(50).await;
        let is_blue = |container: &str| {
            let env = inspect(container)["Config"]["Env"].to_string();
            env.contains("COLOUR=blue")
        };
        for name in TWO {
            assert!(is_blue(&fleet.container(name)), "{name}");
        }
        eventually("the spare has the new definition", || async {
            matches!(&spares(&fleet)[..], [one] if is_blue(one))
        })
        .await;
        spare_is_ready(&balancer).await;
        kill_server1(&fleet, &balancer).await;
        assert!(is_blue(&fleet.container("Server1")));
        load.go_on_for(50).await;
        assert_eq!(load.stop().await.failures, Vec::<String>::new());

        // To a command that says the replica's name there is no rollout.
        let url = format!("{}/rollouts", balancer.status_url().await);
        let named = json!({"command": ["app", "{name}"]});
        let refused = ask(Method::POST, &url, Some(named)).await;
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
        let detail = refused.body["detail"].as_str().unwrap();
        assert!(detail.contains("would be a spare's"), "{detail}");
    });
}

#[test]
#[ignore = "takes long: make test-full"]
fn balancers_that_share_a_fleet_have_spares_of_their_own() {
    on_engine(|| async {
        let fleet = TestFleet::new();
        let one = start_with_spare(&fleet).await;
        let other = start_slow(&fleet, &["--spares", "1"]);
        all_are_ready(&other, &TWO).await;
        spare_is_ready(&other).await;
        let both = spares(&fleet);
        assert_eq!(both.len(), 2, "{both:?}");
        assert_eq!(other.count_in_log("was the spare of an earlier"), 0);

        // Both want to have it played: one of the spares does, on both rings, and the other one stays.
        let ids: Vec<_> = both.iter().map(|name| id(name)).collect();
        cli(&["kill", &fleet.container("Server1")]);
        eventually("a spare plays it", || async {
            ids.contains(&id(&fleet.container("Server1")))
        })
        .await;
        let generation = generation(&fleet.container("Server1"));
        let back = format!("Server1 (generation {generation}) is ready at");
        for balancer in [&one, &other] {
            balancer.has_logged(&back, 1).await;
            spare_is_ready(balancer).await;
        }
        assert_eq!(spares(&fleet).len(), 2);
        route_alike(&one, &other).await;

        // What one removes leaves the other's ring.
        let removed = other.rm(json!({"n": 1, "hostnames": ["Server1"]})).await;
        assert_eq!(removed.status, StatusCode::OK, "{:?}", removed.body);
        eventually("the other one follows", || async {
            one.replicas().await == ["Server2"]
        })
        .await;

        // Of one that is gone the other's next balancer takes over what is not owned.
        signal(one.pid(), "KILL");
        drop(one);
        let third = start_slow(&fleet, &["--spares", "1"]);
        third
            .has_logged("was the spare of an earlier balancer", 1)
            .await;
        spare_is_ready(&third).await;
        assert_eq!(spares(&fleet).len(), 2);
        let (status, log) = third.terminate().await;
        assert!(status.success(), "{log}");
        assert_eq!(spares(&fleet).len(), 1);
        all_are_ready(&other, &["Server2"]).await;
    });
}
