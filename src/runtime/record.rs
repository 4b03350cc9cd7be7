//! Stores a fleet's record.
//!
//! A [`RecordStore`] keeps one record and lets one writer at a time replace it: a write needs a
//! version that does not exist yet. [`RecordKeeper`] applies the balancer's changes: each to the
//! newest record, and again if another balancer has written meanwhile.

use std::cell::{Cell, RefCell};

use futures::FutureExt;
use futures::future::LocalBoxFuture;
use log::{info, warn};
use tokio::sync::Mutex;

use crate::fleet::{
    AtStart, Definition, Difference, Existing, FlagsEffect, FleetFlags, FleetRecord,
    PendingRollout, RecordChange,
};
use crate::runtime::{RuntimeError, balancer_name};

/// How often a change is made again because another balancer has written meanwhile.
const MAX_ATTEMPTS: u32 = 50;

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

    /// Whether instances of the fleet run that may have outlived a balancer.
    fn has_instances(&self) -> LocalBoxFuture<'_, Result<bool, RuntimeError>> {
        async { Ok(false) }.boxed_local()
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
    /// The image is one that the flags bring, not the record.
    has_new_image: bool,
    /// That image with its digest.
    pinned: Option<String>,
    /// A rollout is under way, and other balancers serve the fleet.
    follows: bool,
}

impl OpeningRecord {
    /// Reads the record. `contended`: other balancers are known to serve the fleet.
    pub async fn load(
        store: &dyn RecordStore,
        flags: &FleetFlags,
        contended: bool,
    ) -> Result<Self, RuntimeError> {
        let Some(stored) = store.load().await? else {
            return Ok(Self {
                merged: None,
                stored: None,
                difference: None,
                has_new_image: true,
                pinned: None,
                follows: false,
            });
        };
        let differs = !stored.came_from(flags);
        let asks = differs || stored.rollout.is_some();
        let has_peers = asks && (contended || store.has_peers().await);
        let at_start = if has_peers {
            AtStart::Shared
        } else if differs && store.has_instances().await? {
            AtStart::Running
        } else {
            AtStart::Ended
        };
        let (mut merged, difference) = stored.merge(flags, at_start);
        let follows = has_peers && merged.rollout.is_some();
        if let Some(rollout) = merged.rollout.as_ref().filter(|r| follows && r.stops_first) {
            return Err(RuntimeError(format!(
                "rollout {} is under way by another balancer of this fleet, and stops instances before it \
                 starts others, which this one would take for deaths: start it when that has ended",
                rollout.id
            )));
        }
        if !has_peers {
            merged = merged.carried_out_by(balancer_name(), stored.version);
        }
        let coming = match difference.as_ref().map(|difference| &difference.effect) {
            Some(FlagsEffect::Rollout(pending)) => &pending.to,
            _ => &merged.definition,
        };
        Ok(Self {
            has_new_image: coming.image != stored.definition.image,
            merged: Some(merged),
            stored: Some(stored.version),
            difference,
            pinned: None,
            follows,
        })
    }

    /// Whether another balancer carries a rollout out.
    pub fn follows(&self) -> bool {
        self.follows
    }

    /// Whether the image is one that the flags bring, not the record.
    pub fn has_new_image(&self) -> bool {
        self.has_new_image
    }

    /// That image is this one: its tag with a digest.
    pub fn pin(&mut self, image: String) {
        match self
            .difference
            .as_mut()
            .map(|difference| &mut difference.effect)
        {
            Some(FlagsEffect::Rollout(pending)) => pending.to.image = Some(image),
            _ => self.pinned = Some(image),
        }
    }

    /// The record that [`OpeningRecord::settle`] is about to write, or to leave as it is.
    pub fn outcome(&self, flags: &FleetFlags, found: &[Existing]) -> FleetRecord {
        let merged = self.merged.clone();
        let mut record = merged.unwrap_or_else(|| FleetRecord::rebuild(flags, found));
        if self.pinned.is_some() {
            record.take_definition(Definition {
                image: self.pinned.clone(),
                ..record.definition.clone()
            });
        }
        record
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
    /// The differences between the flags of this start and those that the record came from, until their
    /// rollout begins.
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
        if let Some(Difference { words, effect }) = &self.difference {
            let words = words.join("; ");
            let changed =
                format!("the flags have changed since fleet record {place} was written: {words}");
            match (effect, current.rollout_given_up()) {
                (FlagsEffect::Overruled, _) => warn!(
                    "definition differs: {words}; other balancers serve this fleet, so its record {place} \
                     holds, and these flags change nothing"
                ),
                (FlagsEffect::Rollout(_), None) => {
                    info!("{changed}; what runs serves on until a rollout has replaced it");
                }
                (FlagsEffect::Rollout(_), Some(id)) => warn!(
                    "{changed}; rollout {id} is rolled back, and what runs serves on until another one \
                     has replaced it"
                ),
                (FlagsEffect::AtOnce, Some(id)) => warn!("{changed}; rollout {id} is rolled back"),
                (FlagsEffect::AtOnce, None) => warn!(
                    "{changed}; what is started from now on follows the flags, what is missing is \
                     started, and nothing that runs is replaced or removed"
                ),
            }
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

    /// The rollout that the flags of this start ask for, if they do.
    pub fn pending_rollout(&self) -> Option<&PendingRollout> {
        match &self.difference.as_ref()?.effect {
            FlagsEffect::Rollout(pending) => Some(pending),
            FlagsEffect::Overruled | FlagsEffect::AtOnce => None,
        }
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
        let pending = self.pending_rollout();
        let has_begun = pending.is_some_and(|pending| current.has_taken_up(&pending.flags));
        RecordReport {
            place: self.store.place(current.version),
            version: current.version,
            definition: current.definition_hash.clone(),
            difference: self.difference.clone().filter(|_| !has_begun),
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

    /// Makes changes now, or not at all. Returns the record after that: it has them unless another balancer
    /// was first with others.
    pub async fn claim(&self, changes: &[RecordChange]) -> Result<FleetRecord, RuntimeError> {
        let _alone = self.writing.lock().await;
        if self.ended.get() {
            return Err(RuntimeError("the fleet has ended".to_owned()));
        }
        self.write(changes).await?;
        Ok(self.record())
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
