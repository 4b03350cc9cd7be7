//! `docker stack deploy`: the example's stack file, on three managers.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::fixture::{SwarmBalancer, SwarmFleet};
use crate::images::{ADDRESS, Registry, all_run, second_version};
use crate::load::SwarmLoad;
use crate::nodes::{Swarm, swarm, wait_until};

const STACK: &str = "shop";
const THREE: [&str; 3] = ["Server1", "Server2", "Server3"];

/// What replicas run.
pub const COMMAND: &str = "/ringmaster replica --listen 0.0.0.0:7070";

/// A stack that is deployed, and how it is deployed again.
pub struct Stack {
    swarm: &'static Swarm,
    pub fleet: SwarmFleet,
    folder: tempfile::TempDir,
}

impl Stack {
    pub fn new(swarm: &'static Swarm) -> Self {
        let stack = Self {
            swarm,
            fleet: SwarmFleet {
                swarm,
                name: "shop".to_owned(),
            },
            folder: tempfile::tempdir().unwrap(),
        };
        // What an earlier test has left of its own.
        stack.remove();
        for node in 1..=3 {
            // A mount's source may name the node by its host name.
            let socket = PathBuf::from(swarm.socket(node));
            let folder = socket.parent().unwrap();
            let named = folder.with_file_name(format!("node{node}"));
            let _ = std::os::unix::fs::symlink(folder, named);
        }
        stack
    }

    /// Deploys the example with these variables. `command`: what replicas run. `managers`: on which nodes
    /// a balancer is.
    pub fn deploy(&self, variables: &[(&str, &str)], command: &str, managers: &str) {
        let never = ["stack", "deploy", "--resolve-image", "never"];
        self.deploy_by(
            &never,
            &json!({"version": "3.9"}),
            variables,
            command,
            managers,
        );
    }

    /// The same by this command, with another file on top.
    pub fn deploy_by(
        &self,
        deploy: &[&str],
        on_top: &Value,
        variables: &[(&str, &str)],
        command: &str,
        managers: &str,
    ) {
        let socket = PathBuf::from(self.swarm.socket(1));
        let nodes = socket.parent().unwrap().parent().unwrap().to_owned();
        let socket = format!("{}/{{{{.Node.Hostname}}}}/docker.sock", nodes.display());
        // The image is one that tests run in as well, and says so by a variable.
        let more = json!({
            "version": "3.9",
            "services": {
                "web": {"command": command},
                "ringmaster": {
                    "entrypoint": ["sh", "-c", "unset RINGMASTER_TEST_REPLICA; exec /ringmaster \"$$@\"", "-"],
                    "environment": {
                        "RINGMASTER_ADMIN": "0.0.0.0:5001",
                        "RINGMASTER_ADMIN_INSECURE": "true",
                        "RINGMASTER_KEY": "header:X-Key",
                        "RINGMASTER_START_TIMEOUT": "20s",
                        "RINGMASTER_ROLLOUT_MONITOR": "500ms",
                    },
                    "ports": [{"target": 5001, "published": 5001, "mode": "host"}],
                    "deploy": {"placement": {"constraints": [managers]}},
                },
            },
        });
        let file = self.folder.path().join("test.yaml");
        std::fs::write(&file, more.to_string()).unwrap();
        let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/swarm-stack/stack.yaml");
        let (example, file) = (example.display().to_string(), file.display().to_string());
        let top = self.folder.path().join("top.yaml");
        std::fs::write(&top, on_top.to_string()).unwrap();
        let top = top.display().to_string();
        let image = &self.swarm.image;
        let usual = [
            ("PORT", "5000"),
            ("WEB_IMAGE", image),
            ("RINGMASTER_IMAGE", image),
            ("WEB_REPLICAS", "3"),
            ("DOCKER_SOCKET", &socket),
        ];
        let files = ["-c", &example, "-c", &file, "-c", &top, STACK];
        let variables = [&usual[..], variables].concat();
        self.swarm
            .docker_with(1, &variables, &[deploy, &files].concat());
    }

    /// The balancer on a node, once it listens there.
    pub fn balancer(&self, node: u32) -> SwarmBalancer {
        self.balancer_of("ringmaster", node)
    }

    /// The same of another service of the stack.
    pub fn balancer_of(&self, service: &str, node: u32) -> SwarmBalancer {
        let filter = format!("label=com.docker.swarm.service.name={STACK}_{service}");
        let mut container = String::new();
        wait_until("the balancer runs", || {
            let listed = self.swarm.docker(node, &["ps", "-q", "--filter", &filter]);
            container = listed.lines().next().unwrap_or_default().to_owned();
            !container.is_empty()
                && self
                    .swarm
                    .output_of(node, &container)
                    .contains(" listens on ")
        });
        SwarmBalancer {
            swarm: self.swarm,
            node,
            container,
            address: format!("192.168.77.{node}"),
        }
    }

