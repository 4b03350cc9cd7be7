//! Other ways to bring a new version out: `docker compose up`, and a script.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::{REPLICAS, seconds, wait_until};

/// An image of the balancer's own program, which is a demo server, too; removed at the end.
pub struct Image {
    pub name: String,
}

impl Image {
    /// Of a program and the libraries that it needs.
    pub fn of(program: &Path) -> Result<Self, String> {
        let name = format!("ringmaster-bench-{}", std::process::id());
        let path = program.canonicalize().map_err(|e| e.to_string())?;
        let path = path.display().to_string();
        // Files of the program, a shell and `sleep`, at their own paths; the program at the root.
        let script = "set -e
            files=$(for program in \"$1\" /bin/sh /bin/sleep; do echo $program
              ldd $program | tr ' \\t' '\\n\\n' | grep '^/'; done | sort -u)
            tar --create --dereference --absolute-names --transform \"s,^$1$,/ringmaster,\" \
              --transform s,^/,, $files |
            docker import --change 'ENV PATH=/bin' \
              --change 'CMD [\"/ringmaster\", \"replica\", \"--listen\", \"0.0.0.0:8080\"]' \
              --change 'EXPOSE 8080' - \"$2\"";
        let made = Command::new("sh")
            .args(["-c", script, "-", &path, &name])
            .stdout(Stdio::null())
            .status();
        match made.is_ok_and(|status| status.success()) {
            true => Ok(Self { name }),
            false => Err("cannot make an image of the program".to_owned()),
        }
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        let _ = docker(&["rmi", "--force", &self.name]);
    }
}

fn docker(arguments: &[&str]) -> Result<String, String> {
    let output = Command::new("docker").args(arguments).output();
    let output = output.map_err(|e| format!("docker: {e}"))?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned()),
        false => Err(format!(
            "docker {}: {}",
            arguments.join(" "),
            String::from_utf8_lossy(&output.stderr).trim()
        )),
    }
}

/// A compose file that has changed, and `docker compose up`: how long that takes, and for how long no
/// container runs.
pub fn compose(image: &Image) -> Result<(), String> {
    let project = image.name.as_str();
    let compose = |colour: &str, arguments: &[&str]| -> Result<(), String> {
        let file = format!(
            "services:\n  web:\n    image: {project}\n    environment: {{COLOUR: {colour}}}\n    \
             deploy: {{replicas: {REPLICAS}}}\n"
        );
        let mut child = Command::new("docker")
            .args(["compose", "--project-name", project, "--file", "-"])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|e| e.to_string())?;
        let mut input = child.stdin.take().ok_or("compose takes no input")?;
        input
            .write_all(file.as_bytes())
            .map_err(|e| e.to_string())?;
        drop(input);
        match child.wait().is_ok_and(|status| status.success()) {
            true => Ok(()),
            false => Err(format!("docker compose {arguments:?} has failed")),
        }
    };
    compose("red", &["up", "--detach"])?;
    let since = now();
    let begun = Instant::now();
    let changed = compose("blue", &["up", "--detach"]);
    let took = begun.elapsed();
    let label = format!("label=com.docker.compose.project={project}");
    let listed = docker(&[
        "events",
        "--since",
        &since,
        "--until",
        &now(),
        "--filter",
        &label,
        "--filter",
        "event=die",
        "--filter",
        "event=start",
        "--format",
        "{{.TimeNano}} {{.Action}}",
    ]);
    let removed = compose("blue", &["down", "--timeout", "1"]);
    changed.and(removed)?;
    let gap = gap(&listed?);
    println!(
        "| docker compose up, by itself | {} | {} | no container runs for {} | | |",
        seconds(took),
        seconds(took / REPLICAS),
        seconds(gap)
    );
    Ok(())
}

/// For how long nothing ran, by the events of all containers, which began with all of them running.
fn gap(events: &str) -> Duration {
    let (mut running, mut none_since, mut gap) = (REPLICAS, None, 0);
    for line in events.lines() {
        let Some((time, action)) = line.split_once(' ') else {
            continue;
        };
        let time: u64 = time.parse().unwrap_or_default();
        match action {
            "die" => running = running.saturating_sub(1),
            _ => running += 1,
        }
        match (running, none_since) {
            (0, None) => none_since = Some(time),
            (1.., Some(since)) => {
                gap += time.saturating_sub(since);
                none_since = None;
            }
            _ => {}
        }
    }
    Duration::from_nanos(gap)
}

fn now() -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    format!("{:.9}", now.unwrap_or_default().as_secs_f64())
}

/// A script that replaces one container after the other, without telling any balancer.
pub fn script(image: &Image) -> Result<(), String> {
    let name = |number: u32, version: &str| format!("{}-{version}-{number}", image.name);
    let start = |number, version: &str| -> Result<(), String> {
        let name = name(number, version);
        docker(&["run", "--detach", "--name", &name, &image.name])?;
        let address = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
        let address = docker(&["inspect", "--format", address, &name])?;
        let url = format!("http://{address}:8080/heartbeat");
        wait_until("the container answers", || {
            let asked = Command::new("curl")
                .args(["--silent", "--fail", "--max-time", "1", &url])
                .stdout(Stdio::null())
                .status();
            asked
                .map(|status| status.success())
                .map_err(|e| e.to_string())
        })
    };
    let all = || -> Result<Duration, String> {
        for number in 1..=REPLICAS {
            start(number, "old")?;
        }
        let begun = Instant::now();
        for number in 1..=REPLICAS {
            start(number, "new")?;
            docker(&["stop", &name(number, "old")])?;
        }
        Ok(begun.elapsed())
    };
    let took = all();
    for number in 1..=REPLICAS {
        for version in ["old", "new"] {
            let _ = docker(&["rm", "--force", &name(number, version)]);
        }
    }
    let took = took?;
    println!(
        "| docker run, wait, docker stop, by a script | {} | {} | it tells no balancer | | |",
        seconds(took),
        seconds(took / REPLICAS)
    );
    Ok(())
}
