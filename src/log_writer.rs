//! The way of log lines to stderr, which may be a pipe that is not read.
//!
//! A thread that writes to a full pipe blocks until it is read. So lines go into a bounded
//! buffer, and a thread of its own writes them. What does not fit is dropped, counted, and told
//! once there is room again.

use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use crate::human::thousands;

/// How many bytes wait to be written before lines are dropped.
const MAX_BUFFERED: usize = 1024 * 1024;

/// How long the end of the process waits for the last lines.
const FLUSH_TIMEOUT: Duration = Duration::from_millis(300);

/// Takes lines and never blocks on where they go.
#[derive(Clone)]
pub struct LogWriter(Arc<Shared>);

struct Shared {
    buffer: Mutex<Buffer>,
    /// Signalled when there is something to write, and when it has been written.
    changed: Condvar,
}

#[derive(Default)]
struct Buffer {
    bytes: Vec<u8>,
    /// Lines that did not fit behind these bytes.
    dropped: u64,
    /// The thread has taken bytes that are not written yet.
    is_writing: bool,
}

impl LogWriter {
    /// A writer whose lines go to `output`.
    ///
    /// # Errors
    ///
    /// The kernel's, if the thread cannot be started.
    pub fn start(output: impl Write + Send + 'static) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            buffer: Mutex::default(),
            changed: Condvar::new(),
        });
        let own = Arc::clone(&shared);
        std::thread::Builder::new()
            .name("log writer".to_owned())
            .spawn(move || own.write_all_to(output))?;
        Ok(Self(shared))
    }

    /// A writer whose lines go to stderr.
    ///
    /// # Errors
    ///
    /// The kernel's, if the thread cannot be started.
    pub fn to_stderr() -> io::Result<Self> {
        Self::start(io::stderr())
    }

    /// Writes a line, or counts it as dropped.
    pub fn line(&self, text: &str) {
        self.0.push(format!("{text}\n").as_bytes());
    }

    /// Waits until everything is written, but not for long: the reader may be stuck.
    pub fn flush_for_exit(&self) {
        let deadline = Instant::now() + FLUSH_TIMEOUT;
        let mut buffer = self.0.lock();
        while buffer.is_writing || !buffer.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            let waited = self.0.changed.wait_timeout(buffer, left);
            buffer = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// What a log library writes to: one call of `write` is one record.
impl Write for LogWriter {
    fn write(&mut self, record: &[u8]) -> io::Result<usize> {
        self.0.push(record);
        Ok(record.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Buffer {
    fn is_empty(&self) -> bool {
        self.bytes.is_empty() && self.dropped == 0
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Buffer> {
        self.buffer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, record: &[u8]) {
        let mut buffer = self.lock();
        // Behind a gap nothing follows before the gap has been told.
        if buffer.dropped > 0 || buffer.bytes.len() + record.len() > MAX_BUFFERED {
            buffer.dropped += 1;
        } else {
            buffer.bytes.extend_from_slice(record);
        }
        self.changed.notify_all();
    }

    fn write_all_to(&self, mut output: impl Write) {
        let mut bytes = Vec::new();
        loop {
            let mut buffer = self.lock();
            buffer.is_writing = false;
            self.changed.notify_all();
            while buffer.is_empty() {
                let waited = self.changed.wait(buffer);
                buffer = waited.unwrap_or_else(PoisonError::into_inner);
            }
            bytes.clear();
            std::mem::swap(&mut bytes, &mut buffer.bytes);
            let dropped = std::mem::take(&mut buffer.dropped);
            buffer.is_writing = true;
            drop(buffer);
            if dropped > 0 {
                bytes.extend_from_slice(dropped_line(dropped, SystemTime::now()).as_bytes());
            }
            // If stderr is closed the lines are lost, and there is nowhere to say so.
            let _ = output.write_all(&bytes).and_then(|()| output.flush());
        }
    }
}

/// Whether stderr is a terminal that wants colours.
pub fn stderr_has_colours() -> bool {
    io::stderr().is_terminal()
        && anstream::AutoStream::choice(&io::stderr()) != anstream::ColorChoice::Never
}

fn dropped_line(count: u64, now: SystemTime) -> String {
    let at = humantime::format_rfc3339_seconds(now);
    let lines = if count == 1 { "line" } else { "lines" };
    format!(
        "[{at} WARN ] {} {lines} dropped: the log was not read fast enough\n",
        thousands(count)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    /// An output that takes nothing until it is told to.
    struct Stuck {
        go_on: mpsc::Receiver<()>,
        stuck: bool,
        written: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Stuck {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.stuck {
                self.go_on.recv().unwrap();
                self.stuck = false;
            }
            self.written.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn stuck_output_drops_lines_and_tells_how_many() {
        let (go_on, waits) = mpsc::channel();
        let written = Arc::<Mutex<Vec<u8>>>::default();
        let writer = LogWriter::start(Stuck {
            go_on: waits,
            stuck: true,
            written: Arc::clone(&written),
        })
        .unwrap();
        writer.line("first");
        // Until the thread has taken it and is stuck.
        while !writer.0.lock().is_writing {
            std::thread::yield_now();
        }
        let line = "x".repeat(1023);
        let fits = MAX_BUFFERED / 1024;
        for _ in 0..fits + 1204 {
            writer.line(&line);
        }
        // It does not wait for ever.
        writer.flush_for_exit();
        go_on.send(()).unwrap();
        while writer.0.lock().is_writing || !writer.0.lock().is_empty() {
            std::thread::yield_now();
        }
        writer.line("last");
        writer.flush_for_exit();
        let text = String::from_utf8(written.lock().unwrap().clone()).unwrap();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 1 + fits + 1 + 1);
        assert_eq!(lines[0], "first");
        assert!(
            lines[fits + 1].contains("WARN ] 1,204 lines dropped"),
            "{}",
            lines[fits + 1]
        );
        assert_eq!(lines[fits + 2], "last");
    }
}
