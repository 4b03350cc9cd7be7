//! The balancer under test: what can be done to it, and how it is put back.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::child_balancer::ChildBalancer;
use super::options::{BalancerOptions, KillCommand, RunningBalancer};
use crate::api::{FleetStatus, ReplicaState, RingStatus};
use crate::experiments::client::{self, AdminApi, ReplicaApi};
use crate::experiments::{AdminAccess, ExperimentError};
use crate::fault_injection::{Fault, FaultError, FaultTarget, kill_process};

/// A call may wait for requests to drain (30 s by default) and for a container to start.
const CALL_TIMEOUT: Duration = Duration::from_secs(120);
/// Until all replicas are ready.
const READY_TIMEOUT: Duration = Duration::from_secs(60);
/// Between two looks at the balancer's status.
const POLL_INTERVAL: Duration = Duration::from_millis(5);
/// N, unless an experiment wants another.
const REPLICAS: usize = 3;

/// A balancer, ours or another's.
pub struct TestedBalancer {
    /// Its public calls.
    pub api: ReplicaApi,
    /// What it says of itself, if it has an admin address that we know.
    pub admin: Option<AdminApi>,
    host: Host,
    original_names: Vec<String>,
    original_weights: BTreeMap<String, u32>,
    original_ring: Option<RingStatus>,
}

enum Host {
    Child(ChildBalancer),
    Running(RunningBalancer),
}

/// When a replica was killed.
pub struct Killed {
    /// The moment, or the moment before the command that did it.
    pub at: Instant,
    /// How, in words.
    pub method: String,
}

impl TestedBalancer {
    /// Starts a balancer, or reaches the one that runs.
    pub async fn open(options: &BalancerOptions) -> Result<Self, ExperimentError> {
        let client = client::http_client(CALL_TIMEOUT);
        let (host, url, admin) = match options {
            BalancerOptions::Child => {
                let own = ChildBalancer::start(REPLICAS).await?;
                let (url, admin_url) = (own.url.clone(), own.admin_url.clone());
                (Host::Child(own), url, Some(AdminAccess::open(admin_url)))
            }
            BalancerOptions::Running(running) => (
                Host::Running(running.clone()),
                running.url.clone(),
                running.admin.clone(),
            ),
        };
        let mut target = Self {
            api: ReplicaApi::new(client.clone(), &url),
            admin: admin.map(|access| AdminApi::new(client, access)),
            host,
            original_names: Vec::new(),
            original_weights: BTreeMap::new(),
            original_ring: None,
        };
        target.original_names = target.api.replicas().await?;
        if let Some(status) = target.status().await? {
            target.original_ring = Some(status.ring);
            target.original_weights = target.weights().await?;
        }
        target.until_all_ready().await?;
        Ok(target)
    }

    /// In words, for the report.
    pub fn describe(&self) -> String {
        match &self.host {
            Host::Child(_) => format!(
                "its own, `{}`: demo replicas as child processes, client, balancer and replicas \
                 all on this machine",
                ChildBalancer::command_line(REPLICAS)
            ),
            Host::Running(running) => format!("the one that ran at {}", running.url),
        }
    }

    /// How its ring was built when we came.
    pub fn original_ring(&self) -> Option<&RingStatus> {
        self.original_ring.as_ref()
    }

    /// What it says of itself, if it has somewhere to say it.
    pub async fn status(&self) -> Result<Option<FleetStatus>, ExperimentError> {
        match &self.admin {
            Some(admin) => admin.fleet().await.map(Some),
            None => Ok(None),
        }
    }

    /// Its process on this machine, if that is known.
    pub fn pid(&self) -> Option<u32> {
        match &self.host {
            Host::Child(own) => Some(own.pid()),
            Host::Running(running) => running.pid,
        }
    }

    /// Adds or removes replicas until there are `n`, and gives their names.
    pub async fn resize(&self, n: usize) -> Result<Vec<String>, ExperimentError> {
        let present = self.api.replicas().await?;
        if present.len() < n {
            let free = (1..).map(|number| format!("Server{number}"));
            let free = free.filter(|name| !present.contains(name));
            let added: Vec<String> = free.take(n - present.len()).collect();
            self.api.add(&added, &BTreeMap::new()).await?;
        } else if present.len() > n {
            // Ours first: theirs may be worth more to somebody.
            let mut by_worth = present;
            by_worth.sort_by_key(|name| !self.original_names.contains(name));
            self.api.remove(&by_worth.split_off(n)).await?;
        }
        self.until_all_ready().await?;
        self.api.replicas().await
    }

    /// Rebuilds the ring by another strategy. Only with an admin address.
    pub async fn rebuild(&self, strategy: &str) -> Result<RingStatus, ExperimentError> {
        let Some(admin) = &self.admin else {
            return Err(ExperimentError::Call {
                what: format!("change to {strategy}"),
                cause: "the balancer's admin address is not known".to_owned(),
            });
        };
        admin.rebuild(strategy, None).await?;
        Ok(admin.fleet().await?.ring)
    }

