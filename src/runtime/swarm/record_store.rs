//! A fleet's record in the Swarm: a config object, whose labels hold it. They are the only part of one
//! that can be changed. The index of its version is the compare-and-swap between balancers.

use std::cell::Cell;

use futures::FutureExt;
use futures::future::LocalBoxFuture;
use serde_json::{Value, json};

use super::api::{ObjectKind, SwarmApi, SwarmError, Versioned};
use super::labels::{FLEET, RECORD, RECORD_JSON};
use super::names::record_name;
use super::presence::Presence;
use super::service::{ServiceInfo, ServiceRole};
use crate::fleet::FleetRecord;
use crate::runtime::RuntimeError;
use crate::runtime::record::{RecordStore, Swap};

/// A config object cannot be empty.
const CONTENT: &str = "eA==";

/// How often a write is tried again that another change has overtaken without a newer version.
const MAX_ATTEMPTS: u32 = 20;

/// The record of one fleet in one Swarm.
pub struct SwarmRecordStore {
    api: SwarmApi,
    fleet: String,
    name: String,
    /// It has been found out that this is a manager.
    is_checked: Cell<bool>,
}

/// The version in a config object's labels.
pub(super) fn version_of(spec: &Value) -> Option<u64> {
    spec["Labels"][RECORD].as_str()?.parse().ok()
}

impl SwarmRecordStore {
    /// The record of a fleet in the Swarm of `DOCKER_HOST`, or of the usual socket.
    pub fn new(fleet: &str) -> Result<Self, RuntimeError> {
        Ok(Self {
            api: SwarmApi::from_env()?,
            fleet: fleet.to_owned(),
            name: record_name(fleet),
            is_checked: Cell::new(false),
        })
    }

    fn spec(&self, record: &FleetRecord) -> Value {
        json!({
            "Name": self.name,
            "Data": CONTENT,
            "Labels": {
                FLEET: self.fleet,
                RECORD: record.version.to_string(),
                RECORD_JSON: record.to_json(),
            },
        })
    }

    async fn find(&self) -> Result<Option<Versioned>, SwarmError> {
        match self.api.find(ObjectKind::Config, &self.name).await {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.is_missing() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether a config object of that name is a record of this fleet.
    fn check_owner(&self, spec: &Value) -> Result<u64, RuntimeError> {
        let is_ours = spec["Labels"][FLEET] == self.fleet;
        version_of(spec).filter(|_| is_ours).ok_or_else(|| {
            let name = &self.name;
            RuntimeError(format!(
                "the config {name} is no fleet record of this fleet"
            ))
        })
    }

    async fn load_record(&self) -> Result<Option<FleetRecord>, RuntimeError> {
        // The first call of a start.
        if !self.is_checked.replace(true) {
            self.api.check_manager().await?;
        }
        let Some(found) = self.find().await? else {
            return Ok(None);
        };
        let version = self.check_owner(&found.spec)?;
        let content = found.spec["Labels"][RECORD_JSON].as_str();
        let name = &self.name;
        let record = FleetRecord::parse_version(content.unwrap_or_default(), version);
        let record = record.map_err(|wrong| {
            RuntimeError(format!(
                "config {name} is no fleet record: {wrong}; remove it (docker config rm {name}) to \
                 have the record rebuilt from what runs"
            ))
        });
        Ok(Some(record?))
    }

    async fn swap(&self, record: FleetRecord) -> Result<Swap, RuntimeError> {
        let version = record.version;
        let spec = self.spec(&record);
        for _ in 0..MAX_ATTEMPTS {
            let written = match self.find().await? {
                Some(found) => {
                    if self.check_owner(&found.spec)? >= version {
                        return Ok(Swap::Lost);
                    }
                    let spec = spec.clone();
                    self.api
                        .update(ObjectKind::Config, &Versioned { spec, ..found })
                        .await
                }
                None => self.api.post("/configs/create", &spec).await.map(drop),
            };
            match written {
                Ok(()) => {
                    return Ok(Swap::Written(version));
                }
                Err(error)
                    if error.is_out_of_sequence() || error.is_taken() || error.is_missing() => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Swap::Lost)
    }

    async fn remove_record(&self, version: u64) -> Result<(), RuntimeError> {
        let Some(found) = self.find().await? else {
            return Ok(());
        };
        if self.check_owner(&found.spec)? <= version {
            self.api.remove(ObjectKind::Config, &self.name).await?;
        }
        Ok(())
    }

    async fn find_peers(&self) -> bool {
        let presence = Presence::new(&self.fleet);
        presence.leave(&self.api).await
    }
}

impl RecordStore for SwarmRecordStore {
    fn load(&self) -> LocalBoxFuture<'_, Result<Option<FleetRecord>, RuntimeError>> {
        self.load_record().boxed_local()
    }

    fn write(&self, record: FleetRecord) -> LocalBoxFuture<'_, Result<Swap, RuntimeError>> {
        self.swap(record).boxed_local()
    }

    fn remove(&self, version: u64) -> LocalBoxFuture<'_, Result<(), RuntimeError>> {
        self.remove_record(version).boxed_local()
    }

    fn has_peers(&self) -> LocalBoxFuture<'_, bool> {
        self.find_peers().boxed_local()
    }

    fn has_instances(&self) -> LocalBoxFuture<'_, Result<bool, RuntimeError>> {
        async move {
            let services = self.api.services(&self.fleet, None).await?;
            let leaves = |service: &ServiceInfo| service.role == ServiceRole::Leaving;
            Ok(services.iter().any(|service| !leaves(service)))
        }
        .boxed_local()
    }

    fn place(&self, _: u64) -> Option<String> {
        Some(self.name.clone())
    }
}
