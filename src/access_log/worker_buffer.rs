//! The access log of one worker thread: a buffer that is handed over whole.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::Notify;

use super::record::AccessLine;
use super::time_text::TimeText;
use crate::config::AccessLogFormat;
use crate::log_writer::LogWriter;

/// How many bytes are handed over at once.
const BATCH: usize = 32 * 1024;

/// How long a line waits for others at the most.
const FLUSH_INTERVAL: Duration = Duration::from_millis(200);

/// Takes the lines of one thread.
pub struct AccessLog {
    writer: LogWriter,
    format: AccessLogFormat,
    batch: RefCell<Batch>,
    /// The task that hands over a batch that is not full waits for its time.
    is_scheduled: Cell<bool>,
    scheduled: Rc<Notify>,
}

#[derive(Default)]
struct Batch {
    bytes: Vec<u8>,
    lines: u64,
    time: TimeText,
}

impl AccessLog {
    /// The log of the calling thread, which must have an actix system.
    pub(super) fn start(writer: LogWriter, format: AccessLogFormat) -> Rc<Self> {
        let scheduled = Rc::<Notify>::default();
        let log = Rc::new(Self {
            writer,
            format,
            batch: RefCell::default(),
            is_scheduled: Cell::new(false),
            scheduled: Rc::clone(&scheduled),
        });
        let flushed = Rc::downgrade(&log);
        actix::spawn(async move {
            loop {
                scheduled.notified().await;
                tokio::time::sleep(FLUSH_INTERVAL).await;
                let Some(log) = flushed.upgrade() else {
                    return;
                };
                log.is_scheduled.set(false);
                log.flush();
            }
        });
        log
    }

    /// Adds a line, which is written soon, or counted as dropped.
    pub fn write(&self, line: &AccessLine<'_>) {
        let mut batch = self.batch.borrow_mut();
        let Batch { bytes, time, .. } = &mut *batch;
        line.write(self.format, time, bytes);
        batch.lines += 1;
        if batch.bytes.len() >= BATCH {
            batch.hand_over(&self.writer);
        } else if !self.is_scheduled.replace(true) {
            self.scheduled.notify_one();
        }
    }

    fn flush(&self) {
        self.batch.borrow_mut().hand_over(&self.writer);
    }
}

impl Batch {
    fn hand_over(&mut self, writer: &LogWriter) {
        if self.lines > 0 {
            writer.lines(&self.bytes, std::mem::take(&mut self.lines));
            self.bytes.clear();
        }
    }
}

impl Drop for AccessLog {
    fn drop(&mut self) {
        self.flush();
        // The task finds nothing to flush, and ends.
        self.scheduled.notify_one();
    }
}