    pub fn rm(&self) {
        // It says that networks and configs are in use, and fails.
        self.swarm.try_docker(1, &["stack", "rm", STACK]);
    }

    /// Removes all there is, however often it takes.
    pub fn remove(&self) {
        wait_until("nothing is left of the stack", || {
            self.swarm.try_docker(1, &["stack", "rm", STACK]);
            self.fleet.services().is_empty() && self.left().is_empty()
        });
    }

    /// What is left of the stack's own objects.
    fn left(&self) -> Vec<String> {
        let label = format!("label=com.docker.stack.namespace={STACK}");
        let mut left = Vec::new();
        for kind in ["service", "network", "config", "secret"] {
            let listed = self
                .swarm
                .docker(1, &[kind, "ls", "-q", "--filter", &label]);
            left.extend(listed.lines().map(|id| format!("{kind} {id}")));
        }
        left
    }

    /// The variable COLOUR of a replica's container, now.
    fn colour(&self, replica: &str) -> Option<String> {
        let (node, container) = self.fleet.try_place(replica)?;
        let found = self.swarm.try_docker(
            node,
            &[
                "container",
                "inspect",
                "--format",
                "{{json .Config.Env}}",
                &container,
            ],
        )?;
        let env: Vec<String> = serde_json::from_str(&found).ok()?;
        let mut colours = env
            .iter()
            .filter_map(|variable| variable.strip_prefix("COLOUR="));
        colours.next().map(str::to_owned)
    }

    /// Waits until the containers of all three have it: an old one runs for seconds after its end was asked for.
    pub fn all_have(&self, expected: &str) {
        wait_until(&format!("all are {expected}"), || {
            THREE
                .iter()
                .all(|replica| self.colour(replica).as_deref() == Some(expected))
        });
    }
}

/// How many events of a kind there are.
fn count(balancer: &SwarmBalancer, kind: &str) -> usize {
    let events = balancer.get("/api/v1/events?limit=1000");
    let events = events["items"].as_array().unwrap().iter();
    events.filter(|event| event["event"] == kind).count()
}

pub const ONE: &str = "node.hostname==node1";

#[test]
#[ignore = "makes a Swarm of three nodes"]
fn a_stack_file_is_deployed_changed_and_scaled() {
    let Some((swarm, _alone)) = swarm() else {
        return;
    };
    let stack = Stack::new(swarm);
    stack.deploy(&[], COMMAND, ONE);
    let balancer = stack.balancer(1);
    balancer.all_are_ready(&THREE);
    assert_eq!(stack.fleet.spread(), [1, 1, 1]);
    let (node, container) = stack.fleet.place("Server1");
    let found = swarm.inspect(node, "container", &container);
    assert_eq!(found["HostConfig"]["Memory"], 128 << 20);
    assert_eq!(found["Config"]["StopTimeout"], json!(null));
    assert_eq!(
        found["Config"]["Labels"].get("com.docker.stack.namespace"),
        None
    );
    let service = swarm.inspect(1, "service", "shop-Server1-1");
    let container = &service["Spec"]["TaskTemplate"]["ContainerSpec"];
    assert_eq!(container["Configs"][0]["ConfigName"], "shop_greeting");
    assert_eq!(container["Configs"][0]["File"]["Name"], "/etc/greeting");

    // The same again changes nothing, and neither does another setting of the balancer's service.
    stack.deploy(&[], COMMAND, ONE);
    let load = SwarmLoad::start(&balancer);
    stack.deploy(&[("WEB_COLOUR", "green")], COMMAND, ONE);
    wait_until("the rollout is done", || {
        count(&balancer, "rollout_done") == 1
    });
    let begun = count(&balancer, "rollout_started");
    stack.all_have("green");
    stack.deploy(
        &[("WEB_COLOUR", "green"), ("WEB_REPLICAS", "5")],
        COMMAND,
        ONE,
    );
    balancer.all_are_ready(&["Server1", "Server2", "Server3", "Server4", "Server5"]);
    stack.deploy(
        &[("WEB_COLOUR", "green"), ("WEB_REPLICAS", "2")],
        COMMAND,
        ONE,
    );
    balancer.all_are_ready(&["Server1", "Server2"]);
    load.stop_without_failures();
    assert_eq!((begun, count(&balancer, "rollout_started")), (1, 1));
    stack.remove();
}

