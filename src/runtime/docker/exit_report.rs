//! How a container ended, and the end of its log.

use std::rc::Rc;

use bollard::query_parameters::LogsOptionsBuilder;
use futures::StreamExt;
use log::debug;

use super::DockerFleet;
use super::container_table::read_state;
use crate::runtime::{ExitReport, InstanceId, MAX_OUTPUT_LINES, last_lines};

impl DockerFleet {
    /// The report on an instance; what the engine does not answer is left out.
    pub(super) async fn exit_report(self: Rc<Self>, id: InstanceId) -> ExitReport {
        let listed = self.list_instance(&id).await;
        let Some(info) = listed.ok().and_then(|listed| listed.into_iter().next()) else {
            return ExitReport::default();
        };
        let exit = match self.engine.inspect(&info.container).await {
            Ok(found) => found.state.filter(|state| state.running == Some(false)),
            Err(_) => None,
        };
        ExitReport {
            exit: exit.map(read_state),
            lines: self.log_tail(&info.container).await,
        }
    }

    pub(super) async fn log_tail(&self, container: &str) -> Vec<String> {
        let options = LogsOptionsBuilder::default()
            .stdout(true)
            .stderr(true)
            .tail(&MAX_OUTPUT_LINES.to_string())
            .build();
        let mut chunks = self.engine.docker.logs(container, Some(options)).boxed();
        let mut text = Vec::new();
        while let Some(chunk) = chunks.next().await {
            match chunk {
                Ok(chunk) => text.extend_from_slice(chunk.as_ref()),
                Err(error) => {
                    debug!("docker: cannot read the log of {container}: {error}");
                    break;
                }
            }
        }
        last_lines(&String::from_utf8_lossy(&text))
    }
}
