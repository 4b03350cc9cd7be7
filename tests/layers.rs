//! The house keeps its direction: each layer knows only those to its left.
//!
//! api <- ring <- fleet <- runtime <- config <- h1 <- upstream <- actors <- http <- app

#![allow(clippy::unwrap_used, missing_docs)]

use std::path::{Path, PathBuf};

const LAYERS: [&str; 10] = [
    "api", "ring", "fleet", "runtime", "config", "h1", "upstream", "actors", "http", "app",
];

fn sources(place: &Path) -> Vec<(PathBuf, String)> {
    if place.is_file() {
        return vec![(place.to_owned(), std::fs::read_to_string(place).unwrap())];
    }
    let Ok(entries) = std::fs::read_dir(place) else {
        return Vec::new();
    };
    entries
        .flat_map(|entry| sources(&entry.unwrap().path()))
        .collect()
}

fn layer(name: &str) -> Vec<(PathBuf, String)> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = sources(&src.join(name));
    files.extend(sources(&src.join(format!("{name}.rs"))));
    assert!(!files.is_empty(), "no layer {name}");
    files
}

/// Lines of code: comments speak of anything.
fn code(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .filter(|line| !line.trim_start().starts_with("//"))
}

#[test]
fn each_layer_uses_only_those_to_its_left() {
    for (place, name) in LAYERS.iter().enumerate() {
        for (file, text) in layer(name) {
            for right in &LAYERS[place + 1..] {
                let forbidden = format!("crate::{right}");
                let line = code(&text).find(|line| line.contains(&forbidden));
                assert_eq!(line, None, "{} uses {right}", file.display());
            }
        }
    }
}

/// The offline look at rings is a face of its own, for which the pure core must do.
#[test]
fn the_ring_command_knows_the_ring_alone() {
    for (file, text) in layer("ring_cli") {
        for other in LAYERS.iter().filter(|layer| **layer != "ring") {
            let forbidden = format!("crate::{other}");
            let line = code(&text).find(|line| line.contains(&forbidden));
            assert_eq!(line, None, "{} uses {other}", file.display());
        }
    }
}

/// Both sides of the balancer stand on the framing of HTTP/1.1, which needs nothing but bytes.
#[test]
fn h1_knows_no_other_layer() {
    for (file, text) in layer("h1") {
        for other in LAYERS.iter().filter(|other| **other != "h1") {
            let forbidden = format!("crate::{other}");
            let line = code(&text).find(|line| line.contains(&forbidden));
            assert_eq!(line, None, "{} uses {other}", file.display());
        }
    }
}

/// It measures a balancer from outside: what it knew of the inside it could not measure.
#[test]
fn the_analysis_is_a_client_like_any_other() {
    let allowed = [
        "analysis",
        "api",
        "sys",
        "human",
        "ring",
        // The way to an engine: replicas are harmed there.
        "runtime::docker::{Engine,",
    ];
    for (file, text) in layer("analysis") {
        for line in code(&text).filter(|line| line.contains("crate::")) {
            let (_, path) = line.split_once("crate::").unwrap();
            let fine = allowed.iter().any(|start| path.starts_with(start));
            assert!(fine, "{}: {line}", file.display());
        }
    }
    for left in LAYERS {
        for (file, text) in layer(left) {
            let line = code(&text).find(|line| line.contains("crate::analysis"));
            assert_eq!(line, None, "{} uses the analysis", file.display());
        }
    }
}

#[test]
fn what_decides_is_pure() {
    let impure = [
        "actix",
        "awc",
        "tokio",
        "futures",
        "bollard",
        "log::",
        "async ",
        "std::io",
        "std::fs",
        "std::thread",
        "Instant::now",
        "SystemTime",
        "println!",
        "rand::",
    ];
    for name in ["ring", "fleet"] {
        for (file, text) in layer(name) {
            // What stands behind `mod tests` or in a file of tests may do as it likes.
            if file.ends_with("tests.rs") || file.to_string_lossy().contains("/tests/") {
                continue;
            }
            let own = text.split("#[cfg(test)]").next().unwrap();
            for word in impure {
                let line = code(own).find(|line| line.contains(word));
                assert_eq!(line, None, "{} is impure: {word}", file.display());
            }
        }
    }
}

#[test]
fn each_big_library_has_its_place() {
    for (library, places) in [
        (
            "bollard",
            &["src/runtime/docker", "src/analysis/harm/container.rs"][..],
        ),
        (
            "awc::",
            &[
                "src/upstream",
                "src/http/proxy.rs",
                "src/http/response_body.rs",
                "src/http/upgrade.rs",
                "src/actors/heartbeat_prober.rs",
                "src/healthcheck.rs",
                // A client like any other.
                "src/analysis",
                "src/drill",
            ],
        ),
        ("clap", &["src/cli", "src/config/options.rs"]),
        ("comfy_table", &["src/ring_cli/text.rs"]),
        ("plotters", &["src/analysis/chart"]),
    ] {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        for (file, text) in sources(&root.join("src")) {
            let file = file.strip_prefix(root).unwrap();
            let at_home = places
                .iter()
                .any(|place| file.to_string_lossy().starts_with(place));
            if !at_home {
                let line = code(&text).find(|line| line.contains(library));
                assert_eq!(line, None, "{} uses {library}", file.display());
            }
        }
    }
}
