//! Stores a fleet's record.
//!
//! A [`RecordStore`] keeps one record and lets one writer at a time replace it: a write needs a
//! version that does not exist yet. [`RecordKeeper`] applies the balancer's changes: each to the
//! newest record, and again if another balancer has written meanwhile.

use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

use futures::FutureExt;
use futures::future::LocalBoxFuture;
use log::{info, warn};
use tokio::sync::Mutex;
use tokio::time::sleep;

use crate::fleet::{Difference, Existing, FleetFlags, FleetRecord, RecordChange};
use crate::runtime::RuntimeError;

/// How often a change is made again because another balancer has written meanwhile.
const MAX_ATTEMPTS: u32 = 50;

/// How long the end of a rollout may take to be in the record.
const ROLLOUT_END: Duration = Duration::from_secs(3);

/// The result of an attempt to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Swap {
    /// The record has been written under this version: the requested one, or a later one if the
    /// name of that is taken.
    Written(u64),
    /// Another balancer has written this version or a later one.
    Lost,
}

/// Stores one fleet's record. Its calls are made from the control thread and must not block it.
pub trait RecordStore: 'static {
    /// The newest record, if there is one.
    fn load(&self) -> LocalBoxFuture<'_, Result<Option<FleetRecord>, RuntimeError>>;

    /// Writes a record under its version, if that is newer than all there are.
    fn write(&self, record: FleetRecord) -> LocalBoxFuture<'_, Result<Swap, RuntimeError>>;

    /// Removes the record up to this version: the fleet has ended for good.
    fn remove(&self, _version: u64) -> LocalBoxFuture<'_, Result<(), RuntimeError>> {
        async { Ok(()) }.boxed_local()
    }

    /// Whether another balancer serves the fleet.
    fn has_peers(&self) -> LocalBoxFuture<'_, bool> {
        async { false }.boxed_local()
    }

    /// The place of that version, for people. `None` if it is not kept.
    fn place(&self, _version: u64) -> Option<String> {
        None
    }
}

/// Stores nothing: the record lasts as long as the balancer.
#[derive(Debug, Default)]
pub struct NoStore;

impl RecordStore for NoStore {
    fn load(&self) -> LocalBoxFuture<'_, Result<Option<FleetRecord>, RuntimeError>> {
        async { Ok(None) }.boxed_local()
    }

    fn write(&self, record: FleetRecord) -> LocalBoxFuture<'_, Result<Swap, RuntimeError>> {
        async move { Ok(Swap::Written(record.version)) }.boxed_local()
    }
}

/// The record at a start, before the running instances are known.
#[derive(Debug)]
pub struct OpeningRecord {
    /// The record merged with the flags; none if there is none.
    merged: Option<FleetRecord>,
    /// The version that is in the store.
    stored: Option<u64>,
    difference: Option<Difference>,
}

impl OpeningRecord {
    /// Reads the record. `contended`: other balancers are known to serve the fleet.
    pub async fn load(
        store: &dyn RecordStore,
        flags: &FleetFlags,
        contended: bool,
    ) -> Result<Self, RuntimeError> {
        let begun = Instant::now();
        let (stored, has_peers) = loop {
            let Some(stored) = store.load().await? else {
                return Ok(Self {
                    merged: None,
                    stored: None,
                    difference: None,
                });
            };
            let asks = !stored.came_from(flags) || stored.rollout.is_some();
            let has_peers = asks && (contended || store.has_peers().await);
            match stored.rollout.as_ref().filter(|_| has_peers) {
                None => break (stored, has_peers),
                // One that has just ended is in the record until its end is written.
                Some(_) if begun.elapsed() < ROLLOUT_END => sleep(ROLLOUT_END / 10).await,
                Some(rollout) => {
                    return Err(RuntimeError(format!(
                        "rollout {} is under way by another balancer of this fleet: start this one \
                         when it has ended",
                        rollout.id
                    )));
                }
            }
        };
        let (merged, difference) = stored.merge(flags, has_peers);
        Ok(Self {
            merged: Some(merged),
            stored: Some(stored.version),
            difference,
        })
    }

