//! Replicas as containers of the real engine, and what can be done to one of them.
//!
//! Through the engine's API and not by `docker`: the load runs on this thread, too, and must
//! not wait for a command.

use std::collections::HashMap;
use std::fs::File;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use bollard::Docker;
use bollard::models::{
    ContainerUpdateBody, EventMessage, Ipam, NetworkCreateRequest, NetworkDisconnectRequest,
};
use bollard::query_parameters::{
    EventsOptionsBuilder, InspectContainerOptions, InspectNetworkOptions,
    ListContainersOptionsBuilder, RemoveContainerOptionsBuilder, RemoveImageOptions,
    TagImageOptionsBuilder,
};
use futures::StreamExt;

use crate::docker::cleanup::Cleanup;
use crate::docker::import_program;
use crate::docker::private_engine::PrivateEngine;

/// What marks the containers that the harness itself makes.
pub const MARK: &str = "io.ringmaster.chaos";
/// What the balancer writes on its containers.
const FLEET: &str = "io.ringmaster.fleet";

/// A fleet's name, network and image, all of this run alone.
pub struct Containers {
    pub docker: Docker,
    /// What the fleet, its network and its image are called.
    pub name: String,
    /// If they are not the machine's engine's.
    private: Option<PrivateEngine>,
    _cleanup: Option<Cleanup>,
}

impl Containers {
    /// On the machine's engine.
    pub async fn set() -> Self {
        let name = name();
        let variables = [("NAME", &*name), ("FLEET_LABEL", FLEET), ("MARK", MARK)];
        // First of all: it clears away whatever comes after it.
        let cleanup = Cleanup::start(SWEEP, &variables);
        let docker = Docker::connect_with_defaults().expect("an engine's address");
        Self::set_on(docker, None, Some(cleanup)).await
    }

    /// On an engine of our own, with which everything goes; containers outlive its restart.
    /// None where there can be no such engine.
    pub async fn set_on_private_engine() -> Option<Self> {
        let engine = PrivateEngine::start(true)?;
        let docker = Docker::connect_with_host(&engine.host()).expect("an engine's address");
        Some(Self::set_on(docker, Some(engine), None).await)
    }

    async fn set_on(
        docker: Docker,
        private: Option<PrivateEngine>,
        cleanup: Option<Cleanup>,
    ) -> Self {
        let name = name();
        let host = private.as_ref().map(PrivateEngine::host);
        import_program(&name, &["replica", "0.0.0.0"], host.as_deref());
        let docker = docker
            .negotiate_version()
            .await
            .expect("the engine answers");
        let network = NetworkCreateRequest {
            name: name.clone(),
            ipam: Some(Ipam::default()),
            ..Default::default()
        };
        let made = docker.create_network(network).await;
        made.expect("a network can be made");
        Self {
            docker,
            name,
            private,
            _cleanup: cleanup,
        }
    }

    /// What tells a balancer which engine is meant, unless it is the machine's.
    pub fn host(&self) -> Option<String> {
        self.private.as_ref().map(PrivateEngine::host)
    }

    pub async fn end_engine(&mut self) {
        self.with_private_engine(|engine| engine.end("TERM")).await;
    }

    pub async fn begin_engine(&mut self) {
        self.with_private_engine(PrivateEngine::begin).await;
    }

    /// Takes its time, on a thread of its own: the load goes on.
    async fn with_private_engine(&mut self, act: fn(&mut PrivateEngine)) {
        let mut engine = self.private.take().expect("the engine is our own");
        let done = tokio::task::spawn_blocking(move || {
            act(&mut engine);
            engine
        });
        self.private = Some(done.await.expect("it does not panic"));
    }

    /// Where containers of the network reach this machine.
    pub async fn gateway(&self) -> IpAddr {
        let options = None::<InspectNetworkOptions>;
        let found = self.docker.inspect_network(&self.name, options).await;
        let ipam = found.expect("the network is there").ipam;
        let pools = ipam.and_then(|ipam| ipam.config).unwrap_or_default();
        let gateway = pools.into_iter().find_map(|pool| pool.gateway);
        let gateway = gateway.expect("a bridge has a gateway");
        gateway.parse().expect("the engine says an address")
    }

    /// What a replica's container is called.
    pub fn of(&self, replica: &str) -> String {
        format!("{}-{replica}", self.name)
    }

    /// The ids of the replicas' containers that run.
    pub async fn running(&self) -> Vec<String> {
        let fleet = format!("{FLEET}={}", self.name);
        let filters = HashMap::from([("label".to_owned(), vec![fleet])]);
        let options = ListContainersOptionsBuilder::default()
            .filters(&filters)
            .build();
        let listed = self.docker.list_containers(Some(options)).await;
        let listed = listed.expect("the engine answers").into_iter();
        let mut ids: Vec<_> = listed.filter_map(|container| container.id).collect();
        ids.sort();
        ids
    }

