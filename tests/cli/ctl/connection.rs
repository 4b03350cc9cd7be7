//! Where the balancer is, tokens, and what is said if that is wrong.

use std::io::Write as _;

use actix_web::{App, HttpResponse, HttpServer, web};
use serde_json::{Value, json};

use super::{ctl, failure, run, start, start_with};
use crate::support::Ringmaster;

#[actix_web::test]
async fn balancer_is_found_by_flag_or_environment() {
    let balancer = start_with(&["--replicas", "1"]).await;
    let admin = balancer.admin_url().await;
    let port = admin.rsplit(':').next().unwrap();
    let everywhere = format!("0.0.0.0:{port}");
    let slash = format!("{admin}/");
    for (args, env) in [
        (
            &["--admin", &slash, "status"][..],
            &[("RINGMASTER_ADMIN_URL", "http://127.0.0.1:1")][..],
        ),
        (
            &["status"],
            &[
                ("RINGMASTER_ADMIN_URL", &admin),
                ("RINGMASTER_ADMIN", "127.0.0.1:1"),
            ],
        ),
        // As in a balancer's container.
        (&["status"], &[("RINGMASTER_ADMIN", &everywhere)]),
    ] {
        let output = ctl(args).envs(env.iter().copied()).output().await.unwrap();
        assert_eq!(
            output.status.code(),
            Some(0),
            "{args:?} {env:?}: {output:?}"
        );
    }
}

#[actix_web::test]
async fn unreachable_balancer_is_named_with_what_says_where_it_is() {
    // Of a free port another test could take hold.
    let url = "http://127.0.0.1:1";
    let error = failure(&ctl(&["--admin", url, "status"]).output().await.unwrap());
    for said in [
        url,
        "(--admin)",
        "refused",
        "--admin URL or RINGMASTER_ADMIN_URL",
    ] {
        assert!(error.contains(said), "{error}");
    }
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let args = ["--admin", &url, "--timeout", "200ms", "status"];
    let error = failure(&ctl(&args).output().await.unwrap());
    assert!(error.contains("no answer within 200 ms"), "{error}");
}

/// The URL of a server that answers everything with this.
fn impostor(content_type: &'static str, body: &Value, version: &Value) -> String {
    let (body, version) = (body.clone(), version.clone());
    let server = HttpServer::new(move || {
        let (body, version) = (body.to_string(), version.to_string());
        let reply = move |body: String| {
            move || {
                let body = body.clone();
                async move { HttpResponse::Ok().content_type(content_type).body(body) }
            }
        };
        App::new()
            .route("/api/v1/version", web::get().to(reply(version)))
            .default_service(web::to(reply(body)))
    });
    let server = server.workers(1).bind("127.0.0.1:0").unwrap();
    let address = server.addrs()[0];
    actix_web::rt::spawn(server.run());
    format!("http://{address}")
}

#[actix_web::test]
async fn other_programs_and_other_versions_are_told() {
    let balancer = start_with(&["--replicas", "1"]).await;
    let clients = balancer.url("");
    let other = json!({"message": "hello"});
    let version = json!({"name": "ringmaster", "version": "9.9.9"});
    for (url, said) in [
        (
            clients,
            "is not Ringmaster's admin API: GET /status answers 404",
        ),
        (
            impostor("text/html", &other, &other),
            "is not Ringmaster's admin API: GET /status answers 200",
        ),
        (
            impostor("application/json", &other, &other),
            "is not Ringmaster's admin API: GET /status: missing field",
        ),
        (
            impostor("application/json", &other, &version),
            "is Ringmaster 9.9.9, this program is",
        ),
    ] {
        for json in [&["status"][..], &["status", "--json"]] {
            let args = [&["--admin", url.as_str()], json].concat();
            let error = failure(&ctl(&args).output().await.unwrap());
            assert!(error.contains(said), "{args:?}: {error}");
        }
    }
}

