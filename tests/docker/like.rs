//! Replicas that are like an existing container: all that the engine says of it, and no addresses.

use std::net::SocketAddr;
use std::time::Duration;

use ringmaster::fleet::ContainerTemplate;
use ringmaster::ring::Weight;
use ringmaster::runtime::{InstanceId, LaunchOrder, Runtime};
use serde_json::{Value, json};

use crate::docker::{TestFleet, docker as cli, engine_answers, get, inspect, quietly, test_image};
use crate::runtime::Start as _;
use crate::support::{Ringmaster, eventually};

/// A container that somebody has started, with its network, until the test ends.
struct Source {
    name: String,
    network: String,
}

impl Source {
    fn start(case: &str) -> Self {
        let name = format!("rmtest-{}-like-{case}", std::process::id());
        let network = format!("{name}-net");
        cli(&["network", "create", &network]);
        let options = [
            "--network-alias=shop",
            "--env=PORT=7070",
            "--env=SERVER_ID=source",
            "--env=TOKEN=a, b",
            "--user=1234",
            "--memory=100m",
            "--cpus=0.5",
            "--pids-limit=99",
            "--cap-add=NET_ADMIN",
            "--cap-drop=MKNOD",
            "--ulimit=nofile=512:1024",
            "--shm-size=32m",
            "--device=/dev/null:/dev/nothing:r",
            "--tmpfs=/run:size=1m",
            "--volume=/cache",
            "--add-host=db:10.9.8.7",
            "--dns=9.9.9.9",
            "--label=team=zoo",
            "--label=com.docker.compose.project=none",
            "--log-opt=max-size=1m",
            "--stop-signal=QUIT",
            "--stop-timeout=3",
            "--health-cmd=exit 0",
            "--health-interval=1h",
            "--sysctl=net.core.somaxconn=99",
            "--oom-score-adj=7",
            "--read-only",
            "--restart=always",
            "--publish=127.0.0.1::7070",
        ];
        let of = [&*format!("--name={name}"), &*format!("--network={network}")];
        let image = test_image();
        cli(&[&["run", "--detach"], &of[..], &options, &[image]].concat());
        let source = Self { name, network };
        // One that ends and is started again and again cannot be removed at any moment.
        let address =
            inspect(&source.name)["NetworkSettings"]["Networks"][&source.network]["IPAddress"]
                .clone();
        get(
            format!("{}:7070", address.as_str().unwrap())
                .parse()
                .unwrap(),
            "/home",
        );
        source
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        quietly(&["rm", "--force", "--volumes", &self.name]);
        quietly(&["network", "rm", &self.network]);
    }
}

fn order(replica: &str, generation: u64) -> LaunchOrder {
    LaunchOrder {
        id: InstanceId::new(replica.parse().unwrap(), generation),
        weight: Weight::default(),
        ordinal: 1,
    }
}

/// What a replica must not have in common with the container that it is like.
const OWN: [&str; 6] = [
    "Hostname",
    "Labels",
    "Env",
    "PortBindings",
    "RestartPolicy",
    "ContainerIDFile",
];

