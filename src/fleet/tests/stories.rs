//! Plays the stories in `src/fleet/scenarios/`: adding one is adding a file.
//!
//! `UPDATE_GOLDEN=1 cargo test` writes down what the fleet does instead of complaining
//! about it. Read the difference before it is committed.

use std::fs;
use std::path::Path;

use super::script::{Line, Player};

/// Something that happens in a story, or a comment, with what is written behind it.
struct Passage {
    line: usize,
    written: String,
    told: String,
}

/// The story as it is written, and as the fleet tells it.
fn retell(story: &str) -> Vec<Passage> {
    let mut player = Player::new();
    let mut passages: Vec<Passage> = Vec::new();
    for (index, text) in story.lines().enumerate() {
        if text.trim_start().starts_with("->") {
            if let Some(passage) = passages.last_mut() {
                passage.written.push_str(&format!("\n{text}"));
            }
            continue;
        }
        let happens = text.split("->").next().unwrap_or_default().trim();
        let told = if happens.is_empty() || happens.starts_with('#') {
            text.trim_end().to_owned()
        } else {
            match Line::parse(happens) {
                Ok(line) => player.tell(&line),
                Err(error) => error,
            }
        };
        passages.push(Passage {
            line: index + 1,
            written: text.to_owned(),
            told,
        });
    }
    passages
}

#[test]
fn the_fleet_does_what_the_stories_tell() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/fleet/scenarios");
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let mut paths: Vec<_> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "txt"))
        .collect();
    paths.sort();
    assert!(!paths.is_empty(), "no stories in {}", folder.display());

    let mut differences = Vec::new();
    for path in paths {
        let passages = retell(&fs::read_to_string(&path).unwrap());
        if update {
            let told: String = passages.iter().map(|p| format!("{}\n", p.told)).collect();
            fs::write(&path, told).unwrap();
            continue;
        }
        let path = path.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap();
        for Passage {
            line,
            written,
            told,
        } in passages.iter().filter(|p| p.written != p.told)
        {
            let prefixed = |sign, text: &str| {
                let lines = text.lines().map(|line| format!("  {sign} {line}\n"));
                lines.collect::<String>()
            };
            differences.push(format!(
                "{}:{line}\n{}{}",
                path.display(),
                prefixed('-', written),
                prefixed('+', told)
            ));
        }
    }
    assert!(differences.is_empty(), "\n{}\n", differences.join("\n"));
}

#[test]
fn every_line_reads_back_as_it_was_written() {
    for text in [
        "policy start-timeout=7s grace=1s500ms hang-timeout=10s static ordinals",
        "start Server1 Server2",
        "adopt Server1/2 running ordinal=1, Server2/1 ended weight=5 ordinal=9",
        "launch failed Server1/1: no such image: shop:1.4",
        "stop failed Server1/1: device busy",
        "exited Server1/1 signal 9",
        "exited Server1/1 code 0",
        "exited Server1/1 oom",
        "exited Server1/1 gone",
        "policy unready-timeout=1s restart-limit=3/10s",
        "policy unready-timeout=off",
        "unready Server1/1: status 503",
        "probe failed Server1/1: status 404",
        "healthy Server1/1",
        "healthcheck healthy Server1/1",
        "healthcheck unhealthy Server1/1",
        "name freed Server1",
        "refused Server1/1",
        "launch preempted Server1/2 by 3",
        "discovered Server9/1 running weight=2 ordinal=9",
        "removed elsewhere Server1/1",
        "stands in Server1/1",
        "recovered",
        "relocated blue to 10.9.9.1:80: tried next",
        "relocated blue to nowhere: no address",
        "moved Server1/1 to 10.9.9.1:80: its port was taken",
        "moved Server1/1 to nowhere: it left",
        "add #1 2 S4 seed=7",
        "remove #2 1 S4",
        "policy parallelism=2 monitor=0s stop-first pause",
        "replace #3 Server2",
        "rollout start v2",
        "rollout start v2 canary 10%",
        "rollout promote",
        "elsewhere v2 onward S1 S2",
        "elsewhere v2 over",
        "take over v2: S1/2 running version=v2 ordinal=1, S2/1 running ordinal=2",
        "successor started S1/2",
        "succeeded S1/2 running version=v2 ordinal=1",
        "launch preempted S1/2 by 3 version=v2",
        "rollout undo",
        "ejected Server1/2",
        "counted Server1/2 20 3",
        "shut down",
        "hand over",
        "after 1s 500ms",
        "wait 1s",
        "deaths Server1?",
    ] {
        assert_eq!(Line::parse(text).unwrap().to_string(), text);
    }
    for text in [
        "launched Server1",
        "exited Server1/1",
        "add 1",
        "dance",
        "after",
    ] {
        assert!(Line::parse(text).is_err(), "{text}");
    }
}
