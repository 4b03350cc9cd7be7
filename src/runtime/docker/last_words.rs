//! What a container leaves behind: how it ended, and the last of what it printed.

use std::rc::Rc;

use bollard::query_parameters::LogsOptionsBuilder;
use futures::StreamExt;
use log::debug;

use crate::runtime::docker::Inner;
use crate::runtime::docker::book::read_exit;
use crate::runtime::{InstanceId, LAST_LINES, LastWords};

/// What a line is cut to.
const LONGEST_LINE: usize = 500;

impl Inner {
    /// Nothing that the engine does not tell is worth failing for.
    pub(super) async fn last_words(self: Rc<Self>, id: InstanceId) -> LastWords {
        let listed = self.list_instance(&id).await;
        let Some(record) = listed.ok().and_then(|listed| listed.into_iter().next()) else {
            return LastWords::default();
        };
        let exit = match self.engine.inspect(&record.container).await {
            Ok(found) => found
                .state
                .filter(|state| state.running == Some(false))
                .map(|state| read_exit(state.exit_code, state.oom_killed == Some(true))),
            Err(_) => None,
        };
        let lines = self.last_lines(&record.container).await;
        LastWords { exit, lines }
    }

    pub(super) async fn last_lines(&self, container: &str) -> Vec<String> {
        let options = LogsOptionsBuilder::default()
            .stdout(true)
            .stderr(true)
            .tail(&LAST_LINES.to_string())
            .build();
        let mut pieces = self.engine.docker.logs(container, Some(options)).boxed();
        let mut text = Vec::new();
        loop {
            match pieces.next().await {
                Some(Ok(piece)) => text.extend_from_slice(piece.as_ref()),
                Some(Err(error)) => {
                    debug!("docker: no last lines of {container}: {error}");
                    break;
                }
                None => break,
            }
        }
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<String> = text.lines().map(readable).collect();
        lines[lines.len().saturating_sub(LAST_LINES)..].to_vec()
    }
}

/// Cut to size, without anything that could play tricks on a terminal.
fn readable(line: &str) -> String {
    let clean = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    line.trim_end()
        .chars()
        .take(LONGEST_LINE)
        .map(clean)
        .collect()
}
