//! How fast a container can be replaced at all, by the engine's bare API under the same load, beside
//! what the balancer takes.

use std::collections::HashMap;
use std::time::{Duration, Instant, SystemTime};

use bollard::models::{
    ContainerCreateBody, ContainerInspectResponse, EndpointSettings, NetworkingConfig,
};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, EventsOptionsBuilder, InspectContainerOptions,
    KillContainerOptions, RemoveContainerOptionsBuilder, StartContainerOptions,
};
use futures::StreamExt;
use serde::Serialize;

use crate::containers::{Containers, MARK};
use crate::fixture::Fixture;
use crate::load::go_on_for;
use crate::measurement::admitted_after;
use crate::support::client;
use ringmaster::experiments::load::LoadGenerator;

/// How often each is measured, in turn; up to the maximum if the promise looks broken, since the
/// machine may be busy with something else just then.
const TIMES: usize = 5;
const MAX_TIMES: usize = 15;
/// From one attempt to reach a fresh container to the next.
const PAUSE: Duration = Duration::from_millis(2);
/// How much longer than the baseline ours may take.
pub const ALLOWED: f64 = 1.25;

/// Milliseconds from the kill to the first good answer.
#[derive(Debug, Clone, Serialize)]
pub struct Respawn {
    pub baseline_ms: Vec<f64>,
    pub ours_ms: Vec<f64>,
}

impl Respawn {
    pub fn baseline(&self) -> f64 {
        median(&self.baseline_ms)
    }

    pub fn ours(&self) -> f64 {
        median(&self.ours_ms)
    }

    pub fn ratio(&self) -> f64 {
        self.ours() / self.baseline()
    }
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Measures both in turn, so that both meet the same machine.
pub async fn measure(fixture: &Fixture, load: &LoadGenerator) -> Respawn {
    let mut respawn = Respawn {
        baseline_ms: Vec::new(),
        ours_ms: Vec::new(),
    };
    let names = fixture.balancer.replicas().await;
    let containers = fixture.engine();
    let like = Probe::like(containers, &containers.of(&names[0])).await;
    for turn in 0..MAX_TIMES {
        if turn >= TIMES && respawn.ratio() <= ALLOWED {
            break;
        }
        let probe = like.start(containers).await;
        probe.answers().await;
        let begun = Instant::now();
        like.kill_and_clear_away(containers).await;
        let probe = like.start(containers).await;
        probe.answers().await;
        respawn
            .baseline_ms
            .push(begun.elapsed().as_secs_f64() * 1e3);
        like.kill_and_clear_away(containers).await;

        let name = &names[turn % names.len()];
        fixture.renew(name).await;
        go_on_for(load, 100).await;
        let instance = fixture.instance(name).await;
        let before = fixture.history().await;
        fixture.kill(&instance).await;
        fixture.replaced(&[instance]).await;
        let after = fixture.history().await;
        let ours = admitted_after(name, &before, &after);
        respawn.ours_ms.push(ours.expect("it is back on the ring"));
    }
    respawn
}

/// A container like a replica's, which no balancer knows of.
struct Probe {
    name: String,
    body: ContainerCreateBody,
}

struct Started {
    heartbeat: String,
}

impl Probe {
    async fn like(containers: &Containers, replica: &str) -> Self {
        let found = inspect(containers, replica).await;
        let config = found.config.expect("a container has a configuration");
        let (mark, fleet) = (MARK.to_owned(), containers.name.clone());
        let endpoints = HashMap::from([(containers.name.clone(), EndpointSettings::default())]);
        Self {
            name: format!("{}-baseline", containers.name),
            body: ContainerCreateBody {
                image: config.image,
                user: config.user,
                env: config.env,
                cmd: config.cmd,
                labels: Some(HashMap::from([(mark, fleet)])),
                host_config: found.host_config,
                networking_config: Some(NetworkingConfig {
                    endpoints_config: Some(endpoints),
                }),
                ..Default::default()
            },
        }
    }

    async fn start(&self, containers: &Containers) -> Started {
        let docker = &containers.docker;
        let options = CreateContainerOptionsBuilder::default().name(&self.name);
        let made = docker.create_container(Some(options.build()), self.body.clone());
        let id = made.await.expect("it can be made").id;
        let options = None::<StartContainerOptions>;
        let started = docker.start_container(&id, options).await;
        started.expect("it can be started");
        let found = inspect(containers, &id).await;
        let networks = found.network_settings.and_then(|all| all.networks);
        let mut networks = networks.into_iter().flat_map(HashMap::into_values);
        let address = networks.find_map(|network| network.ip_address);
        Started {
            heartbeat: format!(
                "http://{}:5000/heartbeat",
                address.expect("it has an address")
            ),
        }
    }

    async fn kill_and_clear_away(&self, containers: &Containers) {
        let docker = &containers.docker;
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let since = since.unwrap_or_default().as_secs();
        let mut filters = HashMap::new();
        filters.insert("container".to_owned(), vec![self.name.clone()]);
        filters.insert("event".to_owned(), vec!["die".to_owned()]);
        let options = EventsOptionsBuilder::default()
            .since(&since.to_string())
            .filters(&filters)
            .build();
        let found = inspect(containers, &self.name).await;
        let id = found.id.expect("a container has an id");
        let mut deaths = docker.events(Some(options)).boxed();
        let killed = docker.kill_container(&id, None::<KillContainerOptions>);
        killed.await.expect("it runs");
        while let Some(event) = deaths.next().await {
            let event = event.expect("the engine tells");
            if event.actor.and_then(|actor| actor.id).as_ref() == Some(&id) {
                break;
            }
        }
        let options = RemoveContainerOptionsBuilder::default().force(true).build();
        let removed = docker.remove_container(&id, Some(options)).await;
        removed.expect("it is there");
    }
}

impl Started {
    async fn answers(&self) {
        let begun = Instant::now();
        loop {
            let asked = client().get(&self.heartbeat).send().await;
            if asked.is_ok_and(|answer| answer.status().is_success()) {
                return;
            }
            assert!(
                begun.elapsed() < Duration::from_secs(30),
                "it never answers"
            );
            tokio::time::sleep(PAUSE).await;
        }
    }
}

async fn inspect(containers: &Containers, name: &str) -> ContainerInspectResponse {
    let options = None::<InspectContainerOptions>;
    let found = containers.docker.inspect_container(name, options).await;
    found.expect("it is there")
}