#[actix_web::test]
async fn token_comes_from_a_file_or_the_environment_and_is_asked_for() {
    let mut tokens = tempfile::NamedTempFile::new().unwrap();
    write!(tokens, "read looker\nadmin changer\n").unwrap();
    let tokens = tokens.path().to_str().unwrap();
    let file = |token: &str| {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        writeln!(file, "{token}").unwrap();
        file
    };
    let [bare, looker, wrong] = [file("changer"), file("read looker"), file("nobodys")];
    let path = |file: &tempfile::NamedTempFile| file.path().to_str().unwrap().to_owned();
    let [bare, looker, wrong] = [&bare, &looker, &wrong].map(path);
    let balancer = start_with_tokens(tokens).await;
    let admin = balancer.admin_url().await;
    let change = ["weight", "Server1", "2"];
    for (args, env, said) in [
        (&["status"][..], "", Some("a token is missing")),
        (
            &["status"],
            "",
            Some("--token-file FILE or RINGMASTER_ADMIN_TOKEN"),
        ),
        (
            &["--token-file", &wrong, "status"],
            "",
            Some("it comes from --token-file"),
        ),
        (&["--token-file", &looker, "status"], "", None),
        (
            &[&["--token-file", looker.as_str()], &change[..]].concat(),
            "",
            Some("is not an admin token"),
        ),
        // Both rights: the one that may change.
        (&[&["--token-file", tokens], &change[..]].concat(), "", None),
        (
            &[&["--token-file", bare.as_str()], &change[..]].concat(),
            "",
            None,
        ),
        (&change, "changer", None),
        (&["--token-file", &looker, "status"], "nobodys", None),
    ] {
        let mut command = ctl(&[&["--admin", admin.as_str()], args].concat());
        let output = command
            .env("RINGMASTER_ADMIN_TOKEN", env)
            .output()
            .await
            .unwrap();
        let shown = format!("{output:?}");
        for token in ["looker", "changer", "nobodys"] {
            assert!(!shown.replace(&looker, "").contains(token), "{shown}");
        }
        match said {
            None => assert_eq!(output.status.code(), Some(0), "{args:?}: {output:?}"),
            Some(said) => {
                let error = failure(&output);
                assert!(error.contains(said), "{args:?}: {error}");
            }
        }
    }
    // Its older name sends it, too.
    let url = balancer.url("");
    let drill = [
        "drill", "--delay", "all", "--for", "100ms", "--url", &url, "--admin", &admin,
    ];
    for (token, code) in [("changer", 0), ("", 1)] {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_ringmaster"));
        let output = command
            .args(drill)
            .env("RINGMASTER_ADMIN_TOKEN", token)
            .output()
            .await;
        let output = output.unwrap();
        assert_eq!(output.status.code(), Some(code), "{output:?}");
    }
}

async fn start_with_tokens(path: &str) -> Ringmaster {
    start_with(&["--replicas", "1", "--admin-token-file", path]).await
}

#[actix_web::test]
async fn wrong_use_is_told_with_exit_code_2() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("none");
    let missing = missing.to_str().unwrap();
    for (args, said) in [
        (&[][..], "subcommand"),
        (&["statu"], "did you mean status?"),
        (&["rm"], "<NAME>"),
        (&["weight", "Server1", "0"], "1 to 1000"),
        (&["add", "S4=x"], "NAME=WEIGHT"),
        (&["--admin", "https://x", "status"], "http://HOST:PORT"),
        (&["--admin", "http://x/api", "status"], "has a path"),
        (&["--token-file", missing, "status"], "No such file"),
        (&["--timeout", "3", "status"], "write 3s or 3ms"),
        (&["top", "--json"], "top has no JSON"),
        (&["completions", "tcsh"], "bash"),
    ] {
        let output = ctl(args).output().await.unwrap();
        assert_eq!(output.status.code(), Some(2), "{args:?}: {output:?}");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(error.contains(said), "{args:?}: {error}");
        assert!(error.contains("--help'"), "{args:?}: {error}");
    }
}

#[actix_web::test]
async fn reader_that_has_seen_enough_is_no_failure() {
    let balancer = start().await;
    let admin = balancer.admin_url().await;
    let program = env!("CARGO_BIN_EXE_ringmaster");
    let command = format!("set -o pipefail; {program} ctl --admin {admin} status | true");
    let status = std::process::Command::new("bash")
        .args(["-c", &command])
        .status();
    assert_eq!(status.unwrap().code(), Some(0));
    assert_eq!(run(&balancer, &["status"]).await.stderr, b"");
}
