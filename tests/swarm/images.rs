//! Images of a registry with a password, which each node has on its own loopback: one folder of images,
//! and a program in each node.

use std::process::{Child, Stdio};

use serde_json::{Value, json};

use crate::docker::registry::RegistryFiles;
use crate::fixture::{SwarmBalancer, SwarmFleet};
use crate::nodes::{Swarm, swarm, wait_until};
use crate::rollouts::{ROLLOUTS, begin, comes_to};

/// Where the registry is in each node. Engines use what is on loopback without TLS.
pub const ADDRESS: &str = "127.0.0.1:5555";

const THREE: [&str; 3] = ["Server1", "Server2", "Server3"];

/// The registry; its programs end when dropped.
pub struct Registry {
    swarm: &'static Swarm,
    pub files: RegistryFiles,
    pub login: String,
    programs: Vec<Child>,
}

impl Registry {
    /// None without the programs, which under CI is a failure.
    pub fn start(swarm: &'static Swarm) -> Option<Self> {
        let files = RegistryFiles::new(ADDRESS.to_owned())?;
        // It ends by its id when the input ends.
        let serve = "docker-registry serve \"$1\" & id=$!; cat >/dev/null; kill \"$id\"; wait";
        let settings = files.settings();
        let serving = |node| {
            let mut command = swarm.begin_inside(node, &["sh", "-c", serve, "-", &settings]);
            let command = command.stdin(Stdio::piped()).stdout(Stdio::null());
            command.stderr(Stdio::null()).spawn().unwrap()
        };
        let programs = (1..=3).map(serving).collect();
        let url = format!("http://{ADDRESS}/v2/");
        for node in ["1", "2", "3"] {
            wait_until("the registry listens", || {
                swarm.try_run(&["in", node, "curl", "-s", &url]).is_some()
            });
        }
        let login = files.logged_in(|arguments| {
            swarm.docker(1, arguments);
        });
        Some(Self {
            swarm,
            files,
            login,
            programs,
        })
    }

    /// Pushes an image of node 1 under a name, and returns its digest. No engine has the name afterwards.
    pub fn push(&self, image: &str, name: &str) -> String {
        let docker = |arguments: &[&str]| self.swarm.docker(1, arguments);
        docker(&["tag", image, name]);
        docker(&["--config", &self.login, "push", name]);
        let digests = docker(&["inspect", "--format", "{{join .RepoDigests \" \"}}", name]);
        let repository = name.rsplit_once(':').unwrap().0;
        let mut digests = digests.split_whitespace();
        let digest = digests.find_map(|text| text.strip_prefix(&format!("{repository}@")));
        let digest = digest.unwrap().to_owned();
        docker(&["rmi", name]);
        digest
    }

    /// The options of `docker run` that give a container this folder as Docker's configuration.
    pub fn given(config: &str) -> [String; 4] {
        [
            "-v",
            &format!("{config}:/registry:ro"),
            "-e",
            "DOCKER_CONFIG=/registry",
        ]
        .map(str::to_owned)
    }

    fn end(&mut self) {
        for mut program in self.programs.drain(..) {
            drop(program.stdin.take());
            program.wait().unwrap();
        }
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.end();
    }
}

/// Another image of the same program, in node 1.
pub fn second_version(swarm: &Swarm) -> String {
    let made = swarm.docker(1, &["create", &swarm.image]);
    let change = ["commit", "--change", "LABEL version=2", &made];
    let version = swarm.docker(1, &change);
    swarm.docker(1, &["rm", "--volumes", &made]);
    version
}

/// The name and the id of the image that a container was made of.
fn image_of(fleet: &SwarmFleet, node: u32, container: &str) -> Option<(String, String)> {
    let format = "{{.Config.Image}} {{.Image}}";
    let inspect = ["container", "inspect", "--format", format, container];
    let found = fleet.swarm.try_docker(node, &inspect)?;
    let (name, id) = found.split_once(' ')?;
    Some((name.to_owned(), id.to_owned()))
}

/// Those of a replica's.
fn image_of_replica(fleet: &SwarmFleet, replica: &str) -> (String, String) {
    let (node, container) = fleet.place(replica);
    image_of(fleet, node, &container).unwrap()
}

