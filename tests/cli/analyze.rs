//! `ringmaster analyze`, small but whole: real balancer, real requests, real kills; then the
//! files and the figures in them.

use std::fs;
use std::io::BufReader;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use crate::support::{Ringmaster, signal};

const REQUESTS: u64 = 300;
const SCALE: u64 = 200;
const CHARTS: [&str; 4] = [
    "a1-requests-per-replica",
    "a2-mean-load",
    "a3-failure",
    "a4-strategies",
];

fn analyze(out: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ringmaster"))
        .arg("analyze")
        .args(["--requests", &REQUESTS.to_string()])
        .args(["--scale", &SCALE.to_string(), "--out"])
        .arg(out)
        .args(args)
        .output()
        .unwrap()
}

fn results(out: &Path) -> Value {
    serde_json::from_slice(&fs::read(out.join("results.json")).unwrap()).unwrap()
}

/// Every request is counted, and the mean is the fair share.
fn check_distribution(one: &Value, replicas: u64) {
    let counts = one["counts"].as_object().unwrap();
    let sum: u64 = counts.values().map(|count| count.as_u64().unwrap()).sum();
    assert_eq!(one["replicas"], replicas, "{one}");
    assert_eq!(counts.len() as u64, replicas, "{one}");
    assert_eq!((sum, &one["requests"]), (REQUESTS, &REQUESTS.into()));
    assert_eq!(one["failed"], 0, "{one}");
    assert_eq!(one["measured"], true);
    // Every request was answered by the replica that the strategy gives it to.
    // The bound of the load may send a few on to the next replica.
    let as_computed = one["as_computed"].as_u64().unwrap();
    assert!(as_computed * 10 >= REQUESTS * 9, "{one}");
    let mean = REQUESTS as f64 / replicas as f64;
    assert!((one["spread"]["mean"].as_f64().unwrap() - mean).abs() < 1e-9);
}

fn check_range(range: &Value) {
    let range = range.as_array().unwrap();
    assert_eq!(range.len(), 5);
    for (one, replicas) in range.iter().zip(2..) {
        check_distribution(one, replicas);
    }
}

fn peak_at_three(run: &Value) -> f64 {
    let spread = &run["by_replicas"][1]["spread"];
    spread["peak_to_mean"].as_f64().unwrap()
}

