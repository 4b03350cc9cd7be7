//! `ringmaster ring` as a shell sees it: what it says, in words, in JSON and in a picture.
//!
//! `UPDATE_GOLDEN=1 cargo test --test ring_cli` writes the expected answers anew; what
//! changed is then to be seen in review.

use std::process::{Command, Output};

use serde_json::Value;

fn run(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ringmaster"))
        .arg("ring")
        .args(args)
        .env_remove("RINGMASTER_STRATEGY")
        .output()
        .unwrap()
}

fn answer(args: &[&str]) -> String {
    let Output {
        status,
        stdout,
        stderr,
    } = run(args);
    let stderr = String::from_utf8(stderr).unwrap();
    assert!(status.success() && stderr.is_empty(), "{args:?}: {stderr}");
    String::from_utf8(stdout).unwrap()
}

fn json(args: &[&str]) -> Value {
    let answer = answer(&[args, &["--json"]].concat());
    serde_json::from_str(&answer).unwrap()
}

fn refusal(args: &[&str]) -> String {
    let output = run(args);
    assert_eq!(output.status.code(), Some(2), "{args:?}");
    assert!(output.stdout.is_empty());
    String::from_utf8(output.stderr).unwrap()
}

fn golden(name: &str, text: &str) {
    let path = format!(
        "{}/tests/golden/ring-cli-{name}",
        env!("CARGO_MANIFEST_DIR")
    );
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(text, expected, "{path}");
    for line in text.lines() {
        assert!(line.chars().count() <= 100, "{path}: too wide: {line}");
    }
}

const MIXED: &str = "api=4,Server1,Server2,Server10=2";

#[test]
fn output_matches_its_golden_files() {
    for (name, args) in [
        ("show", &["show", "--members", MIXED, "--slots", "4096"][..]),
        ("show-classic", &["show", "--strategy", "classic"]),
        (
            "explain-classic",
            &[
                "explain",
                "123456",
                "--strategy",
                "classic",
                "--virtual-servers",
                "12",
            ],
        ),
        (
            "explain-quadratic",
            &["explain", "alice", "--strategy", "quadratic"],
        ),
        ("explain-modulo", &["explain", "40", "--strategy", "modulo"]),
        (
            "explain-ring",
            &["explain", "alice", "--strategy", "ring", "--members", MIXED],
        ),
        (
            "explain-maglev",
            &[
                "explain",
                "alice",
                "--strategy",
                "maglev",
                "--replicas",
                "15",
            ],
        ),
        (
            "explain-rendezvous",
            &["explain", "alice", "--members", MIXED, "--slots", "4096"],
        ),
        // Of few slots many are bumped.
        (
            "explain-bumped",
            &["explain", "55", "--replicas", "6", "--slots", "60"],
        ),
        (
            "diff-join",
            &["diff", "--join", "Server4", "--slots", "4096"],
        ),
        (
            "diff-weights",
            &[
                "diff",
                "--members",
                MIXED,
                "--slots",
                "4096",
                "--leave",
                "Server1",
                "--weight",
                "Server2=3",
            ],
        ),
        (
            "diff-many",
            &[
                "diff",
                "--replicas",
                "20",
                "--leave",
                "Server7",
                "--strategy",
                "maglev",
                "--slots",
                "4093",
            ],
        ),
        (
            "diff-strategy",
            &[
                "diff",
                "--strategy",
                "classic",
                "--to-strategy",
                "rendezvous",
            ],
        ),
        (
            "diff-nothing",
            &["diff", "--weight", "Server1=1", "--slots", "512"],
        ),
    ] {
        golden(&format!("{name}.txt"), &answer(args));
    }
    golden(
        "show.json",
        &answer(&[
            "show",
            "--strategy",
            "classic",
            "--members",
            "S1,S2=2",
            "--json",
        ]),
    );
    golden(
        "explain.json",
        &answer(&[
            "explain",
            "alice",
            "--replicas",
            "2",
            "--slots",
            "512",
            "--json",
        ]),
    );
    golden(
        "diff.json",
        &answer(&[
            "diff",
            "--replicas",
            "1",
            "--join",
            "Server2=3",
            "--slots",
            "512",
            "--json",
        ]),
    );
}

