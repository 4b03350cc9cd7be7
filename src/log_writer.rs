//! The way of log lines to stderr, which may be a pipe that is not read.
//!
//! A thread that writes to a full pipe blocks until it is read. So lines go into a bounded
//! buffer, and a thread of its own writes them. What does not fit is dropped, counted, and told
//! once there is room again.

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};

use crate::config::LogFormat;

/// How many bytes wait to be written before lines are dropped.
const MAX_BUFFERED: usize = 1024 * 1024;

/// How many bytes are written at once: progress is seen from one such chunk to the next.
const CHUNK: usize = 16 * 1024;

/// How long the end of the process waits for a reader that takes nothing of the last lines.
const STALL_TIMEOUT: Duration = Duration::from_millis(300);

/// How long it waits for a slow one.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

/// Lines that were dropped, because they came faster than they could be written.
static DROPPED_LINES: AtomicU64 = AtomicU64::new(0);

/// How many lines have been dropped since the process began.
pub fn dropped_lines() -> u64 {
    DROPPED_LINES.load(Ordering::Relaxed)
}

/// Takes lines and never blocks on where they go.
#[derive(Clone)]
pub struct LogWriter(Arc<Shared>);

struct Shared {
    buffer: Mutex<Buffer>,
    /// Signalled when there is something to write, and when it has been written.
    changed: Condvar,
    capacity: usize,
    /// The format of lines that say that others are missing; none: no line says it.
    notes: Option<LogFormat>,
}

#[derive(Default)]
struct Buffer {
    bytes: Vec<u8>,
    /// Lines that did not fit behind these bytes.
    gap: u64,
    /// Lines that were not written, whatever the reason.
    dropped: u64,
    /// The thread is to look at its output.
    is_nudged: bool,
    /// The thread has taken bytes that are not written yet.
    is_writing: bool,
    /// How many chunks have been written.
    chunks: u64,
}