    /// The record that the fleet is started by, if there is one.
    pub fn record(&self) -> Option<&FleetRecord> {
        self.merged.as_ref()
    }

    /// The record that [`OpeningRecord::settle`] is about to write, or to leave as it is.
    pub fn outcome(&self, flags: &FleetFlags, found: &[Existing]) -> FleetRecord {
        let merged = self.merged.clone();
        merged.unwrap_or_else(|| FleetRecord::rebuild(flags, found))
    }

    /// Writes the record if it has changed. Returns the store if another balancer has written
    /// meanwhile: the start has to begin again.
    pub async fn settle(
        self,
        store: Box<dyn RecordStore>,
        flags: &FleetFlags,
        found: &[Existing],
    ) -> Result<Result<RecordKeeper, Box<dyn RecordStore>>, RuntimeError> {
        let rebuilt = self.merged.is_none() && !found.is_empty();
        let mut record = self.outcome(flags, found);
        if self.stored != Some(record.version) {
            match store.write(record.clone()).await? {
                Swap::Written(version) => record.version = version,
                Swap::Lost => return Ok(Err(store)),
            }
        }
        if rebuilt && store.place(record.version).is_some() {
            warn!(
                "there is no fleet record, but {} of the fleet's instances: it has been rebuilt from \
                 what runs, with {} replicas; weights and ring settings are those of the instances \
                 and the flags",
                found.len(),
                record.replicas.len()
            );
        }
        let keeper = RecordKeeper::new(store, record, self.difference);
        keeper.log_record(flags);
        Ok(Ok(keeper))
    }
}

/// The state of the record, for people.
#[derive(Debug, Clone, PartialEq)]
pub struct RecordReport {
    /// The place where it is kept, if it is.
    pub place: Option<String>,
    /// Its version.
    pub version: u64,
    /// The hash of the definition that replicas are started by.
    pub definition: String,
    /// The differences between the flags of this start and those that the record came from.
    pub difference: Option<Difference>,
    /// The error of the last write, until one succeeds.
    pub last_error: Option<String>,
}

/// The balancer's access to the record.
pub struct RecordKeeper {
    store: Box<dyn RecordStore>,
    current: RefCell<FleetRecord>,
    /// Changes that have not been written yet.
    unwritten: RefCell<Vec<RecordChange>>,
    difference: Option<Difference>,
    last_error: RefCell<Option<String>>,
    ended: Cell<bool>,
    /// Held during a write.
    writing: Mutex<()>,
}

impl RecordKeeper {
    fn new(
        store: Box<dyn RecordStore>,
        current: FleetRecord,
        difference: Option<Difference>,
    ) -> Self {
        Self {
            store,
            current: RefCell::new(current),
            unwritten: RefCell::default(),
            difference,
            last_error: RefCell::default(),
            ended: Cell::new(false),
            writing: Mutex::default(),
        }
    }

    /// Logs the record by which the fleet is started.
    fn log_record(&self, flags: &FleetFlags) {
        let current = self.current.borrow();
        let place = self.store.place(current.version);
        let Some(place) = place else { return };
        match &self.difference {
            Some(difference) if difference.overruled => warn!(
                "definition differs: {}; other balancers serve this fleet, so its record {place} \
                 holds, and these flags change nothing",
                difference.words.join("; ")
            ),
            Some(difference) => warn!(
                "the flags have changed since fleet record {} was written: {}; what is started from \
                 now on follows the flags, what is missing is started, and nothing that runs is \
                 replaced or removed",
                place,
                difference.words.join("; ")
            ),
            None => {}
        }
        let (recorded, asked) = (current.replicas.len(), flags.replicas.len());
        if recorded != asked {
            info!("fleet record {place} holds: {recorded} replicas, where --replicas says {asked}");
        }
    }

