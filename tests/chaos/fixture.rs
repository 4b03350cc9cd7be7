//! A balancer under test, its replicas, and how to look at them.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Instant;

use futures::future::join_all;
use ringmaster::api::{
    FleetStatus, ListPage, ReplicaEvent, ReplicaStatus, RequestCounts, Status, Timestamp,
};
use ringmaster::fault_injection::{Effect, FaultTarget};
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::accounting::Accounting;
use crate::containers::Containers;
use crate::replica::ACCOUNTING;
use crate::support::{Ringmaster, get, signal};

/// Keys whose replica must stay the same.
const SAMPLE: u64 = 60;

/// Where replicas run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Runtime {
    Process,
    Docker,
    /// Containers of a dockerd of our own, that may be ended.
    OwnEngine,
}

impl Runtime {
    pub fn name(self) -> &'static str {
        match self {
            Self::Process => "process",
            Self::Docker => "docker",
            Self::OwnEngine => "own-engine",
        }
    }
}

/// A replica's instance.
#[derive(Debug, Clone)]
pub struct Instance {
    pub name: String,
    pub generation: u64,
    /// When it was looked at.
    status: ReplicaStatus,
}

/// Which instance answered a key: the replica, and the number that this instance of it has chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    pub replica: String,
    pub instance: String,
}

// The balancer ends before what it would heal is taken away.
pub struct Fixture {
    pub balancer: Ringmaster,
    args: Vec<String>,
    admin: String,
    pub accounting: Accounting,
    /// None: they are processes.
    pub containers: Option<Containers>,
}

impl Fixture {
    /// Starts a balancer and waits until its replicas are on the ring. None where they cannot
    /// run like that.
    pub async fn set(runtime: Runtime) -> Option<Self> {
        let containers = match runtime {
            Runtime::Process => None,
            Runtime::Docker => Some(Containers::set().await),
            Runtime::OwnEngine => Some(Containers::set_on_private_engine().await?),
        };
        let near = match &containers {
            Some(containers) => containers.gateway().await,
            None => IpAddr::from(Ipv4Addr::LOCALHOST),
        };
        let accounting = Accounting::open(near).await;
        let own = match &containers {
            Some(containers) => {
                let name = containers.name.as_str();
                let args = ["--image", name, "--fleet", name, "--memory", "128m"];
                args.map(str::to_owned).to_vec()
            }
            None => {
                let this = std::env::current_exe().expect("this program has a path");
                let command = format!("{} replica 127.0.0.1", this.display());
                vec!["--command".to_owned(), command]
            }
        };
        let variable = format!("{ACCOUNTING}={}", accounting.address());
        let fixed = [
            // Keys stay at home however uneven the load is, so that none may move.
            ("--balance-factor", "none"),
            ("--admin", "127.0.0.1:0"),
            ("--env", &variable),
            // Shorter than the default, so that a hung replica is replaced soon.
            ("--hang-timeout", "4s"),
        ];
        let fixed = fixed.iter().flat_map(|(name, value)| [*name, *value]);
        let args: Vec<_> = own.into_iter().chain(fixed.map(str::to_owned)).collect();
        let (balancer, admin) = start("127.0.0.1:0", &args, containers.as_ref()).await;
        let fixture = Self {
            balancer,
            args,
            admin,
            accounting,
            containers,
        };
        fixture.all_ready().await;
        Some(fixture)
    }

    /// The containers of a fixture whose replicas are containers.
    pub fn engine(&self) -> &Containers {
        let containers = self.containers.as_ref();
        containers.expect("faults of containers are done to containers alone")
    }

    pub fn engine_mut(&mut self) -> &mut Containers {
        let containers = self.containers.as_mut();
        containers.expect("faults of an engine are done to containers alone")
    }

    pub async fn status(&self) -> FleetStatus {
        self.ask("/fleets/default").await
    }

    /// What happened until now, and the balancer's clock.
    pub async fn history(&self) -> History {
        let status: Status = self.ask("/status").await;
        let events: ListPage<ReplicaEvent> = self.ask("/events?limit=1000").await;
        let [fleet] = status.fleets.as_slice() else {
            panic!("one fleet: {:?}", status.fleets);
        };
        History {
            now: status.now,
            counters: fleet.counters,
            events: events.items,
        }
    }

    async fn ask<T: DeserializeOwned>(&self, path: &str) -> T {
        let answer = get(&format!("{}/api/v1{path}", self.admin)).await.body;
        serde_json::from_value(answer).expect("an answer of the admin API")
    }

    pub async fn instance(&self, name: &str) -> Instance {
        let status = self.status().await;
        let replica = replica(&status, name).unwrap_or_else(|| panic!("no {name} in {status:?}"));
        Instance {
            name: name.to_owned(),
            generation: replica.generation,
            status: replica.clone(),
        }
    }