    /// Puts the ring back as it was when we came.
    pub async fn restore_ring(&self) -> Result<(), ExperimentError> {
        let (Some(admin), Some(original)) = (&self.admin, &self.original_ring) else {
            return Ok(());
        };
        let present = admin.fleet().await?.ring;
        if present == *original {
            return Ok(());
        }
        admin.rebuild(&original.strategy, Some(original)).await
    }

    /// Why replicas cannot be killed, if they cannot.
    pub async fn cannot_kill(&self) -> Result<Option<String>, ExperimentError> {
        if self.kill_command().is_some() {
            return Ok(None);
        }
        let Some(status) = self.status().await? else {
            let reason = "none of --admin, --kill-command and --pid-command says how to kill \
                          a replica";
            return Ok(Some(reason.to_owned()));
        };
        for replica in &status.replicas {
            if let Err(reason) = FaultTarget::find(replica, None).await {
                return Ok(Some(reason.to_string()));
            }
        }
        Ok(None)
    }

    fn kill_command(&self) -> Option<&KillCommand> {
        match &self.host {
            Host::Child(_) => None,
            Host::Running(running) => running.kill.as_ref(),
        }
    }

    /// Kills a replica's instance: by the operator's command if there is one, else where the
    /// balancer says that it runs.
    pub async fn kill(&self, name: &str) -> Result<Killed, ExperimentError> {
        let failed = |cause: String| FaultError {
            replica: name.to_owned(),
            cause,
        };
        match self.kill_command() {
            Some(KillCommand::Kills(words)) => {
                let at = Instant::now();
                run(words, name).await.map_err(failed)?;
                let method = format!("`{}`", filled(words, name).join(" "));
                Ok(Killed { at, method })
            }
            Some(KillCommand::PrintsPid(words)) => {
                let printed = run(words, name).await.map_err(failed)?;
                let pid = printed.trim().parse();
                let pid = pid.map_err(|_| failed("its process is not to be found".to_owned()))?;
                let at = Instant::now();
                kill_process(pid).map_err(failed)?;
                let method = "SIGKILL".to_owned();
                Ok(Killed { at, method })
            }
            None => {
                let status = self.status().await?;
                let mut replicas = status.into_iter().flat_map(|status| status.replicas);
                let replica = replicas.find(|replica| replica.name == name);
                let replica = replica.ok_or_else(|| failed("it is gone".to_owned()))?;
                let target = FaultTarget::find(&replica, None).await?;
                let at = Instant::now();
                target.inject(Fault::Kill).await?;
                let method = target.kill_method().to_owned();
                Ok(Killed { at, method })
            }
        }
    }

    /// Waits until every replica is ready; at once where nobody tells.
    pub async fn until_all_ready(&self) -> Result<(), ExperimentError> {
        let Some(admin) = &self.admin else {
            // `POST /add` has answered, so that what it added is on the ring.
            return Ok(());
        };
        let begun = Instant::now();
        while begun.elapsed() < READY_TIMEOUT {
            let replicas = admin.fleet().await?.replicas;
            if replicas
                .iter()
                .all(|replica| replica.state == ReplicaState::Ready)
            {
                return Ok(());
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
        Err(ExperimentError::TimedOut {
            what: "all replicas are ready".to_owned(),
            seconds: READY_TIMEOUT.as_secs(),
        })
    }

    /// The replicas' weights, if the balancer tells them.
    pub async fn weights(&self) -> Result<BTreeMap<String, u32>, ExperimentError> {
        let replicas = self.status().await?.map(|status| status.replicas);
        let replicas = replicas.unwrap_or_default().into_iter();
        Ok(replicas.map(|one| (one.name, one.weight)).collect())
    }

    /// Ends our own balancer, or puts another's back as it was.
    pub async fn close(self) -> Result<(), ExperimentError> {
        if let Host::Child(own) = self.host {
            own.stop().await;
            return Ok(());
        }
        self.restore_ring().await?;
        let present = self.api.replicas().await?;
        let missing = others(&self.original_names, &present);
        if !missing.is_empty() {
            self.api.add(&missing, &self.original_weights).await?;
        }
        let surplus = others(&present, &self.original_names);
        if !surplus.is_empty() {
            self.api.remove(&surplus).await?;
        }
        Ok(())
    }
}

/// What is in the first list and not in the second.
fn others(names: &[String], but: &[String]) -> Vec<String> {
    let others = names.iter().filter(|name| !but.contains(name));
    others.cloned().collect()
}

fn filled(words: &[String], name: &str) -> Vec<String> {
    let words = words.iter().map(|word| word.replace("{name}", name));
    words.collect()
}

/// Runs a command to its end; what it printed.
async fn run(words: &[String], name: &str) -> Result<String, String> {
    let words = filled(words, name);
    let Some((program, arguments)) = words.split_first() else {
        return Err("the command is empty".to_owned());
    };
    let output = tokio::process::Command::new(program)
        .args(arguments)
        .stdin(std::process::Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .map_err(|error| format!("{program}: {error}"))?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(format!(
            "`{}`: {}: {stderr}",
            words.join(" "),
            output.status
        ));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