    /// The record as last read or written.
    pub fn record(&self) -> FleetRecord {
        self.current.borrow().clone()
    }

    /// The record with the changes that are still to be written.
    pub fn wanted(&self) -> FleetRecord {
        let record = self.record();
        let changed = record.with(&self.unwritten.borrow());
        changed.unwrap_or(record)
    }

    /// The record, if every change of this balancer's is in it.
    pub fn written(&self) -> Option<FleetRecord> {
        let all = self.unwritten.borrow().is_empty() && !self.ended.get();
        all.then(|| self.record())
    }

    /// The state of the record.
    pub fn report(&self) -> RecordReport {
        let current = self.current.borrow();
        RecordReport {
            place: self.store.place(current.version),
            version: current.version,
            definition: current.definition_hash.clone(),
            difference: self.difference.clone(),
            last_error: self.last_error.borrow().clone(),
        }
    }

    /// Queues changes for the next [`RecordKeeper::flush`].
    pub fn note(&self, changes: Vec<RecordChange>) {
        self.unwritten.borrow_mut().extend(changes);
    }

    /// Writes all queued changes. After an error they stay queued.
    pub async fn flush(&self) -> Result<(), RuntimeError> {
        let _alone = self.writing.lock().await;
        // Another caller may have written them while this one waited.
        let changes = self.unwritten.borrow().clone();
        if changes.is_empty() || self.ended.get() {
            return Ok(());
        }
        let written = self.write(&changes).await;
        let error = written.as_ref().err().map(|error| error.0.clone());
        if let Some(error) = &error
            && self.last_error.borrow().is_none()
        {
            warn!("cannot write the fleet record: {error}; it is tried again");
        }
        *self.last_error.borrow_mut() = error;
        if written.is_ok() {
            self.unwritten.borrow_mut().drain(..changes.len());
        }
        written
    }

    async fn write(&self, changes: &[RecordChange]) -> Result<(), RuntimeError> {
        for _ in 0..MAX_ATTEMPTS {
            let next = self.current.borrow().with(changes);
            // Another balancer may have made the same change: no new version then.
            let Some(mut next) = next else { return Ok(()) };
            if let Swap::Written(version) = self.store.write(next.clone()).await? {
                next.version = version;
                *self.current.borrow_mut() = next;
                return Ok(());
            }
            match self.store.load().await? {
                Some(newest) => *self.current.borrow_mut() = newest,
                // Removed meanwhile: write it again, above the old version.
                None => self.current.borrow_mut().version += 1,
            }
        }
        Err(RuntimeError(format!(
            "other balancers have changed it {MAX_ATTEMPTS} times meanwhile"
        )))
    }

    /// This version has been removed from the store. Writes it again unless there is a newer one.
    pub async fn check_removed(&self, version: u64) {
        let _alone = self.writing.lock().await;
        if self.ended.get() || version < self.current.borrow().version {
            return;
        }
        let restored = async {
            if let Some(newest) = self.store.load().await?
                && newest.version >= version
            {
                *self.current.borrow_mut() = newest;
                return Ok(None);
            }
            let record = self.record();
            self.store.write(record).await.map(Some)
        };
        match restored.await {
            Ok(Some(Swap::Written(version))) => {
                self.current.borrow_mut().version = version;
                let place = self.store.place(version).unwrap_or_default();
                warn!(
                    "the fleet record was removed by hand or by another program: written again as {place}"
                );
            }
            Ok(_) => {}
            Err(RuntimeError(error)) => {
                warn!("the fleet record was removed, and cannot be written again: {error}");
                *self.last_error.borrow_mut() = Some(error);
            }
        }
    }

    /// The fleet has ended on purpose, and its record with it.
    pub async fn end(&self) {
        let _alone = self.writing.lock().await;
        self.ended.set(true);
        let version = self.current.borrow().version;
        if let Err(error) = self.store.remove(version).await {
            warn!("cannot remove the fleet record: {error}");
        }
    }
}
