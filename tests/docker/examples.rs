//! The compose projects of `examples/`: the commands of their READMEs, one after the other.

use std::path::Path;
use std::process::Command;

use crate::compose_project::Project;
use crate::docker::{import_executable, quietly, sweep, test_image};

/// A command of a README, and what it printed.
struct Ran {
    command: String,
    printed: String,
}

/// The commands of a README: lines that begin with `$`.
fn commands(readme: &str) -> impl Iterator<Item = &str> {
    readme
        .lines()
        .filter_map(|line| line.strip_prefix("    $ "))
}

/// Runs the commands of an example, and sees to it that its `down` leaves no container. None where there
/// is no compose v2.
fn run(example: &str, variables: &[(&str, &str)]) -> Option<Vec<Ran>> {
    let _place = Project::new("probe")?;
    let image = format!("ringmaster-test-{example}-{}", std::process::id());
    let program = Path::new(env!("CARGO_BIN_EXE_ringmaster"));
    import_executable(&image, program, &["/ringmaster"], None);
    let name = format!("rmtest-{}-{example}", std::process::id());
    let folder = format!("{}/examples/{example}", env!("CARGO_MANIFEST_DIR"));
    let port = crate::support::free_port().to_string();
    let readme = std::fs::read_to_string(format!("{folder}/README.md")).unwrap();
    let (mut ran, mut failed) = (Vec::new(), None);
    for command in commands(&readme) {
        let output = Command::new("sh")
            .args(["-c", command])
            .current_dir(&folder)
            .env("COMPOSE_PROJECT_NAME", &name)
            .env("PORT", &port)
            .env("RINGMASTER_IMAGE", &image)
            .envs(variables.iter().copied())
            .output()
            .unwrap();
        let printed = [output.stdout, output.stderr].concat();
        let printed = String::from_utf8_lossy(&printed).into_owned();
        if !output.status.success() {
            let logs = quietly(&["logs", &format!("{name}-ringmaster-1")]);
            failed = Some(format!("{command}: {printed}\n{logs}"));
            break;
        }
        let command = command.to_owned();
        ran.push(Ran { command, printed });
    }
    let label = format!("label=com.docker.compose.project={name}");
    let left = quietly(&["ps", "--all", "--quiet", "--filter", &label]);
    sweep(&label);
    quietly(&["network", "rm", &format!("{name}_default")]);
    let volumes = quietly(&["volume", "ls", "--quiet", "--filter", &label]);
    let volumes: Vec<_> = volumes.split_whitespace().collect();
    if !volumes.is_empty() {
        quietly(&[&["volume", "rm"], &volumes[..]].concat());
    }
    quietly(&["rmi", &image]);
    for built in ["web", "database"] {
        quietly(&["rmi", &format!("{name}-{built}")]);
    }
    assert_eq!(failed, None);
    assert_eq!(left, "", "down leaves nothing");
    Some(ran)
}

/// What the commands with this text printed.
fn printed<'r>(ran: &'r [Ran], text: &str) -> impl Iterator<Item = &'r str> {
    let of = ran.iter().filter(move |ran| ran.command.contains(text));
    of.map(|ran| ran.printed.as_str())
}

#[test]
#[ignore = "needs docker compose: make test-full"]
fn the_commands_of_the_example_compose_service_work() {
    let Some(ran) = run("compose-service", &[("WEB_IMAGE", test_image())]) else {
        return;
    };
    assert_eq!(printed(&ran, "/home").count(), 2);
    for said in printed(&ran, "/home") {
        assert!(said.contains("Hello from Server"), "{said}");
    }
}

#[test]
#[ignore = "needs docker compose: make test-full"]
fn the_commands_of_the_example_shop_work() {
    let Some(ran) = run("shop", &[]) else {
        return;
    };
    let loads: Vec<_> = printed(&ran, "./under-load").collect();
    assert_eq!(loads.len(), 4);
    for said in loads {
        assert!(said.contains(" requests, 0 failed"), "{said}");
    }
    // After the rollout compose has nothing to do.
    for said in printed(&ran, "VERSION=2 docker compose up") {
        assert!(
            !said.contains("Recreate") && said.contains("Running"),
            "{said}"
        );
    }
    for said in printed(&ran, "rollout status") {
        assert!(said.contains("rolled back"), "{said}");
    }
    let last = printed(&ran, "/orders").last().unwrap();
    let order: u32 = last
        .strip_prefix("order ")
        .and_then(|rest| rest.split(',').next()?.parse().ok())
        .unwrap();
    assert!(order >= 2 && last.contains("version 2"), "{last}");
    let receipts = printed(&ran, "/receipts").next().unwrap();
    assert!(receipts.lines().count() >= 2, "{receipts}");
}