#[test]
#[ignore = "takes a minute"]
fn analyze_writes_charts_report_and_consistent_results() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("new/analysis");
    let Output {
        status,
        stdout,
        stderr,
    } = analyze(&out, &[]);
    let stderr = String::from_utf8_lossy(&stderr);
    assert_eq!(status.code(), Some(0), "{stderr}");
    let stdout = String::from_utf8_lossy(&stdout);
    assert!(stdout.contains("report.md"), "{stdout}");

    let results = results(&out);
    check_distribution(&results["a1"], 3);
    check_range(&results["a2"]);
    assert_eq!(results["skipped"], serde_json::json!([]));

    let a3 = &results["a3"];
    assert_eq!(a3["failed"], 0, "{a3}");
    let kills = a3["kills"].as_array().unwrap();
    assert_eq!(kills.len(), 3);
    for kill in kills {
        // The reference: detected within 5 s, replaced within 10 s.
        let evicted = kill["evicted_ms"].as_f64().unwrap();
        let back = kill["ready_ms"].as_f64().unwrap();
        assert!(
            evicted < 5_000.0 && evicted < back && back < 10_000.0,
            "{kill}"
        );
        // Whichever is seen first: the child's exit or the closed port.
        let reason = kill["reason"].as_str().unwrap();
        assert!(
            ["killed by signal 9", "refuses connections"].contains(&reason),
            "{kill}"
        );
        assert_eq!(kill["failed"], 0);
        let answers = kill["timeline"]["answers"].as_object().unwrap();
        let answers = answers.values().flat_map(|line| line.as_array().unwrap());
        let sum: u64 = answers.map(|count| count.as_u64().unwrap()).sum();
        assert_eq!(kill["requests"], sum, "{kill}");
    }

    let strategies = results["a4"].as_array().unwrap();
    let names: Vec<&str> = strategies
        .iter()
        .map(|run| run["strategy"].as_str().unwrap())
        .collect();
    assert_eq!(
        names,
        [
            "classic",
            "quadratic",
            "modulo",
            "ring",
            "maglev",
            "rendezvous"
        ]
    );
    for run in strategies {
        check_range(&run["by_replicas"]);
    }
    assert!(peak_at_three(&strategies[0]) > 2.5);
    assert!(peak_at_three(&strategies[5]) < 1.3);

    let scale = &results["scale"];
    assert_eq!(scale["open_at_once"], SCALE, "{scale}");
    assert_eq!(scale["in_flight_at_once"], SCALE, "{scale}");
    assert_eq!(
        (&scale["answered"], &scale["failed"]),
        (&SCALE.into(), &0.into())
    );
    assert!(scale["memory"]["peak_kib"].as_u64().unwrap() > 1_000);

    let report = fs::read_to_string(out.join("report.md")).unwrap();
    for heading in ["## A-1", "## A-2", "## A-3", "## A-4", "## Scale"] {
        assert!(report.contains(heading), "{heading} in\n{report}");
    }
    for chart in CHARTS {
        assert!(report.contains(&format!("({chart}.png)")), "{chart}");
        check_png(&out.join(format!("{chart}.png")));
        check_svg(&out.join(format!("{chart}.svg")));
    }
}

/// It decodes to the end, and is not all white.
fn check_png(path: &Path) {
    let file = BufReader::new(fs::File::open(path).unwrap());
    let mut reader = png::Decoder::new(file).read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    let frame = reader.next_frame(&mut pixels).unwrap();
    assert!(frame.width >= 1_000 && frame.height >= 500, "{path:?}");
    assert!(pixels.iter().any(|&byte| byte < 0x80), "{path:?} is blank");
}

/// It is well-formed, and has texts.
fn check_svg(path: &Path) {
    let text = fs::read_to_string(path).unwrap();
    let document = roxmltree::Document::parse(&text).unwrap();
    assert_eq!(document.root_element().tag_name().name(), "svg", "{path:?}");
    let texts = document
        .descendants()
        .filter(|node| node.has_tag_name("text"));
    // Whatever the namespace that plotters gives its elements.
    let texts = texts.count().max(text.matches("<text").count());
    assert!(texts > 10, "{path:?}");
}

#[actix_web::test]
#[ignore = "takes a minute"]
async fn analyze_of_a_running_balancer_leaves_it_unchanged() {
    let strategy = ["--strategy", "maglev", "--replicas", "4"];
    let balancer = Ringmaster::ready(&strategy).await;
    let folder = tempfile::tempdir().unwrap();
    let (out, url) = (folder.path().to_owned(), balancer.url(""));
    let kill = format!(
        "sh -c 'for p in $(cat /proc/{}/task/*/children); do \
         grep -qz SERVER_ID={{name}}$ /proc/$p/environ && echo $p; done; true'",
        balancer.pid()
    );
    let only = ["--url", &url, "--pid-command", &kill, "--only", "a1,a3,a4"];
    let Output { status, stderr, .. } = analyze(&out, &only);
    let stderr = String::from_utf8_lossy(&stderr);
    assert_eq!(status.code(), Some(0), "{stderr}");
    assert_eq!(
        balancer.replicas().await,
        ["Server1", "Server2", "Server3", "Server4"]
    );
    let results = results(&out);
    assert_eq!(results["a1"]["replicas"], 3);
    assert_eq!(results["a1"]["failed"], 0);
    // Without an admin address the time is unknown.
    assert_eq!(results["a3"]["kills"][0]["evicted_ms"], Value::Null);
    assert!(results["a3"]["kills"][0]["silent_ms"].as_f64().unwrap() > 0.0);
    assert_eq!(results["a3"]["failed"], 0);
    assert_eq!(results["a4"][0]["by_replicas"][0]["measured"], false);
    assert_eq!(results["skipped"][0]["experiment"], "A-4");
}