/// Those of all of the fleet's containers that run.
fn images(fleet: &SwarmFleet) -> Vec<(String, String)> {
    let label = format!("label=io.ringmaster.fleet={}", fleet.name);
    let listed = |node| {
        let ids = fleet.swarm.docker(node, &["ps", "-q", "--filter", &label]);
        let images = ids.lines().filter_map(|id| image_of(fleet, node, id));
        images.collect::<Vec<_>>()
    };
    (1..=3).flat_map(listed).collect()
}

/// Waits until this number of containers runs, all of one image. Returns the id of the image.
pub fn all_run(fleet: &SwarmFleet, count: usize, image: &str) -> String {
    let mut found = Vec::new();
    wait_until(&format!("{count} run {image}"), || {
        found = images(fleet);
        found.len() == count && found.iter().all(|(name, _)| name == image)
    });
    let (_, id) = found.remove(0);
    assert!(found.iter().all(|(_, other)| *other == id), "{found:?}");
    id
}

fn start(fleet: &SwarmFleet, node: u32, config: &str, image: &str, more: &[&str]) -> SwarmBalancer {
    let given = Registry::given(config);
    let flags = ["--image", image, "--rollout-monitor", "0s"];
    fleet.balancer_in(
        node,
        &given.each_ref().map(String::as_str),
        &[&flags[..], more].concat(),
    )
}

/// How often the log has it.
fn count(balancer: &SwarmBalancer, text: &str) -> usize {
    balancer.log().matches(text).count()
}

#[test]
#[ignore = "makes a Swarm of three nodes"]
fn a_tag_is_one_image_on_every_node_until_a_rollout() {
    let Some((swarm, _alone)) = swarm() else {
        return;
    };
    let Some(registry) = Registry::start(swarm) else {
        return;
    };
    let fleet = SwarmFleet::new(swarm);
    let tag = format!("{ADDRESS}/pinned:1");
    let pinned = |digest: &str| format!("{tag}@{digest}");
    let first = registry.push(&swarm.image, &tag);
    let balancer = start(&fleet, 1, &registry.login, &tag, &[]);
    balancer.all_are_ready(&THREE);
    assert_eq!(fleet.spread(), [1, 1, 1]);
    let id = all_run(&fleet, 3, &pinned(&first));

    // The tag moves: what dies is what it was, on whatever node it comes back.
    let second = registry.push(&second_version(swarm), &tag);
    assert_ne!(first, second);
    for replica in THREE {
        let killed = fleet.kill(replica).at;
        balancer.time_until("ready", replica, killed);
        let image = image_of_replica(&fleet, replica);
        assert_eq!(image, (pinned(&first), id.clone()));
    }
    // So it is for a balancer that restarts, and for one that joins it with more replicas to ask for.
    balancer.kill();
    let more = ["--replicas", "4"];
    let balancer = start(&fleet, 2, &registry.login, &tag, &more);
    let four = ["Server1", "Server2", "Server3", "Server4"];
    balancer.all_are_ready(&four);
    assert_eq!(count(&balancer, "at its registry"), 0, "nothing is asked");
    assert_eq!(all_run(&fleet, 4, &pinned(&first)), id);

    // A rollout of the same tag asks again.
    let rollout = begin(&balancer, &json!({"image": tag}));
    comes_to(&balancer, rollout, "done");
    let moved = all_run(&fleet, 4, &pinned(&second));
    assert_ne!(id, moved);
    let killed = fleet.kill("Server3").at;
    balancer.time_until("ready", "Server3", killed);
    let image = image_of_replica(&fleet, "Server3");
    assert_eq!(image, (pinned(&second), moved));
    let again = balancer.call("POST", ROLLOUTS, Some(&json!({"image": tag}).to_string()));
    let detail = again["detail"].as_str().unwrap_or_default();
    assert!(detail.contains("this changes nothing"), "{again}");
    // Another setting keeps the digest.
    let rollout = begin(&balancer, &json!({"env": {"COLOUR": "green"}}));
    comes_to(&balancer, rollout, "done");
    all_run(&fleet, 4, &pinned(&second));
    balancer.stop();
}