impl LogWriter {
    /// A writer of lines to `output`, for which this many bytes may wait. Lines of its own, with
    /// the format of `notes`, say where others are missing. `output` is flushed between batches of
    /// whole lines.
    ///
    /// # Errors
    ///
    /// The kernel's, if the thread cannot be started.
    pub fn start(
        output: impl Write + Send + 'static,
        capacity: usize,
        notes: Option<LogFormat>,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            buffer: Mutex::default(),
            changed: Condvar::new(),
            capacity,
            notes,
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
    pub fn to_stderr(format: LogFormat) -> io::Result<Self> {
        // A descriptor of its own: the lock of `io::Stderr` would be held for as long as a write
        // takes.
        let stderr = File::from(io::stderr().as_fd().try_clone_to_owned()?);
        Self::start(Blocking(stderr), MAX_BUFFERED, Some(format))
    }

    /// Writes the last line of a program that fails, which no filter keeps back.
    pub fn error(&self, message: &str) {
        let format = self.0.notes.unwrap_or_default();
        self.lines(format.error_line(message).as_bytes(), 1);
    }

    /// Writes whole lines, or counts all of them as dropped.
    pub fn lines(&self, lines: &[u8], count: u64) {
        self.0.push(lines, count);
    }

    /// Has the output flushed, though there may be nothing to write.
    pub fn nudge(&self) {
        self.0.lock().is_nudged = true;
        self.0.changed.notify_all();
    }

    /// How many lines were not written.
    pub fn dropped(&self) -> u64 {
        self.0.lock().dropped
    }

    /// Waits until everything is written, but not for a reader that is stuck.
    pub fn flush_for_exit(&self) {
        let deadline = Instant::now() + FLUSH_TIMEOUT;
        let mut buffer = self.0.lock();
        let (mut chunks, mut moved) = (buffer.chunks, Instant::now());
        while buffer.is_writing || !buffer.is_empty() {
            if buffer.chunks != chunks {
                (chunks, moved) = (buffer.chunks, Instant::now());
            }
            let due = deadline.min(moved + STALL_TIMEOUT);
            let left = due.saturating_duration_since(Instant::now());
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
        self.0.push(record, 1);
        Ok(record.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Buffer {
    fn is_empty(&self) -> bool {
        self.bytes.is_empty() && self.gap == 0 && !self.is_nudged
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Buffer> {
        self.buffer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, lines: &[u8], count: u64) {
        let mut buffer = self.lock();
        // Behind a gap nothing follows before the gap has been told.
        if buffer.gap > 0 || buffer.bytes.len() + lines.len() > self.capacity {
            buffer.gap += count;
            buffer.dropped += count;
            if self.notes.is_some() {
                DROPPED_LINES.fetch_add(count, Ordering::Relaxed);
            }
        } else {
            buffer.bytes.extend_from_slice(lines);
        }
        self.changed.notify_all();
    }

    fn write_all_to(&self, mut output: impl Write) {
        let mut bytes = Vec::new();
        // Lines that could not be written; told when others can.
        let mut lost = 0;
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
            let dropped = std::mem::take(&mut buffer.gap);
            buffer.is_nudged = false;
            buffer.is_writing = true;
            drop(buffer);
            // A file may be opened anew.
            let _ = output.flush();
            let end = bytes.len();
            if let Some(format) = self.notes {
                let told = lost == 0 || {
                    let line = format.dropped_line(lost);
                    output.write_all(line.as_bytes()).is_ok()
                };
                if told {
                    lost = 0;
                }
                if dropped > 0 {
                    bytes.extend_from_slice(format.dropped_line(dropped).as_bytes());
                }
            }
            let written = self.write(&mut output, &bytes);
            if written < bytes.len() {
                // The disk is full, or the reader has gone; another may come for a named pipe.
                let unwritten = lines_in(&bytes[written.min(end)..end]);
                lost += unwritten + dropped;
                self.lock().dropped += unwritten;
            }
        }
    }

    /// Writes chunk by chunk until one fails; how many bytes were written.
    fn write(&self, output: &mut impl Write, bytes: &[u8]) -> usize {
        let mut written = 0;
        for chunk in bytes.chunks(CHUNK) {
            if output.write_all(chunk).is_err() {
                return written;
            }
            written += chunk.len();
            self.lock().chunks += 1;
            self.changed.notify_all();
        }
        written
    }
}

fn lines_in(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|byte| **byte == b'\n').count() as u64
}

/// A file that is waited for, even where another program that shares it (a terminal, say) has
/// made it non-blocking.
pub struct Blocking(pub File);

impl Write for Blocking {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match self.0.write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    poll(&mut [PollFd::new(&self.0, PollFlags::OUT)], None)?;
                }
                result => return result,
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Whether stderr is a terminal that wants colours.
pub fn stderr_has_colours() -> bool {
    io::stderr().is_terminal()
        && anstream::AutoStream::choice(&io::stderr()) != anstream::ColorChoice::Never
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    fn push_line(writer: &LogWriter, text: &str) {
        writer.lines(format!("{text}\n").as_bytes(), 1);
    }

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
        let writer = LogWriter::start(
            Stuck {
                go_on: waits,
                stuck: true,
                written: Arc::clone(&written),
            },
            MAX_BUFFERED,
            Some(LogFormat::Human),
        )
        .unwrap();
        push_line(&writer, "first");
        // Until the thread has taken it and is stuck.
        while !writer.0.lock().is_writing {
            std::thread::yield_now();
        }
        let line = "x".repeat(1023);
        let fits = MAX_BUFFERED / 1024;
        for _ in 0..fits + 1204 {
            push_line(&writer, &line);
        }
        // It does not wait for ever.
        writer.flush_for_exit();
        go_on.send(()).unwrap();
        while writer.0.lock().is_writing || !writer.0.lock().is_empty() {
            std::thread::yield_now();
        }
        push_line(&writer, "last");
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

    #[test]
    fn non_blocking_pipe_loses_nothing_and_a_slow_reader_is_waited_for() {
        use std::io::Read;
        let (mut reader, pipe) = io::pipe().unwrap();
        rustix::io::ioctl_fionbio(&pipe, true).unwrap();
        let writer = LogWriter::start(
            Blocking(File::from(std::os::fd::OwnedFd::from(pipe))),
            MAX_BUFFERED,
            Some(LogFormat::Human),
        );
        let writer = writer.unwrap();
        let line = "x".repeat(1023);
        let lines = MAX_BUFFERED / 2 / 1024;
        for _ in 0..lines {
            push_line(&writer, &line);
        }
        let read = std::thread::spawn(move || {
            let mut text = vec![0; lines * 1024];
            reader.read_exact(&mut text).map(|()| text)
        });
        writer.flush_for_exit();
        let text = read.join().unwrap().unwrap();
        assert_eq!(lines_in(&text), lines as u64);
    }

    #[test]
    fn lines_that_cannot_be_written_are_counted_until_others_can() {
        /// A disk that is full for the first writes.
        struct Full(u32, Arc<Mutex<Vec<u8>>>);
        impl Write for Full {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                if self.0 > 0 {
                    self.0 -= 1;
                    return Err(io::ErrorKind::StorageFull.into());
                }
                self.1.lock().unwrap().extend_from_slice(bytes);
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let written = Arc::<Mutex<Vec<u8>>>::default();
        let writer = LogWriter::start(
            Full(1, Arc::clone(&written)),
            MAX_BUFFERED,
            Some(LogFormat::Human),
        )
        .unwrap();
        push_line(&writer, "lost");
        writer.flush_for_exit();
        push_line(&writer, "kept");
        writer.flush_for_exit();
        let text = String::from_utf8(written.lock().unwrap().clone()).unwrap();
        assert!(
            text.contains("1 line dropped") && text.ends_with("kept\n"),
            "{text}"
        );
    }
}
