//! The flags of `docker run`, on a real engine: from a command line to what the engine has got.

use std::path::Path;
use std::time::Duration;

use ringmaster::cli::{self, Invocation};
use ringmaster::config::RuntimeSettings;
use ringmaster::runtime::Runtime;
use serde_json::json;

use crate::docker::{IN_IMAGE, TestFleet, docker as cli, inspect, quietly, until};
use crate::runtime::{Start as _, on_engine, order};

/// A fleet by these flags.
fn fleet(flags: &[&str]) -> TestFleet {
    let mut fleet = TestFleet::new();
    let name = format!("--fleet={}", fleet.settings.fleet);
    let image = format!("--image={}", fleet.settings.image);
    let args = ["ringmaster", &*name, &*image].into_iter();
    let args = args.chain(flags.iter().copied()).map(Into::into);
    match cli::parse(args, []) {
        Ok(Invocation::Balance { settings, .. }) => match settings.runtime {
            RuntimeSettings::Docker(docker) => fleet.settings = *docker,
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
    fleet
}

/// Volumes and networks that a test has made, until it ends. To be declared before the fleet that
/// uses them.
struct Made(Vec<[String; 2]>);

impl Drop for Made {
    fn drop(&mut self) {
        for [kind, name] in &self.0 {
            quietly(&[kind, "rm", name]);
        }
    }
}

/// A replica that notes each of its starts in a file.
fn noting(path: &str) -> String {
    format!(
        "--command=sh -c 'echo start >> {path}; exec {IN_IMAGE} --exact docker::replica_entrypoint --nocapture'"
    )
}

fn lines(container: &str, path: &str) -> String {
    // The image has no cat.
    let read = format!("while read line; do echo $line; done < {path}");
    quietly(&["exec", container, "sh", "-c", &read])
}

#[test]
fn data_of_a_named_volume_comes_back_with_the_replica() {
    on_engine(|| async {
        let volume = format!("rmtest-{}-data", std::process::id());
        let name = |replica: &str| ["volume".to_owned(), format!("{volume}-{replica}")];
        let _made = Made(vec![name("S1"), name("S2")]);
        let fleet = fleet(&[
            &format!("--volume={volume}-{{name}}:/data"),
            "--user=0",
            &noting("/data/log"),
        ]);
        let runtime = fleet.runtime();
        runtime.prepare().await.unwrap();
        let container = fleet.container("S1");
        let running = || inspect(&container)["State"]["Running"] == true;
        let noted = |count: usize| lines(&container, "/data/log").lines().count() == count;
        runtime.start(order("S1", 1)).await.unwrap();
        until("the first start is noted", || running() && noted(1)).await;
        runtime.start(order("S2", 1)).await.unwrap();
        cli(&["kill", &container]);
        until("it is dead", || !running()).await;
        runtime.start(order("S1", 2)).await.unwrap();
        until("both starts are noted", || running() && noted(2)).await;
        // The other replica has a volume of its own.
        let other = fleet.container("S2");
        until("the other's start is noted", || {
            lines(&other, "/data/log") == "start\n"
        })
        .await;
        for replica in ["S1", "S2"] {
            let id = order(replica, 2).id;
            runtime.stop(id, Duration::ZERO).await.unwrap();
        }
        cli(&["volume", "inspect", &name("S1")[1]]);
    });
}

#[test]
fn the_engine_gets_what_was_given() {
    on_engine(|| async {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path.display().to_string()
        };
        let variables = file("shop.env", "# of a file\nCOLOUR=blue, green\n");
        let profile = file("seccomp.json", r#"{"defaultAction": "SCMP_ACT_ALLOW"}"#);
        let here = folder.path().display();
        let flags = [
            format!("--env-file={variables}"),
            format!("--volume={here}:/here:ro"),
            format!("--mount=type=bind,source={here},target=/there-{{ordinal}},readonly"),
            "--tmpfs=/run:size=1m".to_owned(),
            "--label=com.example.who={name}".to_owned(),
            "--add-host=db:10.9.8.7".to_owned(),
            "--dns=9.9.9.9".to_owned(),
            "--user=1234:5678".to_owned(),
            "--group-add=44".to_owned(),
            "--cap-add=net_bind_service".to_owned(),
            "--ulimit=nofile=512:1024".to_owned(),
            "--shm-size=32m".to_owned(),
            "--device=/dev/null:/dev/nothing:r".to_owned(),
            "--workdir=/tmp".to_owned(),
            "--init=false".to_owned(),
            "--log-driver=json-file".to_owned(),
            "--log-opt=max-size=1m".to_owned(),
            "--stop-signal=QUIT".to_owned(),
            format!("--security-opt=seccomp={profile}"),
            format!("--entrypoint={IN_IMAGE}"),
            "--command=--exact docker::replica_entrypoint --nocapture".to_owned(),
        ];
        let fleet = fleet(&flags.iter().map(String::as_str).collect::<Vec<_>>());
        let runtime = fleet.runtime();
        runtime.prepare().await.unwrap();
        runtime.start(order("S7", 1)).await.unwrap();
        let found = inspect(&fleet.container("S7"));
        let (config, host) = (&found["Config"], &found["HostConfig"]);
        let env = config["Env"].as_array().unwrap();
        assert!(env.contains(&json!("COLOUR=blue, green")), "{env:?}");
        assert_eq!(host["Binds"], json!([format!("{here}:/here:ro")]));
        let mount = &host["Mounts"][0];
        assert_eq!(
            (&mount["Target"], &mount["ReadOnly"]),
            (&json!("/there-7"), &json!(true))
        );
        assert_eq!(host["Tmpfs"]["/run"], "size=1m");
        assert_eq!(config["Labels"]["com.example.who"], "S7");
        assert_eq!(config["Labels"]["io.ringmaster.replica"], "S7");
        assert_eq!(host["ExtraHosts"], json!(["db:10.9.8.7"]));
        assert_eq!(host["Dns"], json!(["9.9.9.9"]));
        assert_eq!(config["User"], "1234:5678");
        assert_eq!(host["GroupAdd"], json!(["44"]));
        // What is restricted stays so beside what was given.
        assert_eq!(host["CapDrop"], json!(["ALL"]));
        assert_eq!(host["CapAdd"].as_array().unwrap().len(), 1);
        assert_eq!(host["ReadonlyRootfs"], true);
        let options = host["SecurityOpt"].as_array().unwrap();
        assert!(options.contains(&json!("no-new-privileges")), "{options:?}");
        assert_eq!(
            host["Ulimits"],
            json!([{"Name": "nofile", "Soft": 512, "Hard": 1024}])
        );
        assert_eq!(host["ShmSize"], 32 << 20);
        assert_eq!(host["Devices"][0]["PathInContainer"], "/dev/nothing");
        assert_eq!(config["WorkingDir"], "/tmp");
        assert_eq!(host["Init"], false);
        assert_eq!(host["LogConfig"]["Type"], "json-file");
        assert_eq!(host["LogConfig"]["Config"]["max-size"], "1m");
        assert_eq!(config["StopSignal"], "SIGQUIT");
        assert_eq!(config["Entrypoint"], json!([IN_IMAGE]));
        let has = Path::new("/dev/nothing").display().to_string();
        cli(&[
            "exec",
            &fleet.container("S7"),
            "sh",
            "-c",
            &format!("test -c {has}"),
        ]);
    });
}

#[test]
fn the_root_is_writable_only_if_that_was_said() {
    on_engine(|| async {
        for (flag, writable) in [("--init", false), ("--read-only=false", true)] {
            let fleet = fleet(&[flag, "--user=0", &noting("/tmp/log")]);
            let runtime = fleet.runtime();
            runtime.prepare().await.unwrap();
            runtime.start(order("S1", 1)).await.unwrap();
            let container = fleet.container("S1");
            let touch = quietly(&[
                "exec",
                &container,
                "sh",
                "-c",
                "echo x > /bin/x && echo done",
            ]);
            assert_eq!(touch.trim() == "done", writable, "{flag}");
        }
    });
}

#[test]
fn a_replica_joins_every_network_under_its_names() {
    on_engine(|| async {
        let network = format!("rmtest-{}-db", std::process::id());
        let _made = Made(vec![["network".to_owned(), network.clone()]]);
        let flag = format!("--network=name={network},alias=shop-{{ordinal}}");
        let fleet = fleet(&[&flag]);
        let runtime = fleet.runtime();
        let missing = runtime.prepare().await.unwrap_err().to_string();
        assert!(
            missing.starts_with(&format!("--network {network}: the engine has no")),
            "{missing}"
        );
        cli(&["network", "create", &network]);
        runtime.prepare().await.unwrap();
        let address = runtime.start(order("S3", 1)).await.unwrap().endpoint;
        let found = inspect(&fleet.container("S3"));
        let networks = found["NetworkSettings"]["Networks"].as_object().unwrap();
        assert_eq!(networks.len(), 2);
        let aliases = networks[&network]["Aliases"].as_array().unwrap();
        assert!(
            aliases.contains(&json!("shop-3")) && aliases.contains(&json!("S3")),
            "{aliases:?}"
        );
        // Requests go by the fleet's own.
        let own = networks[&fleet.settings.network]["IPAddress"].as_str();
        assert_eq!(own, Some(&*address.ip().to_string()));
    });
}

#[test]
fn a_replica_without_a_number_is_not_started_where_one_is_needed() {
    on_engine(|| async {
        let fleet = fleet(&["--tmpfs=/run/{ordinal}"]);
        let runtime = fleet.runtime();
        runtime.prepare().await.unwrap();
        let error = runtime
            .start(order("blue", 1))
            .await
            .unwrap_err()
            .to_string();
        let expected =
            "there is no {ordinal} for \"/run/{ordinal}\": the name blue does not end in a number";
        assert_eq!(error, expected);
        assert_eq!(fleet.containers(), [""; 0]);
    });
}