#[test]
#[ignore = "makes a Swarm of three nodes"]
fn an_image_behind_a_password_starts_on_every_node_and_wrong_credentials_are_told() {
    let Some((swarm, _alone)) = swarm() else {
        return;
    };
    let Some(registry) = Registry::start(swarm) else {
        return;
    };
    let fleet = SwarmFleet::new(swarm);
    let tag = format!("{ADDRESS}/vault:1");
    registry.push(&swarm.image, &tag);
    let empty = registry.files.config("empty", "{}");
    let wrong = registry.files.wrong();
    for (config, told) in [
        (
            &empty,
            "no credentials for 127.0.0.1:5555: docker login adds them",
        ),
        (&wrong, "has user \"me\" for 127.0.0.1:5555"),
    ] {
        let given = Registry::given(config);
        let given = given.each_ref().map(String::as_str);
        let refused = fleet.begin(1, &given, &["--image", &tag]);
        wait_until("the balancer ends", || !refused.runs());
        let log = refused.log();
        assert!(
            log.contains(&format!("no image {tag}: ")) && log.contains(told),
            "{log}"
        );
        assert_eq!(fleet.services(), [""; 0]);
    }

    // The manager has the image, and the other nodes cannot fetch it.
    swarm.docker(1, &["--config", &registry.login, "pull", &tag]);
    let balancer = start(&fleet, 1, &wrong, &tag, &[]);
    let told = |reason: &Value| {
        let reason = reason.as_str().unwrap_or_default();
        reason.contains("its node could not fetch it, and to this manager the registry says: ")
            && reason.contains("/registry/config.json has user \"me\" for 127.0.0.1:5555")
    };
    wait_until("it is told", || {
        let replicas = balancer.status()["replicas"].as_array().unwrap().clone();
        let failed = replicas
            .iter()
            .filter(|replica| told(&replica["last_error"]));
        failed.count() == 2
    });
    assert_eq!(count(&balancer, "so nodes may run different images"), 1);
    balancer.stop();
    swarm.docker(1, &["rmi", &tag]);
    assert_eq!(fleet.services(), [""; 0]);

    let balancer = start(&fleet, 1, &registry.login, &tag, &[]);
    balancer.all_are_ready(&THREE);
    assert_eq!(fleet.spread(), [1, 1, 1]);
    balancer.stop();
    assert_eq!(fleet.services(), [""; 0]);
}

#[test]
#[ignore = "makes a Swarm of three nodes"]
fn without_a_registry_nodes_run_what_they_have_for_the_tag() {
    let Some((swarm, _alone)) = swarm() else {
        return;
    };
    let fleet = SwarmFleet::new(swarm);
    let tag = format!("{ADDRESS}/silent:1");
    for node in 1..=3 {
        swarm.docker(node, &["tag", &swarm.image, &tag]);
    }
    let flags = ["--image", &tag];
    let balancer = fleet.balancer(1, &flags);
    balancer.all_are_ready(&THREE);
    assert_eq!(all_run(&fleet, 3, &tag), swarm.image);
    let killed = fleet.kill("Server2").at;
    balancer.time_until("ready", "Server2", killed);
    let told = format!("no digest of {tag}: ");
    assert_eq!(count(&balancer, &told), 1, "{}", balancer.log());
    balancer.stop();
    for node in 1..=3 {
        swarm.docker(node, &["rmi", &tag]);
    }
}

#[test]
#[ignore = "makes a Swarm of three nodes"]
fn a_tag_that_moves_is_rolled_out_by_itself_if_it_is_watched() {
    let Some((swarm, _alone)) = swarm() else {
        return;
    };
    let Some(registry) = Registry::start(swarm) else {
        return;
    };
    let fleet = SwarmFleet::new(swarm);
    let tag = format!("{ADDRESS}/watched:1");
    let first = registry.push(&swarm.image, &tag);
    let balancer = start(&fleet, 1, &registry.login, &tag, &["--image-watch", "1s"]);
    balancer.all_are_ready(&THREE);
    all_run(&fleet, 3, &format!("{tag}@{first}"));
    let second = registry.push(&second_version(swarm), &tag);
    all_run(&fleet, 3, &format!("{tag}@{second}"));
    comes_to(&balancer, 1, "done");
    balancer.stop();
}
