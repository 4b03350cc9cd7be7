//! Compose projects with a service `web`, and what tests of several files ask of them.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tokio::sync::SemaphorePermit;

use crate::docker::{docker as cli, engine_answers, inspect, quietly, skip, sweep, test_image};
use crate::support::{Ringmaster, eventually, get};

/// A compose project in a folder of its own, until the test ends.
pub struct Project {
    pub name: String,
    folder: tempfile::TempDir,
    /// Its place on the engine.
    _permit: SemaphorePermit<'static>,
}

impl Project {
    /// With a service `web`, once the engine has room; `None` where there is no compose v2. A test has one at a
    /// time, for two could wait for each other.
    pub fn new(case: &str) -> Option<Self> {
        if !engine_answers() {
            return None;
        }
        let found = Command::new("docker").args(["compose", "version"]).output();
        if !found.is_ok_and(|output| output.status.success()) {
            skip("there is no docker compose");
            return None;
        }
        let project = Self {
            name: format!("rmtest-{}-{case}", std::process::id()),
            folder: tempfile::tempdir().unwrap(),
            _permit: futures::executor::block_on(crate::ENGINE.acquire()).unwrap(),
        };
        project.write(2, "a");
        Some(project)
    }

    pub fn file(&self) -> PathBuf {
        self.folder.path().join("compose.yaml")
    }

    /// Writes the compose file, with this number of replicas and this variable.
    pub fn write(&self, replicas: u32, colour: &str) {
        let text = format!(
            "services:\n  web:\n    image: {}\n    environment: {{PORT: '7070', SERVER_ID: web, \
             COLOUR: {colour}}}\n    stop_grace_period: 2s\n    restart: unless-stopped\n    volumes: \
             [/cache]\n    deploy: {{replicas: {replicas}}}\n",
            test_image()
        );
        std::fs::write(self.file(), text).unwrap();
    }

    pub fn compose(&self, arguments: &[&str]) -> String {
        let file = self.file().display().to_string();
        let project = ["compose", "--project-name", &self.name, "--file", &file];
        cli(&[&project, arguments].concat())
    }

    pub fn container(&self, replica: &str) -> String {
        format!("{}-{replica}", self.name)
    }

    /// What compose lists, running or not: name and state.
    pub fn listed(&self) -> Vec<(String, String)> {
        let listed = self.compose(&["ps", "--all", "--format", "json"]);
        let mut listed: Vec<_> = listed
            .lines()
            .map(|line| {
                let container: Value = serde_json::from_str(line).unwrap();
                let text = |key: &str| container[key].as_str().unwrap().to_owned();
                (text("Name"), text("State"))
            })
            .collect();
        listed.sort();
        listed
    }

    /// The names of its containers, running or not. Unlike compose it does not mind that some come and
    /// go meanwhile.
    pub fn names(&self) -> Vec<String> {
        let label = format!("label=com.docker.compose.project={}", self.name);
        let names = quietly(&["ps", "--all", "--filter", &label, "--format", "{{.Names}}"]);
        names.lines().map(str::to_owned).collect()
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn balancer(&self) -> Ringmaster {
        self.balancer_with(&[])
    }

    /// The same, with more flags.
    pub fn balancer_with(&self, more: &[&str]) -> Ringmaster {
        let service = format!("--service={}/web", self.name);
        let usual = [
            service.as_str(),
            "--heartbeat-interval=200ms",
            "--admin=127.0.0.1:0",
        ];
        Ringmaster::start(&[&usual, more].concat())
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        sweep(&format!("label=com.docker.compose.project={}", self.name));
        sweep(&format!("label=io.ringmaster.fleet={}-web", self.name));
        quietly(&["network", "rm", &format!("{}_default", self.name)]);
        quietly(&[
            "volume",
            "prune",
            "--force",
            "--filter",
            &format!("label=com.docker.compose.project={}", self.name),
        ]);
    }
}

pub async fn all_are_ready(balancer: &Ringmaster, names: &[&str]) {
    eventually("all are ready", || async {
        let status = get(&balancer.status_url().await).await.body;
        let replicas = status["replicas"].as_array().unwrap();
        let mut ready: Vec<_> = replicas
            .iter()
            .filter(|replica| replica["state"] == "ready")
            .map(|replica| replica["name"].as_str().unwrap().to_owned())
            .collect();
        ready.sort();
        replicas.len() == names.len() && ready == names
    })
    .await;
}

pub fn id(container: &str) -> String {
    inspect(container)["Id"].as_str().unwrap().to_owned()
}

/// Waits until the name has another container than this, which runs, and returns its id.
pub async fn successor(container: &str, of: &str) -> String {
    eventually("there is a successor", || async {
        let found = quietly(&[
            "inspect",
            "--format",
            "{{.Id}} {{.State.Running}}",
            container,
        ]);
        found.trim().ends_with("true") && !found.starts_with(of)
    })
    .await;
    id(container)
}

pub fn volume(container: &str) -> Value {
    let mounts = inspect(container)["Mounts"].as_array().unwrap().clone();
    let cache = mounts
        .into_iter()
        .find(|mount| mount["Destination"] == "/cache");
    cache.unwrap()["Name"].clone()
}