#[actix_web::test]
async fn analyze_interrupted_restores_the_replicas() {
    let balancer = Ringmaster::ready(&["--replicas", "2"]).await;
    let folder = tempfile::tempdir().unwrap();
    let analysis = Command::new(env!("CARGO_BIN_EXE_ringmaster"))
        .args(["analyze", "--requests", "1000000", "--only", "a1"])
        .args(["--url", &balancer.url("")])
        .arg("--out")
        .arg(folder.path())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    crate::support::eventually("a third replica", || async {
        balancer.replicas().await.len() == 3
    })
    .await;
    signal(analysis.id(), "INT");
    let status = { analysis }.wait().unwrap();
    assert_eq!(status.code(), Some(1));
    assert_eq!(balancer.replicas().await, ["Server1", "Server2"]);
}

#[actix_web::test]
async fn analyze_skips_failures_with_the_reason_without_a_way_to_kill() {
    let other = Ringmaster::ready(&["--replicas", "1"]).await;
    let upstream = ["--upstream", other.address(), "--admin", "127.0.0.1:0"];
    let balancer = Ringmaster::ready(&upstream).await;
    let folder = tempfile::tempdir().unwrap();
    let (url, admin_url) = (balancer.url(""), balancer.admin_url().await);
    for (more, reason) in [
        (&["--admin", &admin_url][..], "neither a process nor"),
        (&[], "none of --admin, --kill-command"),
    ] {
        let args = [&["--url", &url, "--only", "a3"], more].concat();
        let Output { status, stderr, .. } = analyze(folder.path(), &args);
        assert_eq!(status.code(), Some(0), "{stderr:?}");
        let skipped = &results(folder.path())["skipped"][0];
        assert_eq!(skipped["experiment"], "A-3", "{skipped}");
        let said = skipped["reason"].as_str().unwrap();
        assert!(said.contains(reason), "{said}");
    }
}

#[test]
fn analyze_of_a_missing_path_counts_failures_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let args = ["--only", "a1", "--path", "/nothing-here"];
    let Output { status, stdout, .. } = analyze(folder.path(), &args);
    assert_eq!(status.code(), Some(0), "{stdout:?}");
    let said = "GET /nothing-here answers 404, which counts as failed: --path says what to ask for";
    let stdout = String::from_utf8_lossy(&stdout);
    assert!(stdout.contains(said), "{stdout}");
    let results = results(folder.path());
    assert_eq!(results["a1"]["failed"], REQUESTS);
    assert_eq!(results["setting"]["path"], "/nothing-here");
    // Anybody can run it, wherever the program lies.
    let command = results["machine"]["command"].as_str().unwrap();
    assert!(command.starts_with("ringmaster analyze "), "{command}");
}

#[test]
fn analyze_exit_code_tells_usage_errors_from_failures() {
    let folder = tempfile::tempdir().unwrap();
    for (args, code, part) in [
        (&["--only", "a5"][..], 2, "a5"),
        (&["--kill-command", "true"], 2, "--url"),
        (&["--url", "ftp://x"], 2, "does not start with http://"),
        (
            &["--url", "http://127.0.0.1:1"],
            1,
            "GET http://127.0.0.1:1/rep",
        ),
    ] {
        let Output { status, stderr, .. } = analyze(folder.path(), args);
        let stderr = String::from_utf8_lossy(&stderr);
        assert_eq!(status.code(), Some(code), "{args:?}: {stderr}");
        assert!(stderr.contains(part), "{args:?}: {stderr}");
    }
}
