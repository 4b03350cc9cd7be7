//! What is printed: checks, help, the table in README.

use super::*;

#[test]
fn check_prints_a_file_that_says_the_same() {
    let said = Said {
        args: &["check", "--image", "shop:1.4", "--env", "TOKEN=hush"],
        env: &[
            ("RINGMASTER_REPLICAS", "5"),
            ("RINGMASTER_WORKERS", "2"),
            ("RINGMASTER_MAX_CONNECTIONS", "9000"),
            ("RINGMASTER_COMMAND", "sh -c 'exec \"a\" \\ b'"),
        ],
        file: None,
    };
    let Ok(Invocation::Check { report, .. }) = parse(said) else {
        panic!("{:?}", parse(said));
    };
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/check.toml");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(path, &report).unwrap();
    }
    assert_eq!(report, std::fs::read_to_string(path).unwrap());
    let without_env = Said {
        args: &["--image", "shop:1.4"],
        ..said
    };
    assert_eq!(file(&report), settings(without_env));
}

#[test]
fn check_prints_what_docker_run_takes_beside_the_fleets_name() {
    let said = Said {
        args: &[
            "check",
            "--image=shop:1.4",
            "--fleet=zoo",
            "--volume=data-{name}:/data",
            "--entrypoint=serve --fast",
            "--read-only=false",
            "--label=team=zoo",
        ],
        ..Said::default()
    };
    let Ok(Invocation::Check { report, .. }) = parse(said) else {
        panic!("{:?}", parse(said));
    };
    let without_check = Said {
        args: &said.args[1..],
        ..said
    };
    assert_eq!(file(&report), settings(without_check), "{report}");
}

#[test]
fn the_other_subcommands() {
    let shown = |args: &[&str], env: &[(&str, &str)]| {
        let said = Said {
            args,
            env,
            file: None,
        };
        match parse(said) {
            Ok(Invocation::Replica(one)) => {
                let closes = if one.keep_alive { "" } else { ", closes" };
                format!("replica {} {}{closes}", one.listen, one.id)
            }
            Ok(Invocation::Healthcheck { url }) => format!("healthcheck {url}"),
            other => panic!("{other:?}"),
        }
    };
    for (args, env, expected) in [
        (&["replica"][..], &[][..], "replica 127.0.0.1:5001 1"),
        (
            &["replica"],
            &[("PORT", "6000"), ("SERVER_ID", "Server3")],
            "replica 127.0.0.1:6000 Server3",
        ),
        (
            &["replica", "--listen", "0.0.0.0:80", "--id", "x"],
            &[("PORT", "6000"), ("SERVER_ID", "Server3")],
            "replica 0.0.0.0:80 x",
        ),
        (
            &["replica", "--no-keep-alive"],
            &[],
            "replica 127.0.0.1:5001 1, closes",
        ),
        (
            &["healthcheck"],
            &[],
            "healthcheck http://127.0.0.1:5000/rep",
        ),
        (
            &["healthcheck"],
            &[("RINGMASTER_LISTEN", "0.0.0.0:8080")],
            "healthcheck http://127.0.0.1:8080/rep",
        ),
        (
            &["healthcheck"],
            &[
                ("RINGMASTER_ADMIN", "0.0.0.0:8081"),
                ("RINGMASTER_ADMIN_CALLS", "off"),
            ],
            "healthcheck http://127.0.0.1:8081/rep",
        ),
        (
            &["healthcheck", "--url", "http://lb/rep"],
            &[],
            "healthcheck http://lb/rep",
        ),
    ] {
        assert_eq!(shown(args, env), expected);
    }
}

#[test]
fn help_and_version_are_printed() {
    for (arg, expected) in [
        (
            "--version",
            concat!("ringmaster ", env!("CARGO_PKG_VERSION"), "\n"),
        ),
        (
            "-V",
            concat!("ringmaster ", env!("CARGO_PKG_VERSION"), "\n"),
        ),
        ("-h", "A self-healing HTTP load balancer"),
        ("--help", "A self-healing HTTP load balancer"),
        ("help", "A self-healing HTTP load balancer"),
    ] {
        let Ok(Invocation::Print(page)) = parse(Said {
            args: &[arg],
            ..Said::default()
        }) else {
            panic!("{arg}");
        };
        assert!(page.to_string().starts_with(expected), "{page}");
    }
}

#[test]
fn help_as_a_word_is_help_as_a_flag() {
    let page = |args: &[&str]| match parse(Said {
        args,
        ..Said::default()
    }) {
        Ok(Invocation::Print(page)) => page.to_string(),
        other => panic!("{args:?}: {other:?}"),
    };
    assert_eq!(page(&["help", "drill"]), page(&["drill", "--help"]));
    assert_eq!(page(&["help", "ring"]), page(&["ring", "--help"]));
    assert_eq!(page(&["ring", "help"]), page(&["ring", "--help"]));
    assert_eq!(
        page(&["help", "ring", "show"]),
        page(&["ring", "show", "--help"])
    );
    assert_eq!(
        page(&["ring", "help", "show"]),
        page(&["ring", "show", "--help"])
    );
}

#[test]
fn the_readme_lists_the_options_as_they_are() {
    let readme = include_str!("../../README.md");
    let (_, rest) = readme.split_once("<!-- options -->\n").unwrap();
    let (listed, _) = rest.split_once("<!-- /options -->").unwrap();
    assert_eq!(listed.trim(), ringmaster::config::options_markdown().trim());
}
