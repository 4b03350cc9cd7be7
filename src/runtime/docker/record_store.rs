//! A fleet's record on the engine: a container that is created and never started, with the
//! record in its labels.
//!
//! Labels cannot be changed, so each version is a container of its own,
//! `<fleet>-record-<version>`. Its name is the lock: of two balancers that write a version the
//! engine lets one create it. The older ones are removed afterwards, so that there is a record
//! at every moment; the newest one counts.

use std::cell::RefCell;
use std::time::Duration;

use bollard::errors::Error;
use bollard::models::ContainerSummary;
use futures::FutureExt;
use futures::future::LocalBoxFuture;
use log::debug;
use tokio::time::sleep;

use super::container::is_running;
use super::engine::{Engine, is_conflict, is_missing};
use super::image_facts::{ImageFacts, no_service};
use super::labels::{FLEET, REPLICA};
use super::peer_check;
use crate::fleet::FleetRecord;
use crate::runtime::RuntimeError;
use crate::runtime::record::{RecordStore, Swap};

/// Marks a container as a record; its value is the version.
pub(super) const RECORD: &str = "io.ringmaster.record";

/// The record itself.
const CONTENT: &str = "io.ringmaster.record.json";

/// What `docker ps` shows as the command. It never runs.
const COMMAND: &str = "fleet-record-never-started";

/// The most names in a row that may be taken by containers that are no records.
const MAX_SKIPPED: u32 = 16;

/// How often a name that is taken is tried again: another balancer's container may be about to
/// be listed, or to be removed.
const ATTEMPTS: u32 = 100;
const ATTEMPT_PAUSE: Duration = Duration::from_millis(50);

/// Records of one fleet on one engine.
pub struct DockerRecordStore {
    engine: Engine,
    fleet: String,
    /// An image that the engine has: that of the last record.
    image: RefCell<Option<String>>,
}

/// One version on the engine.
struct Version {
    number: u64,
    container: String,
    image: Option<String>,
    content: String,
}

fn name(fleet: &str, version: u64) -> String {
    format!("{fleet}-record-{version}")
}

fn read(fleet: &str, summary: ContainerSummary) -> Option<Version> {
    let mut labels = summary.labels?;
    let number = labels.get(RECORD)?.parse().ok()?;
    let slashed = format!("/{}", name(fleet, number));
    // Labels can be copied; a name cannot.
    let named = summary.names?.contains(&slashed);
    named.then_some(Version {
        number,
        container: summary.id?,
        image: summary.image_id,
        content: labels.remove(CONTENT).unwrap_or_default(),
    })
}

impl DockerRecordStore {
    /// The records of a fleet on the engine of `DOCKER_HOST`, or of the usual socket.
    pub fn new(fleet: &str) -> Result<Self, RuntimeError> {
        Ok(Self::on(Engine::from_env()?, fleet))
    }

    /// The records of a fleet on the engine at an address such as `unix:///var/run/docker.sock`.
    pub fn at(host: &str, fleet: &str) -> Result<Self, RuntimeError> {
        Ok(Self::on(Engine::connect(host.to_owned())?, fleet))
    }

    fn on(engine: Engine, fleet: &str) -> Self {
        Self {
            engine,
            fleet: fleet.to_owned(),
            image: RefCell::default(),
        }
    }

    /// All versions, the newest first.
    async fn list(&self) -> Result<Vec<Version>, RuntimeError> {
        let labels = vec![format!("{FLEET}={}", self.fleet), RECORD.to_owned()];
        let listed = self.engine.summaries("label", labels).await?;
        let mut versions: Vec<_> = listed
            .into_iter()
            .filter_map(|summary| read(&self.fleet, summary))
            .collect();
        versions.sort_by_key(|version| std::cmp::Reverse(version.number));
        Ok(versions)
    }

    async fn load_newest(&self) -> Result<Option<FleetRecord>, RuntimeError> {
        self.engine.handshake().await?;
        let Some(newest) = self.list().await?.into_iter().next() else {
            return Ok(None);
        };
        let name = name(&self.fleet, newest.number);
        self.image.replace(newest.image);
        let record = FleetRecord::parse_version(&newest.content, newest.number);
        let record = record.map_err(|wrong| {
            RuntimeError(format!(
                "container {name} is no fleet record: {wrong}; remove it (docker rm {name}) to have the \
                 record rebuilt from what runs"
            ))
        })?;
        Ok(Some(record))
    }

    async fn swap(&self, mut record: FleetRecord) -> Result<Swap, RuntimeError> {
        let mut skipped = 0;
        for attempt in 0..ATTEMPTS {
            if attempt > 0 {
                sleep(ATTEMPT_PAUSE).await;
            }
            let version = record.version;
            if let Some(container) = self.create(&record).await? {
                return self.settle(version, &container).await;
            }
            let newest = self.list().await?.into_iter().next();
            if newest.is_some_and(|newest| newest.number >= version) {
                return Ok(Swap::Lost);
            }
            // A name is taken before its container is listed, so another balancer may be writing
            // this version; skip it only if its container is no record. (A replica may be called
            // record-7.)
            if self.is_foreign(version).await? && skipped < MAX_SKIPPED {
                skipped += 1;
                record.version += 1;
            }
        }
        let name = name(&self.fleet, record.version);
        Err(RuntimeError(format!(
            "the container name {name} is taken by a container that is no fleet record"
        )))
    }

