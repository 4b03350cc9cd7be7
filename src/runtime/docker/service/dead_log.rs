//! The log of a container that is removed at once, in a file.

use std::env;
use std::fs;

use bollard::query_parameters::LogsOptionsBuilder;
use futures::StreamExt;
use log::{debug, info};

use super::super::DockerFleet;
use crate::runtime::InstanceId;

/// The most that is kept of a log, from its end.
const MAX_LOG: usize = 8 << 20;

impl DockerFleet {
    /// Saves a container's log in the directory for temporary files, as far as that is possible.
    pub(super) async fn save_log(&self, container: &str, id: &InstanceId) {
        let options = LogsOptionsBuilder::default().stdout(true).stderr(true);
        let options = options.tail("100000").build();
        let mut chunks = self.engine.docker.logs(container, Some(options)).boxed();
        let mut text = Vec::new();
        while let Some(Ok(chunk)) = chunks.next().await {
            text.extend_from_slice(chunk.as_ref());
            if text.len() > 2 * MAX_LOG {
                text.drain(..text.len() - MAX_LOG);
            }
        }
        text.drain(..text.len().saturating_sub(MAX_LOG));
        let folder = env::temp_dir().join("ringmaster");
        let name = format!(
            "{}-{}-dead-{}.log",
            self.prefix(),
            id.replica,
            id.generation
        );
        let path = folder.join(name);
        let shown = path.display().to_string();
        let written = tokio::task::spawn_blocking(move || {
            fs::create_dir_all(folder)?;
            fs::write(path, text)
        });
        match written.await {
            Ok(Ok(())) => info!("docker: the log of {id} is in {shown}"),
            Ok(Err(error)) => debug!("docker: cannot save the log of {id}: {error}"),
            Err(error) => debug!("docker: cannot save the log of {id}: {error}"),
        }
    }
}
