//! Opens the access log, and opens it anew when the operator's SIGUSR1 says so.

use log::warn;
use tokio::signal::unix::{SignalKind, signal};

use super::AppError;
use crate::access_log::AccessLogWriter;
use crate::config::{AccessLogTarget, LogOptions};

/// The access log, if there is to be one.
pub(super) fn open(options: &LogOptions) -> Result<Option<AccessLogWriter>, AppError> {
    let Some(target) = &options.access_log else {
        return Ok(None);
    };
    let name = match target {
        AccessLogTarget::Stdout => "stdout".to_owned(),
        AccessLogTarget::File(path) => path.display().to_string(),
    };
    let log = AccessLogWriter::open(target, options.access_log_format);
    let log = log.map_err(|error| AppError::AccessLog(name, error))?;
    if let AccessLogTarget::File(_) = target {
        reopen_at_signals(log.clone());
    }
    Ok(Some(log))
}

fn reopen_at_signals(log: AccessLogWriter) {
    let mut signals = match signal(SignalKind::user_defined1()) {
        Ok(signals) => signals,
        Err(error) => {
            warn!("the access log cannot be opened anew: {error}");
            return;
        }
    };
    actix::spawn(async move {
        while signals.recv().await.is_some() {
            log.reopen();
        }
    });
}
