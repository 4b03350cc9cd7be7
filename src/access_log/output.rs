//! Where the lines go: stdout, or a file that can be opened anew.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use log::{error, info};

use super::worker_buffer::AccessLog;
use crate::config::{AccessLogFormat, AccessLogTarget};
use crate::log_writer::{Blocking, LogWriter};

/// How many bytes wait to be written before lines are dropped: at 50,000 requests a second, what
/// comes in a third of a second.
const MAX_BUFFERED: usize = 8 * 1024 * 1024;

/// The thread that writes, as the worker threads and the operator's signals reach it.
#[derive(Clone)]
pub struct AccessLogWriter {
    writer: LogWriter,
    format: AccessLogFormat,
    reopen: Arc<AtomicBool>,
}

impl AccessLogWriter {
    /// Opens stdout or the file, and starts the thread.
    ///
    /// # Errors
    ///
    /// The kernel's, if the file cannot be opened or the thread cannot be started.
    pub fn open(target: &AccessLogTarget, format: AccessLogFormat) -> io::Result<Self> {
        let reopen = Arc::<AtomicBool>::default();
        let writer = match target {
            AccessLogTarget::Stdout => {
                let stdout = File::from(io::stdout().as_fd().try_clone_to_owned()?);
                LogWriter::start(Blocking(stdout), MAX_BUFFERED, None)?
            }
            AccessLogTarget::File(path) => {
                let file = ReopenedFile {
                    file: Blocking(open(path)?),
                    path: path.clone(),
                    reopen: Arc::clone(&reopen),
                };
                LogWriter::start(file, MAX_BUFFERED, None)?
            }
        };
        Ok(Self {
            writer,
            format,
            reopen,
        })
    }

    /// The access log of the calling worker thread.
    pub fn worker(&self) -> Rc<AccessLog> {
        AccessLog::start(self.writer.clone(), self.format)
    }

    /// Opens the file anew, because it has been renamed.
    pub fn reopen(&self) {
        self.reopen.store(true, Ordering::Relaxed);
        self.writer.nudge();
    }

    /// How many lines have been dropped.
    pub fn dropped(&self) -> u64 {
        self.writer.dropped()
    }

    /// Waits until everything is written, but not for a reader that is stuck.
    pub fn flush_for_exit(&self) {
        self.writer.flush_for_exit();
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).open(path)
}

/// A file that is opened anew between two batches of whole lines.
struct ReopenedFile {
    file: Blocking,
    path: PathBuf,
    reopen: Arc<AtomicBool>,
}

impl Write for ReopenedFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    /// The writer's thread calls it between two batches.
    fn flush(&mut self) -> io::Result<()> {
        if !self.reopen.swap(false, Ordering::Relaxed) {
            return Ok(());
        }
        let path = self.path.display();
        match open(&self.path) {
            Ok(file) => {
                self.file = Blocking(file);
                info!("the access log {path} is opened anew");
            }
            Err(error) => {
                error!("cannot open the access log {path}: {error}; the old file goes on")
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_is_opened_anew_after_a_rename() {
        let folder = tempfile::tempdir().unwrap();
        let (path, old) = (folder.path().join("access"), folder.path().join("access.1"));
        let target = AccessLogTarget::File(path.clone());
        let writer = AccessLogWriter::open(&target, AccessLogFormat::Json).unwrap();
        writer.writer.lines(b"first\n", 1);
        writer.flush_for_exit();
        std::fs::rename(&path, &old).unwrap();
        writer.writer.lines(b"second\n", 1);
        writer.flush_for_exit();
        writer.reopen();
        // Without a line to be written, too.
        while !path.exists() {
            std::thread::yield_now();
        }
        writer.writer.lines(b"third\n", 1);
        writer.flush_for_exit();
        assert_eq!(std::fs::read(old).unwrap(), b"first\nsecond\n");
        assert_eq!(std::fs::read(path).unwrap(), b"third\n");
        assert_eq!(writer.dropped(), 0);
    }

    #[test]
    fn file_that_cannot_be_opened_is_an_error_at_the_start() {
        let folder = tempfile::tempdir().unwrap();
        let target = AccessLogTarget::File(folder.path().join("no/such/folder"));
        assert!(AccessLogWriter::open(&target, AccessLogFormat::Json).is_err());
    }
}
