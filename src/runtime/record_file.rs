//! A fleet's record in a file (`--state`), for fleets of child processes.
//!
//! It is replaced atomically: a temporary file is written, flushed and renamed. A lock file beside
//! it keeps a second balancer from using the same one. Every access runs on a blocking thread.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use futures::FutureExt;
use futures::future::LocalBoxFuture;
use tokio::task::spawn_blocking;

use crate::fleet::FleetRecord;
use crate::runtime::RuntimeError;
use crate::runtime::record::{RecordStore, Swap};

/// The largest file that is read. A record of 1,024 replicas takes a twentieth of it.
const MAX_SIZE: u64 = 1 << 20;

/// The record in a file.
#[derive(Debug)]
pub struct FileStore {
    path: PathBuf,
    /// Locked for as long as the balancer lives.
    _lock: File,
}

impl FileStore {
    /// A store in this file, which need not exist, for this process only.
    pub async fn open(path: PathBuf) -> Result<Self, RuntimeError> {
        let lock_path = beside(&path, "lock");
        let shown = path.display().to_string();
        let locked = blocking(move || {
            let lock = private_file().truncate(false).open(&lock_path);
            let lock = lock.map_err(|error| explain("cannot be used", &lock_path, &error))?;
            match lock.try_lock() {
                Ok(()) => Ok(lock),
                Err(TryLockError::WouldBlock) => Err(RuntimeError(format!(
                    "state file {shown} is in use by another balancer: give each a --state of its own"
                ))),
                Err(TryLockError::Error(error)) => {
                    Err(explain("cannot be locked", &lock_path, &error))
                }
            }
        });
        Ok(Self {
            _lock: locked.await?,
            path,
        })
    }
}

impl RecordStore for FileStore {
    fn load(&self) -> LocalBoxFuture<'_, Result<Option<FleetRecord>, RuntimeError>> {
        let path = self.path.clone();
        blocking(move || read(&path)).boxed_local()
    }

    fn write(&self, record: FleetRecord) -> LocalBoxFuture<'_, Result<Swap, RuntimeError>> {
        let path = self.path.clone();
        blocking(move || {
            if read(&path)?.is_some_and(|there| there.version >= record.version) {
                return Ok(Swap::Lost);
            }
            let replaced = replace(&path, &record.to_json());
            replaced.map_err(|error| explain("cannot be written", &path, &error))?;
            Ok(Swap::Written(record.version))
        })
        .boxed_local()
    }

    fn place(&self, _: u64) -> Option<String> {
        Some(self.path.display().to_string())
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, RuntimeError> + Send + 'static,
) -> Result<T, RuntimeError> {
    let done = spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(RuntimeError(format!("the state file: {error}"))))
}

fn read(path: &Path) -> Result<Option<FleetRecord>, RuntimeError> {
    let broken = |wrong: String| {
        RuntimeError(format!(
            "state file {} is no fleet record: {wrong}; mend it, or remove it to start anew by the flags",
            path.display()
        ))
    };
    match std::fs::metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Ok(found) if !found.is_file() => return Err(broken("it is not a file".to_owned())),
        Ok(found) if found.len() > MAX_SIZE => {
            return Err(broken(format!("it has {} bytes", found.len())));
        }
        _ => {}
    }
    match std::fs::read_to_string(path) {
        Ok(text) => FleetRecord::parse(&text).map(Some).map_err(broken),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) if error.kind() == ErrorKind::InvalidData => Err(broken(error.to_string())),
        Err(error) => Err(explain("cannot be read", path, &error)),
    }
}

/// Whenever the machine loses power, the file has either the old text or the new one.
fn replace(path: &Path, text: &str) -> std::io::Result<()> {
    let aside = beside(path, "new");
    let mut file = private_file().truncate(true).open(&aside)?;
    file.write_all(text.as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_all()?;
    std::fs::rename(&aside, path)?;
    // The rename itself is on the disk once the directory is.
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

/// Readable by the owner only: variables often hold secrets.
fn private_file() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).create(true).mode(0o600);
    options
}

fn beside(path: &Path, extension: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(extension);
    name.into()
}

fn explain(what: &str, path: &Path, error: &std::io::Error) -> RuntimeError {
    RuntimeError(format!("state file {} {what}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::fleet::RecordChange;
    use crate::fleet::testing::flags;

    fn record() -> FleetRecord {
        FleetRecord::rebuild(&flags("shop:1", 1), &[])
    }

    fn on_a_loop<F: Future<Output = ()>>(test: F) {
        actix::System::new().block_on(test);
    }

    #[test]
    fn a_record_is_replaced_as_a_whole_and_by_newer_ones_alone() {
        on_a_loop(async {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("fleet.json");
            let store = FileStore::open(path.clone()).await.unwrap();
            assert_eq!(store.load().await, Ok(None));
            let first = record();
            assert_eq!(store.write(first.clone()).await, Ok(Swap::Written(1)));
            assert_eq!(store.load().await, Ok(Some(first.clone())));
            assert_eq!(store.write(first.clone()).await, Ok(Swap::Lost));
            let gone = vec!["Server1".parse().unwrap()];
            let second = first.with(&[RecordChange::Remove(gone)]).unwrap();
            assert_eq!(store.write(second.clone()).await, Ok(Swap::Written(2)));
            assert_eq!(store.load().await, Ok(Some(second)));
            let mode = std::fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        });
    }

    #[test]
    fn a_file_that_cannot_be_used_is_named() {
        on_a_loop(async {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("fleet.json");
            let store = FileStore::open(path.clone()).await.unwrap();
            let shown = path.display();
            for text in ["", "{", "null", "{\"format\":99}", "\u{0}\u{0}"] {
                std::fs::write(&path, text).unwrap();
                let error = store.load().await.unwrap_err().0;
                let begin = format!("state file {shown} is no fleet record: ");
                assert!(error.starts_with(&begin), "{error}");
                assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
                // Nor is it overwritten.
                assert!(store.write(record()).await.is_err());
            }
            let twice = FileStore::open(path.clone()).await.unwrap_err().0;
            assert!(twice.contains("in use by another balancer"), "{twice}");
            let nowhere = folder.path().join("missing/fleet.json");
            let error = FileStore::open(nowhere).await.unwrap_err().0;
            assert!(error.contains("No such file or directory"), "{error}");
        });
    }
}