    /// Whether the name of a version is taken by a container that is no record.
    async fn is_foreign(&self, version: u64) -> Result<bool, RuntimeError> {
        match self.engine.inspect(&name(&self.fleet, version)).await {
            Ok(holder) => {
                let labels = holder.config.and_then(|config| config.labels);
                let labels = labels.unwrap_or_default();
                let ours = labels.get(FLEET) == Some(&self.fleet);
                Ok(!(ours && labels.contains_key(RECORD)))
            }
            Err(error) if is_missing(&error) => Ok(false),
            Err(error) => Err(self.engine.explain(error)),
        }
    }

    /// Decides whether a version that was created counts. Its name may have been free because
    /// others have written newer versions and removed that one: only the newest counts.
    async fn settle(&self, version: u64, container: &str) -> Result<Swap, RuntimeError> {
        let all = self.list().await?;
        if all.iter().any(|other| other.number > version) {
            self.engine.remove(container).await?;
            return Ok(Swap::Lost);
        }
        for older in all.iter().filter(|other| other.number < version) {
            // One that stays is removed with the next version.
            if let Err(error) = self.engine.remove(&older.container).await {
                debug!("docker: cannot remove record {}: {error}", older.number);
            }
        }
        Ok(Swap::Written(version))
    }

    /// Creates the container of a version; none if its name is taken.
    async fn create(&self, record: &FleetRecord) -> Result<Option<String>, RuntimeError> {
        let image = match &record.definition.image {
            Some(image) => image.clone(),
            None => self.any_image()?,
        };
        let created = match self.create_of(record, &image).await {
            // The image has been removed: use that of an older record.
            Err(error) if is_missing(&error) => {
                let kept = self.any_image()?;
                self.create_of(record, &kept).await
            }
            created => created,
        };
        match created {
            Ok(container) => Ok(Some(container)),
            Err(error) if is_conflict(&error) => Ok(None),
            Err(error) => Err(self.engine.explain(error)),
        }
    }

    fn any_image(&self) -> Result<String, RuntimeError> {
        let image = self.image.borrow().clone();
        image.ok_or_else(|| RuntimeError("there is no image for the fleet record".to_owned()))
    }

    async fn create_of(&self, record: &FleetRecord, image: &str) -> Result<String, Error> {
        let facts = self.inspect_image(image).await?;
        let name = name(&self.fleet, record.version);
        let mut labels = no_service(&facts);
        let own = [
            (FLEET, self.fleet.clone()),
            (RECORD, record.version.to_string()),
            (CONTENT, record.to_json()),
        ];
        labels.extend(own.map(|(key, value)| (key.to_owned(), value)));
        let created = self.engine.create_label(&name, image, COMMAND, labels);
        created.await
    }

    async fn inspect_image(&self, image: &str) -> Result<ImageFacts, Error> {
        let found = self.engine.docker.inspect_image(image).await?;
        self.image.replace(found.id);
        Ok(ImageFacts {
            labels: found.config.and_then(|c| c.labels).unwrap_or_default(),
            ..Default::default()
        })
    }

    async fn remove_up_to(&self, version: u64) -> Result<(), RuntimeError> {
        for each in self.list().await? {
            if each.number <= version {
                self.engine.remove(&each.container).await?;
            }
        }
        Ok(())
    }

    async fn find_peers(&self) -> bool {
        let Ok(image) = self.any_image() else {
            return false;
        };
        let facts = self.inspect_image(&image).await.unwrap_or_default();
        peer_check::has_peer(&self.engine, &self.fleet, &image, &facts).await
    }
}

impl RecordStore for DockerRecordStore {
    fn load(&self) -> LocalBoxFuture<'_, Result<Option<FleetRecord>, RuntimeError>> {
        self.load_newest().boxed_local()
    }

    fn write(&self, record: FleetRecord) -> LocalBoxFuture<'_, Result<Swap, RuntimeError>> {
        self.swap(record).boxed_local()
    }

    fn remove(&self, version: u64) -> LocalBoxFuture<'_, Result<(), RuntimeError>> {
        self.remove_up_to(version).boxed_local()
    }

    fn has_peers(&self) -> LocalBoxFuture<'_, bool> {
        self.find_peers().boxed_local()
    }

    fn has_instances(&self) -> LocalBoxFuture<'_, Result<bool, RuntimeError>> {
        let labels = vec![format!("{FLEET}={}", self.fleet), REPLICA.to_owned()];
        async move {
            let listed = self.engine.summaries("label", labels).await?;
            Ok(listed.iter().any(is_running))
        }
        .boxed_local()
    }

    fn place(&self, version: u64) -> Option<String> {
        Some(name(&self.fleet, version))
    }
}
