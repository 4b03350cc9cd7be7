//! Where a fleet's record is kept, and who writes it.
//!
//! A [`RecordStore`] keeps one record and lets one writer at a time replace it: it takes a
//! version that does not exist yet. [`RecordKeeper`] is the balancer's way to it: a change is
//! made to the newest record, whoever wrote that, and made again if another balancer was
//! quicker.

use std::cell::{Cell, RefCell};

use futures::FutureExt;
use futures::future::LocalBoxFuture;
use log::{info, warn};
use tokio::sync::Mutex;

use crate::fleet::{Difference, FleetFlags, FleetRecord, Found, RecordChange};
use crate::runtime::RuntimeError;

/// How often a change is made again because another balancer has written meanwhile.
const MAX_ATTEMPTS: u32 = 50;

/// What has become of an attempt to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Swap {
    /// The record has been written, under this version: the one that was asked for, or a later
    /// one if something else is in the way of that.
    Written(u64),
    /// Another balancer has written this version or a later one.
    Lost,
}

/// A place for one fleet's record. Its calls are made from the control thread and must not
/// block it.
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

    /// Where that version is, for people. None if it is kept nowhere.
    fn place(&self, _version: u64) -> Option<String> {
        None
    }
}

/// Keeps nothing: the record lasts as long as the balancer.
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

/// What a start has found in the store, before it is known which instances run.
#[derive(Debug)]
pub struct OpeningRecord {
    /// As the flags make it; none if there is none.
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
        let Some(stored) = store.load().await? else {
            return Ok(Self {
                merged: None,
                stored: None,
                difference: None,
            });
        };
        let has_peers = !stored.came_from(flags) && (contended || store.has_peers().await);
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
    pub fn outcome(&self, flags: &FleetFlags, found: &[Found]) -> FleetRecord {
        let merged = self.merged.clone();
        merged.unwrap_or_else(|| FleetRecord::rebuild(flags, found))
    }

    /// Writes the record, if it is new or other than before. Gives the store back if another
    /// balancer has written meanwhile: everything is to be looked at again.
    pub async fn settle(
        self,
        store: Box<dyn RecordStore>,
        flags: &FleetFlags,
        found: &[Found],
    ) -> Result<Result<RecordKeeper, Box<dyn RecordStore>>, RuntimeError> {
        let rebuilt = self.merged.is_none() && !found.is_empty();
        let mut record = self.outcome(flags, found);
        if self.stored != Some(record.version) {
            match store.write(record.clone()).await? {
                Swap::Written(version) => record.version = version,
                Swap::Lost => return Ok(Err(store)),
            }
        }
        if rebuilt {
            warn!(
                "there is no fleet record, but {} of the fleet's instances: it has been rebuilt from \
                 what runs, with {} replicas; weights and ring settings are those of the instances \
                 and the flags",
                found.len(),
                record.replicas.len()
            );
        }
        let keeper = RecordKeeper::new(store, record, self.difference);
        keeper.tell(flags);
        Ok(Ok(keeper))
    }
}

/// How the record is, for people.
#[derive(Debug, Clone, PartialEq)]
pub struct RecordReport {
    /// Where it is kept, if it is.
    pub place: Option<String>,
    /// Its version.
    pub version: u64,
    /// The hash of the definition that replicas are started by.
    pub definition: String,
    /// How the flags of this balancer's start differed from those that the record came from.
    pub difference: Option<Difference>,
    /// Why the last change could not be written, while that is so.
    pub last_error: Option<String>,
}

/// The balancer's hand on the record.
pub struct RecordKeeper {
    store: Box<dyn RecordStore>,
    current: RefCell<FleetRecord>,
    /// Changes that could not be written yet.
    unwritten: RefCell<Vec<RecordChange>>,
    difference: Option<Difference>,
    last_error: RefCell<Option<String>>,
    ended: Cell<bool>,
    /// Held by whoever writes.
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

    /// Says by which record the fleet is started.
    fn tell(&self, flags: &FleetFlags) {
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

    /// The record as it was read or written last.
    pub fn record(&self) -> FleetRecord {
        self.current.borrow().clone()
    }

    /// How the record is.
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

    /// Notes changes, to be written by the next [`RecordKeeper::flush`].
    pub fn note(&self, changes: Vec<RecordChange>) {
        self.unwritten.borrow_mut().extend(changes);
    }

    /// Writes every change that has been noted. After an error they are kept, to be written
    /// another time.
    pub async fn flush(&self) -> Result<(), RuntimeError> {
        let _alone = self.writing.lock().await;
        // Those of a caller that has waited here may have been written by another.
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
            // Another balancer may have made the same change: no version for nothing.
            let Some(mut next) = next else { return Ok(()) };
            if let Swap::Written(version) = self.store.write(next.clone()).await? {
                next.version = version;
                *self.current.borrow_mut() = next;
                return Ok(());
            }
            match self.store.load().await? {
                Some(newest) => *self.current.borrow_mut() = newest,
                // Removed meanwhile: written anew, above what there was.
                None => self.current.borrow_mut().version += 1,
            }
        }
        Err(RuntimeError(format!(
            "other balancers have changed it {MAX_ATTEMPTS} times meanwhile"
        )))
    }

    /// The record of this version has gone from the store. If no newer one is there, it is
    /// written again.
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
                warn!("the fleet record was removed by somebody else: written again as {place}");
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