    /// Makes one that has died before as good as new: its next death is its first.
    pub async fn renew(&self, name: &str) {
        let status = self.status().await;
        if replica(&status, name).is_some_and(|replica| replica.consecutive_deaths > 0) {
            let body = json!({"n": 1, "hostnames": [name]});
            self.balancer.rm(body.clone()).await.names();
            self.balancer.add(body).await.names();
            self.all_ready().await;
        }
    }

    /// Kills an instance.
    pub async fn kill(&self, instance: &Instance) {
        let killed = self.target(instance).await.kill().await;
        assert_eq!(killed.expect("it can be killed"), Effect::Applied);
    }

    /// Pauses an instance, until its target is resumed.
    pub async fn pause(&self, instance: &Instance) -> FaultTarget {
        let target = self.target(instance).await;
        let paused = target.pause().await;
        assert_eq!(paused.expect("it can be paused"), Effect::Applied);
        target
    }

    async fn target(&self, instance: &Instance) -> FaultTarget {
        let engine = self.containers.as_ref().and_then(Containers::host);
        let found = FaultTarget::find(&instance.status, engine).await;
        found.expect("it runs")
    }

    /// Makes it allocate all the memory that it may have.
    pub async fn exhaust_memory(&self, instance: &Instance) {
        let endpoint = instance.status.endpoint.as_ref().expect("it is ready");
        let request = crate::support::client().post(format!("http://{endpoint}/exhaust_memory"));
        // It may be dead before it has answered.
        let _ = request.send().await;
    }

    /// Kills the balancer, and perhaps a replica that it cannot see die, and starts it again
    /// at the same address. Between the two moments the balancer cannot be reached.
    pub async fn restart_balancer(&mut self, meanwhile: Option<&Instance>) -> (Instant, Instant) {
        let address = self.balancer.address().to_owned();
        let killed = Instant::now();
        signal(self.balancer.pid(), "KILL");
        self.balancer.exited().await;
        if let Some(instance) = meanwhile {
            self.kill(instance).await;
        }
        (self.balancer, self.admin) = start(&address, &self.args, self.containers.as_ref()).await;
        (killed, Instant::now())
    }

    /// Which instance answers which key.
    pub async fn owners(&self) -> Vec<Owner> {
        let client = crate::support::client();
        let owner = |id: u64| {
            let request = client.get(self.balancer.url("/owner"));
            let request = request.insert_header(("X-Request-ID", (200_000 + id).to_string()));
            async move {
                let mut response = request.send().await.expect("the balancer answers");
                let body = response.body().await.expect("a whole body");
                let body = String::from_utf8_lossy(&body);
                let (replica, instance) = body.split_once(' ').unwrap_or((&*body, ""));
                Owner {
                    replica: replica.to_owned(),
                    instance: instance.to_owned(),
                }
            }
        };
        join_all((0..SAMPLE).map(owner)).await
    }

    /// Which instance answers which key while all is well. (Requests that were on their way
    /// through a fault may fail some time after it, and have their replica passed over.)
    pub async fn owners_at_home(&self) -> Vec<Owner> {
        loop {
            self.all_ready().await;
            let owners = self.owners().await;
            if self.is_all_ready().await {
                return owners;
            }
        }
    }
}

/// A balancer, and where it is administered.
async fn start(
    address: &str,
    args: &[String],
    containers: Option<&Containers>,
) -> (Ringmaster, String) {
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let host = containers.and_then(Containers::host);
    let env: Vec<_> = host.iter().map(|host| ("DOCKER_HOST", &**host)).collect();
    let balancer = Ringmaster::start_at(address, &args, &env);
    let admin = balancer.admin_url().await;
    (balancer, admin)
}

/// The balancer's events at a time by its clock.
pub struct History {
    pub now: Timestamp,
    pub counters: RequestCounts,
    pub events: Vec<ReplicaEvent>,
}

pub fn replica<'s>(status: &'s FleetStatus, name: &str) -> Option<&'s ReplicaStatus> {
    status.replicas.iter().find(|replica| replica.name == name)
}

/// Keys of replicas without a fault that are answered by another instance, and keys of
/// `replaced` replicas that are answered by a replica of another name.
pub fn moved(before: &[Owner], after: &[Owner], replaced: &[String]) -> usize {
    let pairs = before.iter().zip(after);
    pairs
        .filter(|(was, is)| match replaced.contains(&was.replica) {
            true => was.replica != is.replica,
            false => was != is,
        })
        .count()
}

/// Keys of other replicas than the target that were answered by another instance.
pub fn moved_of_others(before: &[Owner], meanwhile: &[Owner], target: &str) -> usize {
    let pairs = before.iter().zip(meanwhile);
    let others = pairs.filter(|(was, _)| was.replica != target);
    others.filter(|(was, is)| was != is).count()
}