#[test]
#[ignore = "makes a Swarm of three nodes"]
fn a_broken_version_is_rolled_back_and_not_tried_again() {
    let Some((swarm, _alone)) = swarm() else {
        return;
    };
    let stack = Stack::new(swarm);
    stack.deploy(&[], COMMAND, ONE);
    let balancer = stack.balancer(1);
    balancer.all_are_ready(&THREE);
    let load = SwarmLoad::start(&balancer);
    stack.deploy(&[("WEB_COLOUR", "red")], "/ringmaster nonsense", ONE);
    wait_until("it is rolled back", || {
        count(&balancer, "rollout_rolled_back") == 1
    });
    balancer.all_are_ready(&THREE);
    // What the file says is not tried again: neither at the same deploy, nor by the next balancer.
    stack.deploy(&[("WEB_COLOUR", "red")], "/ringmaster nonsense", ONE);
    load.stop_without_failures();
    let places = || THREE.map(|replica| stack.fleet.place(replica));
    let before = places();
    swarm.docker(1, &["kill", "--signal", "TERM", &balancer.container]);
    wait_until("the balancer ends", || {
        swarm
            .try_docker(
                1,
                &[
                    "container",
                    "inspect",
                    "--format",
                    "{{.State.Running}}",
                    &balancer.container,
                ],
            )
            .is_none_or(|state| state == "false")
    });
    let next = stack.balancer(1);
    next.all_are_ready(&THREE);
    assert_eq!(places(), before, "the replicas have outlived it");
    assert_eq!(count(&next, "rollout_started"), 0);
    stack.all_have("blue");
    // Another version is taken up.
    stack.deploy(&[("WEB_COLOUR", "green")], COMMAND, ONE);
    wait_until("the rollout is done", || count(&next, "rollout_done") == 1);
    stack.all_have("green");
    stack.remove();
}

#[test]
#[ignore = "makes a Swarm of three nodes"]
fn of_three_balancers_one_acts_and_all_end_with_the_stack() {
    let Some((swarm, _alone)) = swarm() else {
        return;
    };
    let stack = Stack::new(swarm);
    stack.deploy(&[], COMMAND, "node.role==manager");
    let balancers = [1, 2, 3].map(|node| stack.balancer(node));
    for balancer in &balancers {
        balancer.all_are_ready(&THREE);
    }
    let load = SwarmLoad::start(&balancers[1]);
    stack.deploy(&[("WEB_COLOUR", "green")], COMMAND, "node.role==manager");
    let all = |kind| balancers.iter().map(|b| count(b, kind)).sum::<usize>();
    wait_until("the rollout is done", || all("rollout_done") == 1);
    for balancer in &balancers {
        balancer.all_are_ready(&THREE);
    }
    load.go_on_for(100);
    load.stop_without_failures();
    assert_eq!(all("rollout_started"), 1);
    stack.all_have("green");
    let begun = Instant::now();
    stack.rm();
    wait_until("the replicas are gone", || {
        THREE
            .iter()
            .all(|replica| stack.fleet.try_place(replica).is_none())
    });
    let took = begun.elapsed();
    println!("the replicas are gone after {:.1} s", took.as_secs_f64());
    // Promised are the stop grace and 10 s; a busy machine takes longer.
    assert!(took < Duration::from_secs(60), "{took:?}");
    wait_until("nothing of Ringmaster's own is left", || {
        stack.fleet.services().is_empty() && stack.fleet.configs().is_empty()
    });
    wait_until("nothing is left of the stack", || {
        swarm.try_docker(1, &["stack", "rm", STACK]);
        stack.left().is_empty()
    });
    assert_eq!(stack.fleet.networks(), [""; 0]);
}

#[test]
#[ignore = "makes a Swarm of three nodes"]
fn an_image_behind_a_password_is_that_of_the_template_on_every_node() {
    let Some((swarm, _alone)) = swarm() else {
        return;
    };
    let Some(registry) = Registry::start(swarm) else {
        return;
    };
    let stack = Stack::new(swarm);
    let tag = format!("{ADDRESS}/stack:1");
    let first = registry.push(&swarm.image, &tag);
    let deploy = [
        "--config",
        &registry.login,
        "stack",
        "deploy",
        "--with-registry-auth",
    ];
    let secret = json!({
        "version": "3.9",
        "services": {"ringmaster": {
            "environment": {"DOCKER_CONFIG": "/run/secrets"},
            "secrets": [{"source": "registry", "target": "config.json"}],
        }},
        "secrets": {"registry": {"file": format!("{}/config.json", registry.login)}},
    });
    let deploy = || stack.deploy_by(&deploy, &secret, &[("WEB_IMAGE", &tag)], COMMAND, ONE);
    deploy();
    let balancer = stack.balancer(1);
    balancer.all_are_ready(&THREE);
    assert_eq!(stack.fleet.spread(), [1, 1, 1]);
    all_run(&stack.fleet, 3, &format!("{tag}@{first}"));

    // A tag that has moved is what the next deploy brings.
    let second = registry.push(&second_version(swarm), &tag);
    let killed = stack.fleet.kill("Server2").at;
    balancer.time_until("ready", "Server2", killed);
    all_run(&stack.fleet, 3, &format!("{tag}@{first}"));
    deploy();
    all_run(&stack.fleet, 3, &format!("{tag}@{second}"));
    stack.remove();
}