#[test]
fn everything_that_the_engine_says_is_copied_and_no_address() {
    if !engine_answers() {
        return;
    }
    actix::System::new().block_on(async {
        let source = Source::start("all");
        let mut fleet = TestFleet::new();
        fleet.settings.template = Default::default();
        fleet.settings.image = String::new();
        fleet.settings.like = Some(ContainerTemplate {
            container: source.name.clone(),
            body: Value::Null,
        });
        let settings = fleet.settings.clone().like_container(false).await.unwrap();
        fleet.settings = settings.expect("the container is there");
        assert_eq!(fleet.settings.network, source.network);
        assert_eq!(fleet.settings.image, test_image());
        assert_eq!(fleet.settings.template.port, Some(7070));

        let runtime = fleet.runtime();
        runtime.prepare().await.unwrap();
        let endpoint: SocketAddr = runtime.start(order("S1", 1)).await.unwrap().endpoint;
        assert_eq!(endpoint.port(), 7070);
        get(endpoint, "/home");
        let (of, is) = (inspect(&source.name), inspect(&fleet.container("S1")));
        for part in ["Config", "HostConfig"] {
            for (key, value) in of[part].as_object().unwrap() {
                if !OWN.contains(&key.as_str()) {
                    assert_eq!(is[part][key], *value, "{part}.{key}");
                }
            }
        }
        let env = is["Config"]["Env"].as_array().unwrap();
        for variable in ["TOKEN=a, b", "PORT=7070", "SERVER_ID=S1"] {
            assert!(env.contains(&json!(variable)), "{env:?}");
        }
        assert!(!env.contains(&json!("SERVER_ID=source")), "{env:?}");
        let labels = &is["Config"]["Labels"];
        assert_eq!(
            (&labels["team"], &labels["io.ringmaster.replica"]),
            (&json!("zoo"), &json!("S1"))
        );
        // Compose would remove it.
        assert_eq!(labels.get("com.docker.compose.project"), None);
        assert_eq!(is["Config"]["Hostname"], "S1");
        assert_eq!(is["HostConfig"]["RestartPolicy"]["Name"], "no");
        let network = |found: &Value| found["NetworkSettings"]["Networks"][&source.network].clone();
        let aliases = network(&is)["Aliases"].as_array().unwrap().clone();
        assert!(
            aliases.contains(&json!("shop")) && aliases.contains(&json!("S1")),
            "{aliases:?}"
        );
        let id = of["Id"].as_str().unwrap();
        assert!(!aliases.contains(&json!(id[..12])), "{aliases:?}");
        assert_ne!(network(&is)["IPAddress"], network(&of)["IPAddress"]);
        // A volume without a name is a fresh one.
        let volume = |found: &Value| {
            let mounts = found["Mounts"].as_array().unwrap().clone();
            let volume = mounts
                .into_iter()
                .find(|mount| mount["Destination"] == "/cache");
            volume.unwrap()["Name"].as_str().unwrap().to_owned()
        };
        assert_ne!(volume(&is), volume(&of));
        runtime
            .stop(order("S1", 1).id, Duration::ZERO)
            .await
            .unwrap();
    });
}

#[actix_web::test]
async fn a_fleet_outlives_the_container_that_it_is_like() {
    if !engine_answers() {
        return;
    }
    let source = Source::start("gone");
    let fleet = TestFleet::new();
    let args = [
        &*format!("--like={}", source.name),
        &*format!("--fleet={}", fleet.settings.fleet),
        "--replicas=2",
        "--env=TOKEN=mine",
        "--heartbeat-interval=200ms",
        "--admin=127.0.0.1:0",
    ];
    let both_serve = async |balancer: &Ringmaster| {
        eventually("both are ready", || async {
            let status = crate::support::get(&balancer.status_url().await).await.body;
            let replicas = status["replicas"].as_array().unwrap();
            replicas.len() == 2 && replicas.iter().all(|replica| replica["state"] == "ready")
        })
        .await;
    };
    let balancer = Ringmaster::start(&args);
    both_serve(&balancer).await;
    cli(&["rm", "--force", "--volumes", &source.name]);
    // A respawn needs it no more, and a start neither: the fleet record has what it was.
    cli(&["rm", "--force", "--volumes", &fleet.container("Server1")]);
    eventually("it is back", || async {
        quietly(&["inspect", &fleet.container("Server1")]).contains("TOKEN=mine")
    })
    .await;
    // SIGKILL: it cannot say good-bye.
    drop(balancer);
    cli(&["rm", "--force", "--volumes", &fleet.container("Server2")]);
    let balancer = Ringmaster::start(&args);
    both_serve(&balancer).await;
    let found = inspect(&fleet.container("Server2"));
    assert_eq!(found["HostConfig"]["Memory"], 100 << 20);
    assert_eq!(found["Config"]["User"], "1234");
    drop(balancer);

    let output = std::process::Command::new(env!("CARGO_BIN_EXE_ringmaster"))
        .args([
            "--like=rmtest-missing",
            "--fleet=rmtest-missing",
            "--listen=127.0.0.1:0",
        ])
        .args(["--admin=127.0.0.1:0"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        said.contains("--like rmtest-missing: the engine has no such container"),
        "{said}"
    );
}