#[test]
fn help_matches_its_golden_files() {
    golden("help.txt", &answer(&["--help"]));
    golden("help-show.txt", &answer(&["show", "-h"]));
    golden("help-explain.txt", &answer(&["explain", "-h"]));
    golden("help-diff.txt", &answer(&["diff", "-h"]));
}

fn sum(rows: &Value, pointer: &str) -> f64 {
    let rows = rows.as_array().unwrap().iter();
    rows.filter_map(|row| row.pointer(pointer)?.as_f64()).sum()
}

fn is_near(a: f64, b: f64) -> bool {
    (a - b).abs() < 1e-9
}

#[test]
fn shares_add_up_to_one() {
    for strategy in [
        "classic",
        "quadratic",
        "modulo",
        "ring",
        "maglev",
        "rendezvous",
    ] {
        let shown = json(&["show", "--strategy", strategy, "--members", MIXED]);
        let rows = &shown["replicas"];
        assert!(is_near(sum(rows, "/slots/share"), 1.0) && is_near(sum(rows, "/fair_share"), 1.0));
        assert!(is_near(
            sum(rows, "/slots/count"),
            shown["ring"]["slots"].as_f64().unwrap()
        ));
        let formula = ["classic", "quadratic", "modulo"].contains(&strategy);
        assert_eq!(shown["request_ids"].is_object(), formula, "{strategy}");
        if formula {
            assert!(is_near(sum(rows, "/request_ids/count"), 900_000.0));
        }
        let of_fair = rows
            .as_array()
            .unwrap()
            .iter()
            .map(|r| r["slots"]["of_fair"].as_f64().unwrap());
        assert_eq!(
            Some(of_fair.fold(0.0, f64::max)),
            shown["slots"]["peak_to_mean"].as_f64()
        );
    }
}

/// What moves is what two looks at two rings say, and every key is explained alike by both.
#[test]
fn diff_agrees_with_the_two_rings() {
    let change = [
        "--leave",
        "Server2",
        "--join",
        "Server3=2",
        "--weight",
        "api=2",
    ];
    let after = "api=2,Server1,Server10=2,Server3=2";
    for (ring, measure) in [
        (
            &["--strategy", "rendezvous", "--slots", "4096"][..],
            "slots",
        ),
        (&["--strategy", "maglev", "--slots", "1021"], "slots"),
        (&["--strategy", "ring", "--slots", "4096"], "slots"),
        (&["--strategy", "quadratic"], "request_ids"),
    ] {
        let diff = json(&[&["diff", "--members", MIXED], &change[..], ring].concat());
        assert_eq!(diff["measure"], measure);
        let [before, after] =
            [MIXED, after].map(|m| json(&[&["show", "--members", m], ring].concat()));
        assert_eq!(
            (&diff["before"], &diff["after"]),
            (&before["ring"], &after["ring"])
        );
        for (side, shown) in [("before", &before), ("after", &after)] {
            for replica in shown["replicas"].as_array().unwrap() {
                let rows = diff["replicas"].as_array().unwrap();
                let row = rows
                    .iter()
                    .find(|row| row["name"] == replica["name"])
                    .unwrap();
                assert_eq!(
                    row[side]["count"], replica[measure]["count"],
                    "{side} {replica}"
                );
                assert_eq!(row[side]["weight"], replica["weight"]);
            }
        }
        // Flows are the moves, and what flows in and out is the difference in ownership.
        let flows = diff["flows"].as_array().unwrap();
        assert_eq!(Some(sum(&diff["flows"], "/count")), diff["moved"].as_f64());
        let share = diff["moved_share"].as_f64().unwrap();
        assert!(is_near(sum(&diff["flows"], "/share"), share));
        let factor = share / diff["unavoidable_share"].as_f64().unwrap();
        assert!(is_near(
            diff["moved_to_unavoidable"].as_f64().unwrap(),
            factor
        ));
        for row in diff["replicas"].as_array().unwrap() {
            let through = |end: &str| {
                let own = flows.iter().filter(|flow| flow[end] == row["name"]);
                own.map(|flow| flow["count"].as_i64().unwrap()).sum::<i64>()
            };
            let count = |side: &str| row[side]["count"].as_i64().unwrap_or(0);
            assert_eq!(
                count("after") - count("before"),
                through("to") - through("from"),
                "{row}"
            );
        }
    }
}

