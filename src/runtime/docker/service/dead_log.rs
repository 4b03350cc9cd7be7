//! The log of a container that is removed at once, in a file. The last ones of a fleet are kept.

use std::env;
use std::fs;
use std::io;
use std::path::Path;

use bollard::query_parameters::LogsOptionsBuilder;
use futures::StreamExt;
use log::{debug, info};

use super::super::DockerFleet;
use crate::runtime::InstanceId;

/// The most that is kept of a log, from its end.
const MAX_LOG: usize = 8 << 20;

/// How many logs of a fleet are kept.
const MAX_FILES: usize = 20;

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
        let fleet = format!("{}-", self.settings.fleet);
        let name = format!(
            "{}-{}-dead-{}.log",
            self.prefix(),
            id.replica,
            id.generation
        );
        let path = folder.join(name);
        let shown = path.display().to_string();
        let written = tokio::task::spawn_blocking(move || {
            fs::create_dir_all(&folder)?;
            fs::write(path, text)?;
            remove_oldest(&folder, &fleet, MAX_FILES)
        });
        match written.await {
            Ok(Ok(())) => info!("docker: the log of {id} is in {shown}"),
            Ok(Err(error)) => debug!("docker: cannot save the log of {id}: {error}"),
            Err(error) => debug!("docker: cannot save the log of {id}: {error}"),
        }
    }
}

/// Removes the oldest logs of a fleet until this number is left.
fn remove_oldest(folder: &Path, fleet: &str, left: usize) -> io::Result<()> {
    let mut logs = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        // `shop-web-` and the number of a replica: `shop-web-admin` is another fleet.
        let rest = name
            .strip_prefix(fleet)
            .and_then(|rest| rest.strip_suffix(".log"));
        let number = rest.and_then(|rest| rest.split_once("-dead-"));
        if number.is_some_and(|(number, _)| number.bytes().all(|byte| byte.is_ascii_digit())) {
            logs.push((entry.metadata()?.modified()?, entry.path()));
        }
    }
    logs.sort();
    let too_many = logs.len().saturating_sub(left);
    logs.iter()
        .take(too_many)
        .try_for_each(|(_, path)| fs::remove_file(path))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;

    #[test]
    fn the_last_logs_of_a_fleet_are_kept_and_those_of_others() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: String, age: u64| {
            let file = fs::File::create(folder.path().join(name)).unwrap();
            let at = SystemTime::now() - Duration::from_secs(age);
            file.set_modified(at).unwrap();
        };
        for number in 1..=5 {
            write(format!("shop-web-1-dead-{number}.log"), 100 - number);
        }
        write("shop-web-admin-1-dead-1.log".to_owned(), 1000);
        write("notes.txt".to_owned(), 1000);
        remove_oldest(folder.path(), "shop-web-", 2).unwrap();
        let names = fs::read_dir(folder.path()).unwrap();
        let mut names: Vec<_> = names
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        let kept = [
            "shop-web-1-dead-4.log",
            "shop-web-1-dead-5.log",
            "shop-web-admin-1-dead-1.log",
        ];
        assert_eq!(names, [&["notes.txt"][..], &kept].concat());
    }
}
