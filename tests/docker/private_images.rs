//! Images of a registry that asks for credentials.

use std::process::{Child, Command, Stdio};

use awc::http::Method;

use crate::docker::registry::{PASSWORD, RegistryFiles};
use crate::docker::{TestFleet, docker as cli, quietly};
use crate::fleet_fixture::{on_engine, on_the_ring};
use crate::support::{Ringmaster, ask, eventually, free_port, get, signal};

/// Debian's registry on loopback, with one user; it ends when dropped.
struct Registry {
    process: Child,
    files: RegistryFiles,
}

impl Registry {
    /// None without the programs, which under CI is a failure.
    async fn start() -> Option<Self> {
        let address = format!("127.0.0.1:{}", free_port());
        let files = RegistryFiles::new(address)?;
        let process = Command::new("docker-registry")
            .arg("serve")
            .arg(files.settings())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let registry = Self { process, files };
        eventually("the registry listens", || async {
            std::net::TcpStream::connect(&registry.files.address).is_ok()
        })
        .await;
        Some(registry)
    }

    fn address(&self) -> &str {
        &self.files.address
    }

    /// A folder for `DOCKER_CONFIG` in which `docker login` has put the credentials.
    fn logged_in(&self) -> String {
        self.files.logged_in(|arguments| {
            cli(arguments);
        })
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// An image's name in one engine, which goes when dropped.
struct Tag(String);

impl Drop for Tag {
    fn drop(&mut self) {
        quietly(&["rmi", &self.0]);
    }
}

#[test]
#[ignore = "takes long: make test-full"]
fn private_image_is_pulled_with_credentials_and_not_by_a_respawn() {
    on_engine(|| async {
        let Some(mut registry) = Registry::start().await else {
            return;
        };
        let mut fleet = TestFleet::new();
        let tag = Tag(format!("{}/replica:1", registry.address()));
        cli(&["tag", &fleet.settings.image, &tag.0]);
        let login = registry.logged_in();
        cli(&["--config", &login, "push", &tag.0]);
        cli(&["rmi", &tag.0]);
        fleet.settings.image = tag.0.clone();

        let empty = registry.files.config("empty", "{}");
        let wrong = registry.files.wrong();
        let refusal = |config: &str, pull: &str| {
            let output = Command::new(env!("CARGO_BIN_EXE_ringmaster"))
                .args(["--listen", "127.0.0.1:0", "--image", &tag.0, "--pull", pull])
                .args(["--fleet", &fleet.settings.fleet])
                .env("DOCKER_CONFIG", config)
                .output()
                .unwrap();
            assert_eq!(output.status.code(), Some(1));
            String::from_utf8_lossy(&output.stderr).into_owned()
        };
        for (config, pull, told) in [
            (&empty, "missing", "no credentials for 127.0.0.1"),
            (&wrong, "missing", "has user \"me\" for 127.0.0.1"),
            (&login, "never", "--pull never forbids pulling it"),
        ] {
            let log = refusal(config, pull);
            assert!(log.contains(told), "{log}");
        }

        let start = |config: &str, pull: &str, path: &str| {
            let name = fleet.settings.fleet.as_str();
            let args = ["--image", &tag.0, "--fleet", name, "--pull", pull];
            let more = ["--replicas", "1", "--heartbeat-interval", "200ms"];
            let env = [("DOCKER_CONFIG", config), ("PATH", path)];
            Ringmaster::start_with(&[&args[..], &more].concat(), &env)
        };
        let path = std::env::var("PATH").unwrap();
        let balancer = start(&login, "missing", &path);
        on_the_ring(&balancer, "Server1", 1).await;
        assert_eq!(balancer.count_in_log("pulling image"), 1);
        assert!(balancer.terminate().await.0.success());

        // A credential helper, whose answer is the one that counts.
        let helper = "#!/bin/sh\n[ \"$1 $(cat)\" = \"get $REGISTRY\" ] || exit 1\n\
             echo '{\"ServerURL\":\"x\",\"Username\":\"me\",\"Secret\":\"$PASSWORD\"}'\n"
            .replace("$REGISTRY", registry.address())
            .replace("$PASSWORD", PASSWORD);
        let helpers = registry.files.folder.path().join("bin");
        std::fs::create_dir(&helpers).unwrap();
        let program = helpers.join("docker-credential-rmtest");
        std::fs::write(&program, helper).unwrap();
        make_executable(&program);
        let config = format!(
            r#"{{"credHelpers": {{"{}": "rmtest"}}}}"#,
            registry.address()
        );
        let config = registry.files.config("helper", &config);
        let path = format!("{}:{path}", helpers.display());
        let balancer = start(&config, "always", &path);
        on_the_ring(&balancer, "Server1", 1).await;
        assert_eq!(balancer.count_in_log("pulling image"), 1);

        // Without the registry a respawn takes what the engine has, and a start must not pull.
        registry.process.kill().unwrap();
        registry.process.wait().unwrap();
        cli(&["kill", &fleet.container("Server1")]);
        on_the_ring(&balancer, "Server1", 2).await;
        assert_eq!(balancer.count_in_log("pulling image"), 1);
        assert!(balancer.terminate().await.0.success());
        let log = refusal(&login, "always");
        assert!(log.contains("no image"), "{log}");
        let balancer = start(&login, "never", &path);
        on_the_ring(&balancer, "Server1", 1).await;
    });
}

#[test]
#[ignore = "takes long: make test-full"]
fn tag_that_moves_at_its_registry_is_rolled_out_once() {
    on_engine(|| async {
        let Some(registry) = Registry::start().await else {
            return;
        };
        let mut fleet = TestFleet::new();
        let tag = Tag(format!("{}/watched:1", registry.address()));
        let login = registry.logged_in();
        let push = |from: &str| {
            cli(&["tag", from, &tag.0]);
            cli(&["--config", &login, "push", &tag.0]);
            let digests = cli(&["inspect", "--format", "{{join .RepoDigests \" \"}}", &tag.0]);
            let own = format!("{}/watched@", registry.address());
            let mut digests = digests.split_whitespace();
            let digest = digests.find_map(|text| text.strip_prefix(&own));
            digest.unwrap().to_owned()
        };
        let first = push(&fleet.settings.image);
        // Another image of the same program.
        let next = Tag(format!("{}/next:1", registry.address()));
        let made = cli(&["create", "--label", "version=2", &fleet.settings.image]);
        cli(&[
            "commit",
            "--change",
            "LABEL version=2",
            made.trim(),
            &next.0,
        ]);
        cli(&["rm", "--volumes", made.trim()]);
        fleet.settings.image = tag.0.clone();
        let start = || {
            let name = fleet.settings.fleet.as_str();
            let args = ["--image", &tag.0, "--fleet", name, "--image-watch", "1s"];
            let more = ["--replicas", "2", "--heartbeat-interval", "200ms"];
            let rest = ["--rollout-monitor", "100ms", "--admin", "127.0.0.1:0"];
            let env = [("DOCKER_CONFIG", login.as_str())];
            Ringmaster::start_with(&[&args[..], &more, &rest].concat(), &env)
        };
        let balancer = start();
        on_the_ring(&balancer, "Server2", 1).await;
        watched(&balancer, &first).await;
        assert_eq!(balancer.count_in_log("rollout 1 begins"), 0);

        let second = push(&next.0);
        assert_ne!(first, second);
        let _pinned =
            [&first, &second].map(|digest| Tag(format!("{}/watched@{digest}", registry.address())));
        balancer.has_logged("rollout 1 is done", 1).await;
        let moved = format!("{} is {second} at its registry: rollout 1", tag.0);
        balancer.has_logged(&moved, 1).await;
        let image = cli(&[
            "inspect",
            "--format",
            "{{.Config.Image}}",
            &fleet.container("Server1"),
        ]);
        assert_eq!(image.trim(), format!("{}@{second}", tag.0));
        let is_it = |event: &serde_json::Value| event["event"] == "image_moved";
        balancer.event(is_it).await;

        // A balancer that is killed goes on with it, by the same flags.
        signal(balancer.pid(), "KILL");
        drop(balancer);
        let balancer = start();
        watched(&balancer, &second).await;
        let fleet_status = balancer.status_url().await;
        let undo = format!("{fleet_status}/rollouts/1/undo");
        let undone = ask(Method::POST, &undo, None).await;
        assert_eq!(undone.status, 200, "{:?}", undone.body);
        balancer.has_logged("rollout 2 is done", 1).await;
        // What an operator has undone is not brought again.
        let asked = || async { get(&fleet_status).await.body["image_watch"]["checked_at"].clone() };
        let before = asked().await;
        eventually("the registry is asked again", || async {
            asked().await != before
        })
        .await;
        let before = asked().await;
        eventually("and again", || async { asked().await != before }).await;
        assert_eq!(balancer.count_in_log("rollout 3 begins"), 0);
    });
}

/// Waits until a balancer has seen this digest at the registry.
async fn watched(balancer: &Ringmaster, digest: &str) {
    let url = balancer.status_url().await;
    eventually("the registry is asked", || async {
        get(&url).await.body["image_watch"]["digest"] == digest
    })
    .await;
}

fn make_executable(program: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt;
    let executable = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(program, executable).unwrap();
}