#[test]
fn explain_accepts_a_key_of_any_bytes() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    for key in [
        &b""[..],
        b"\xff\xfe",
        b"a\x1b[31m\nb",
        "\u{202e}ü".as_bytes(),
        &[b'x'; 5_000],
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_ringmaster"))
            .args(["ring", "explain", "--"])
            .arg(OsStr::from_bytes(key))
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && text.contains("Owner"));
        assert!(
            text.chars().all(|c| c == '\n' || !c.is_control()),
            "{text:?}"
        );
    }
    let first = json(&["explain", "123456"]);
    assert_eq!(
        (&first["number"], &first["hashed"]),
        (&"123456".into(), &false.into())
    );
    assert_eq!(first["owner"], first["failover"][0]);
    assert_eq!(json(&["explain", "1.5"])["hashed"], true);
}

#[test]
fn picture_is_valid_svg_and_small() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ring.svg");
    let path = file.to_str().unwrap();
    for args in [
        &["--strategy", "classic"][..],
        &["--strategy", "ring", "--replicas", "7"],
        &["--strategy", "maglev", "--replicas", "200"],
        &["--members", MIXED],
    ] {
        answer(&[&["show", "--svg", path], args].concat());
        let svg = std::fs::read_to_string(&file).unwrap();
        assert!(svg.len() < 200_000, "{args:?}: {} bytes", svg.len());
        let document = roxmltree::Document::parse(&svg).unwrap();
        let root = document.root_element();
        assert_eq!(
            (root.tag_name().name(), root.attribute("width")),
            ("svg", Some("820"))
        );
        let texts: Vec<&str> = root.descendants().filter_map(|node| node.text()).collect();
        assert!(
            texts.contains(&"Server1") && texts.contains(&"peak/mean"),
            "{args:?}"
        );
        if args[1] == "classic" {
            // A dot for every virtual server.
            let dots = root
                .descendants()
                .filter(|node| node.has_tag_name("circle"));
            assert_eq!(dots.count(), 27);
        }
    }
    let nowhere = run(&["show", "--svg", "/nowhere/ring.svg"]);
    assert_eq!(nowhere.status.code(), Some(1));
    assert!(
        nowhere
            .stderr
            .starts_with(b"error: cannot write /nowhere/ring.svg: ")
    );
}

#[test]
fn ring_is_the_one_of_the_balancer() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ringmaster.toml");
    std::fs::write(
        &file,
        "strategy = \"classic\"\nupstream = [\"blue=10.0.0.1:80\", \"10.0.0.2:80\"]\n",
    )
    .unwrap();
    let shown = json(&["show", "--config", file.to_str().unwrap()]);
    assert_eq!(shown["ring"]["strategy"], "classic");
    let names = shown["replicas"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| &row["name"]);
    assert_eq!(names.collect::<Vec<_>>(), ["10.0.0.2:80", "blue"]);
}

#[test]
fn usage_errors_match_their_golden_file() {
    let mut text = String::new();
    for args in [
        &[][..],
        &["show", "--members", "a b,S1=0,S2"],
        &["show", "--members", ","],
        &["show", "--members", "S1,S1"],
        &["show", "--members", "S1,s1"],
        &["show", "--members", "localhost,S2."],
        &["show", "--members", "S1", "--replicas", "2"],
        &["show", "--strategy", "best", "--replicas", "many"],
        &["show", "--strategy", "maglev", "--slots", "65536"],
        &["show", "--strategy", "rendezvous", "--virtual-servers", "9"],
        &["show", "--strategy", "classic", "--slots", "16"],
        &["explain"],
        &["diff"],
        &[
            "diff",
            "--join",
            "Server1",
            "--leave",
            "Server9",
            "--weight",
            "Server8=2",
        ],
        &["diff", "--join", "S4=x", "--weight", "Server1"],
        &["diff", "--leave", "Server1,Server2,Server3"],
        &["diff", "--to-strategy", "maglev", "--to-slots", "10"],
        &["diff", "--to-virtual-servers", "-3"],
    ] {
        text.push_str(&format!(
            "$ ringmaster ring {}\n{}\n",
            args.join(" "),
            refusal(args)
        ));
    }
    let path = format!(
        "{}/tests/golden/ring-cli-refusals.txt",
        env!("CARGO_MANIFEST_DIR")
    );
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    assert_eq!(text, std::fs::read_to_string(path).unwrap());
}