    /// When replicas' containers have died since then, by the engine's own account.
    pub async fn deaths_since(&self, since: SystemTime) -> Vec<(String, SystemTime)> {
        let seconds = |time: SystemTime| {
            let time = time
                .duration_since(SystemTime::UNIX_EPOCH)
                .unwrap_or_default();
            format!("{}.{:09}", time.as_secs(), time.subsec_nanos())
        };
        let fleet = format!("{FLEET}={}", self.name);
        let filters = HashMap::from([
            ("event".to_owned(), vec!["die".to_owned()]),
            ("label".to_owned(), vec![fleet]),
        ]);
        let options = EventsOptionsBuilder::default()
            .since(&seconds(since))
            // What is over ends the list; what is to come would be waited for.
            .until(&seconds(SystemTime::now()))
            .filters(&filters)
            .build();
        let events: Vec<_> = self.docker.events(Some(options)).collect().await;
        let death = |event: EventMessage| {
            let name = event.actor?.attributes?.remove("name")?;
            let replica = name.strip_prefix(&format!("{}-", self.name))?.to_owned();
            let nanos = u64::try_from(event.time_nano?).ok()?;
            Some((
                replica,
                SystemTime::UNIX_EPOCH + Duration::from_nanos(nanos),
            ))
        };
        let deaths = events.into_iter().filter_map(|event| death(event.ok()?));
        deaths.filter(|(_, at)| *at >= since).collect()
    }

    /// `docker rm -f`.
    pub async fn remove(&self, replica: &str) {
        let options = RemoveContainerOptionsBuilder::default().force(true).build();
        let name = self.of(replica);
        let removed = self.docker.remove_container(&name, Some(options)).await;
        removed.expect("it is there");
    }

    /// Unplugs it.
    pub async fn disconnect(&self, replica: &str) {
        let request = NetworkDisconnectRequest {
            container: self.of(replica),
            force: Some(true),
        };
        let cut = self.docker.disconnect_network(&self.name, request).await;
        cut.expect("it is connected");
    }

    /// Takes the image's name away. It keeps another, so that nobody who tidies up removes it.
    pub async fn hide_image(&self) {
        self.rename_image((&self.name, "latest"), "hidden").await;
    }

    /// Gives it back.
    pub async fn show_image(&self) {
        self.rename_image((&self.name, "hidden"), "latest").await;
    }

    async fn rename_image(&self, (name, tag): (&str, &str), becomes: &str) {
        let options = TagImageOptionsBuilder::default().repo(name).tag(becomes);
        let old = format!("{name}:{tag}");
        let tagged = self.docker.tag_image(&old, Some(options.build())).await;
        tagged.expect("the image is there");
        let options = None::<RemoveImageOptions>;
        let removed = self.docker.remove_image(&old, options, None).await;
        removed.expect("it has another name");
    }

    /// Gives it so many thousandths of a CPU. Fails if it is gone meanwhile.
    pub async fn limit_cpu(&self, replica: &str, thousandths: i64) -> bool {
        let update = ContainerUpdateBody {
            nano_cpus: Some(thousandths * 1_000_000),
            ..Default::default()
        };
        let name = self.of(replica);
        self.docker.update_container(&name, update).await.is_ok()
    }

    /// Its process, as this machine sees it.
    pub async fn process(&self, replica: &str) -> u32 {
        let options = None::<InspectContainerOptions>;
        let name = self.of(replica);
        let found = self.docker.inspect_container(&name, options).await;
        let pid = found
            .ok()
            .and_then(|found| found.state?.pid?.try_into().ok());
        pid.expect("it runs")
    }

    /// Its network, held open: it is this one's whoever gets its name or process id later.
    pub async fn namespace(&self, replica: &str) -> File {
        let pid = self.process(replica).await;
        File::open(format!("/proc/{pid}/ns/net")).expect("it runs")
    }
}

/// What this run's fleet, network and image are called.
fn name() -> String {
    format!("rmchaos-{}", std::process::id())
}

const SWEEP: &str = r#"
for try in 1 2 3 4 5; do
  left=$({
    docker ps -aq --filter "label=$FLEET_LABEL=$NAME"
    docker ps -aq --filter "label=$MARK=$NAME"
  } | sort -u)
  [ -n "$left" ] || break
  docker rm --force --volumes $left
done
docker network rm "$NAME"
docker rmi --force "$NAME" "$NAME:hidden"
"#;
