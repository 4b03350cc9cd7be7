//! The calls of the client port, `/rep`, `/add`, `/rm` and `/home`, against a real balancer with real
//! replicas.

use awc::http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::{MAX_WAIT, Ringmaster, ask, client, eventually, get};

#[actix_web::test]
async fn rep_lists_the_desired_replicas_in_a_stable_order() {
    let balancer = Ringmaster::start(&[]);
    let expected = json!({
        "message": {"N": 3, "replicas": ["Server1", "Server2", "Server3"]},
        "status": "successful"
    });
    for _ in 0..3 {
        let reply = balancer.rep().await;
        assert_eq!(
            (reply.status, reply.body),
            (StatusCode::OK, expected.clone())
        );
    }
}

#[actix_web::test]
async fn home_is_answered_by_every_replica_with_its_name() {
    let balancer = Ringmaster::ready(&[]).await;
    let mut seen = std::collections::BTreeSet::new();
    for id in 100_000..100_100 {
        let request = client().get(balancer.url("/home"));
        let request = request.insert_header(("X-Request-ID", id.to_string()));
        let body = request.send().await.unwrap().body().await.unwrap();
        seen.insert(String::from_utf8(body.to_vec()).unwrap());
    }
    let hello =
        |id: u8| format!(r#"{{"message":"Hello from Server: {id}","status":"successful"}}"#);
    assert_eq!(
        seen.into_iter().collect::<Vec<_>>(),
        [hello(1), hello(2), hello(3)]
    );

    let heartbeat = client().get(balancer.url("/heartbeat")).send().await;
    let mut heartbeat = heartbeat.unwrap();
    assert_eq!(heartbeat.status(), StatusCode::OK);
    assert!(heartbeat.body().await.unwrap().is_empty());
}

#[actix_web::test]
async fn add_with_and_without_names_answers_when_the_replicas_serve() {
    let balancer = Ringmaster::ready(&["--replicas", "1"]).await;
    let added = balancer
        .add(json!({"n": 3, "hostnames": ["S4", "S5"]}))
        .await
        .names();
    assert_eq!(added[..3], ["Server1", "S4", "S5"]);
    assert_eq!(added.len(), 4);
    assert_eq!(balancer.replicas().await, added);

    let mut seen = std::collections::BTreeSet::new();
    for id in 0..200 {
        let request = client().get(balancer.url("/home"));
        let request = request.insert_header(("X-Request-ID", (id * 7919).to_string()));
        let body: Value = request.send().await.unwrap().json().await.unwrap();
        seen.insert(body["message"].as_str().unwrap().to_owned());
    }
    let hello = |name: &str| format!("Hello from Server: {name}");
    let mut expected = vec![hello("1"), hello("S4"), hello("S5"), hello(&added[3])];
    expected.sort();
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), expected);
}

#[actix_web::test]
async fn rm_with_and_without_names_ends_the_processes() {
    let balancer = Ringmaster::ready(&["--replicas", "4"]).await;
    let pid = balancer.child("Server2");
    let left = balancer
        .rm(json!({"n": 1, "hostnames": ["Server2"]}))
        .await
        .names();
    assert_eq!(left, ["Server1", "Server3", "Server4"]);
    assert!(!crate::support::is_alive(pid));

    let left = balancer
        .rm(json!({"n": 2, "hostnames": ["Server1"]}))
        .await
        .names();
    assert_eq!(left.len(), 1);
    assert!(["Server3", "Server4"].contains(&left[0].as_str()));
    assert_eq!(balancer.children().len(), 1);

    // Down to nothing, and up again under a name that was in use before.
    assert!(balancer.rm(json!({"n": 1})).await.names().is_empty());
    let names = balancer
        .add(json!({"n": 1, "hostnames": ["Server2"]}))
        .await
        .names();
    assert_eq!(names, ["Server2"]);
    assert_eq!(
        get(&balancer.url("/home")).await.message(),
        "Hello from Server: 2"
    );
}

#[actix_web::test]
async fn input_that_is_invalid_gets_its_status_and_changes_nothing() {
    let balancer = Ringmaster::ready(&[]).await;
    let children = balancer.children();
    let large = format!(r#"{{"n":1,"hostnames":["{}"]}}"#, "x".repeat(200_000));
    let json = "application/json";
    let cases: &[(&str, &str, &str, &str, u16, &str)] = &[
        (
            "POST",
            "/add",
            json,
            r#"{"n":1,"hostnames":["S4","S5"]}"#,
            400,
            "<Error> Length of hostname list is more than newly added instances",
        ),
        (
            "DELETE",
            "/rm",
            json,
            r#"{"n":1,"hostnames":["Server1","Server2"]}"#,
            400,
            "<Error> Length of hostname list is more than removable instances",
        ),
        (
            "DELETE",
            "/rm",
            json,
            r#"{"n":4}"#,
            400,
            "from 1 to 3 replicas can be removed",
        ),
        (
            "DELETE",
            "/rm",
            json,
            r#"{"n":0}"#,
            400,
            "from 1 to 3 replicas can be removed",
        ),
        (
            "DELETE",
            "/rm",
            json,
            r#"{"n":1,"hostnames":["S9"]}"#,
            404,
            "there is no replica S9",
        ),
        (
            "POST",
            "/add",
            json,
            r#"{"n":1,"hostnames":["server1"]}"#,
            409,
            "DNS cannot tell server1 from Server1",
        ),
        (
            "POST",
            "/add",
            json,
            r#"{"n":1,"hostnames":["localhost"]}"#,
            400,
            "DNS takes it for the machine that asks",
        ),
        (
            "POST",
            "/add",
            json,
            r#"{"n":"two"}"#,
            400,
            "expected a whole number, not negative",
        ),
        (
            "DELETE",
            "/rm",
            json,
            r#"{"n":2,"hostnames":["Server1","Server1"]}"#,
            400,
            "named twice",
        ),
        (
            "POST",
            "/add",
            json,
            r#"{"n":0}"#,
            400,
            "from 1 to 1021 replicas can be added",
        ),
        (
            "POST",
            "/add",
            json,
            r#"{"n":5000}"#,
            400,
            "from 1 to 1021 replicas can be added",
        ),
        (
            "POST",
            "/add",
            json,
            r#"{"n":-1}"#,
            400,
            "invalid value: integer `-1`",
        ),
        (
            "POST",
            "/add",
            json,
            r#"{"n":1.5}"#,
            400,
            "invalid type: number `1.5`, expected a whole number",
        ),
        (
            "POST",
            "/add",
            json,
            r#"{"n":1e99}"#,
            400,
            "expected a whole number",
        ),
        ("POST", "/add", json, r#"{}"#, 400, "missing field `n`"),
        (
            "POST",
            "/add",
            json,
            r#"{"n":1,"hostname":["S4"]}"#,
            400,
            "unknown field `hostname`",
        ),
        (
            "POST",
            "/add",
            json,
            r#"{"n":1,"hostnames":"S4"}"#,
            400,
            "invalid type: string",
        ),
        (
            "POST",
            "/add",
            json,
            r#"{"n":1,"hostnames":["Server1"]}"#,
            409,
            "Server1 exists already",
        ),
        (
            "POST",
            "/add",
            json,
            r#"{"n":2,"hostnames":["a","a"]}"#,
            400,
            "a is named twice",
        ),
        (
            "POST",
            "/add",
            json,
            r#"{"n":1,"hostnames":["a/../b"]}"#,
            400,
            "not a replica name",
        ),
        (
            "POST",
            "/add",
            json,
            r#"{"n":1,"hostnames":[""]}"#,
            400,
            "not a replica name",
        ),
        ("POST", "/add", json, "not json", 400, "expected"),
        ("POST", "/add", json, "", 400, "EOF"),
        ("POST", "/add", json, &large, 413, "larger than"),
        (
            "POST",
            "/add",
            "text/plain",
            r#"{"n":1}"#,
            415,
            "application/json",
        ),
        (
            "POST",
            "/add",
            "application/x-www-form-urlencoded",
            "n=1",
            415,
            "application/json",
        ),
        ("POST", "/add", "", r#"{"n":1}"#, 415, "application/json"),
        ("GET", "/add", "", "", 405, "allowed is POST"),
        ("POST", "/rm", json, r#"{"n":1}"#, 405, "allowed is DELETE"),
        ("DELETE", "/rep", "", "", 405, "allowed is GET"),
    ];
    for &(method, path, content_type, body, status, part) in cases {
        let story = format!(
            "{method} {path} {content_type:?} {}",
            &body[..body.len().min(60)]
        );
        let method: Method = method.parse().unwrap();
        let mut request = client().request(method, balancer.url(path));
        if !content_type.is_empty() {
            request = request.insert_header(("Content-Type", content_type));
        }
        let mut response = request.send_body(body.to_owned()).await.unwrap();
        assert_eq!(response.status().as_u16(), status, "{story}");
        if status == 405 {
            assert!(response.headers().contains_key("allow"), "{story}");
        }
        let reply: Value = response.json().await.unwrap();
        assert_eq!(reply["status"], "failure", "{story}");
        let message = reply["message"].as_str().unwrap();
        assert!(
            message.starts_with("<Error> ") && message.contains(part),
            "{story}: {message}"
        );
    }
    assert_eq!(balancer.replicas().await, ["Server1", "Server2", "Server3"]);
    assert_eq!(balancer.children(), children);
}

#[actix_web::test]
async fn add_that_cannot_start_names_the_replica_and_leaves_none() {
    // Serves unless it is called Bad.
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("app.sh");
    let program = env!("CARGO_BIN_EXE_ringmaster");
    std::fs::write(
        &script,
        format!(
            "test \"$SERVER_ID\" = Bad && exit 7\nexec {program} replica --listen 127.0.0.1:$PORT\n"
        ),
    )
    .unwrap();
    let command = format!("sh {}", script.display());
    let balancer = Ringmaster::ready(&["--command", &command, "--replicas", "2"]).await;
    let reply = balancer
        .add(json!({"n": 3, "hostnames": ["Good", "Bad"]}))
        .await;
    assert_eq!(reply.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(
        reply.message(),
        "<Error> cannot start Bad: exited with code 7"
    );
    assert_eq!(balancer.replicas().await, ["Server1", "Server2"]);
    assert_eq!(balancer.children().len(), 2);
    // The name of the good one is free again.
    let names = balancer
        .add(json!({"n": 1, "hostnames": ["Good"]}))
        .await
        .names();
    assert_eq!(names, ["Server1", "Server2", "Good"]);
}

#[actix_web::test]
async fn concurrent_changes_add_up() {
    let balancer = Ringmaster::ready(&["--replicas", "2"]).await;
    let calls = (0..6).map(|i| {
        let url = balancer.url(if i % 2 == 0 { "/add" } else { "/rm" });
        async move {
            let (method, body) = if i % 2 == 0 {
                (Method::POST, json!({"n": 2}))
            } else {
                (Method::DELETE, json!({"n": 1}))
            };
            let reply = ask(method, &url, Some(body)).await;
            let change = if i % 2 == 0 { 2 } else { -1 };
            if reply.status == StatusCode::OK {
                change
            } else {
                0
            }
        }
    });
    let changes: i32 = futures::future::join_all(calls).await.into_iter().sum();
    let replicas = balancer.replicas().await;
    assert_eq!(replicas.len() as i32, 2 + changes);
    eventually("as many processes as replicas", || async {
        balancer.children().len() == replicas.len()
    })
    .await;
}

#[actix_web::test]
async fn rm_waits_for_requests_in_flight() {
    let balancer = Ringmaster::ready(&["--replicas", "2"]).await;
    let fleet = balancer.status_url().await;
    let slow: Vec<_> = (0..10)
        .map(|_| {
            let url = balancer.url("/slow?ms=2000");
            actix_web::rt::spawn(async move { get(&url).await.status })
        })
        .collect();
    eventually("ten requests with the replicas", || async {
        let replicas = get(&fleet).await.body["replicas"].clone();
        let in_flight = replicas.as_array().unwrap().iter();
        let in_flight = in_flight.map(|one| one["in_flight"].as_u64().unwrap());
        in_flight.sum::<u64>() == 10
    })
    .await;
    let names = balancer
        .rm(json!({"n": 1, "hostnames": ["Server1"]}))
        .await
        .names();
    assert_eq!(names, ["Server2"]);
    for request in slow {
        let status = tokio::time::timeout(MAX_WAIT, request)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(status, StatusCode::OK);
    }
}

#[actix_web::test]
async fn add_that_fails_reports_the_output_of_the_replica() {
    let command = format!(
        "sh -c 'case $SERVER_ID in S9) echo no database at db:5432 >&2; exit 3;; S8) echo done; exit 0;; esac; \
         exec {} replica --listen 127.0.0.1:{{port}}'",
        env!("CARGO_BIN_EXE_ringmaster")
    );
    let balancer = Ringmaster::ready(&["--replicas", "1", "--command", &command]).await;
    for (name, told) in [
        (
            "S9",
            "cannot start S9: exited with code 3; it printed: \"no database at db:5432\"",
        ),
        (
            "S8",
            "cannot start S8: exited with code 0; it printed: \"done\"; a replica has to stay",
        ),
    ] {
        let answer = balancer.add(json!({"n": 1, "hostnames": [name]})).await;
        assert!(answer.message().contains(told), "{}", answer.message());
    }
    assert_eq!(balancer.replicas().await, ["Server1"]);
}

#[actix_web::test]
async fn add_survives_lost_ports() {
    let folder = tempfile::tempdir().unwrap();
    // At its first start a newcomer tells its port, and goes on once that has been taken.
    let command = format!(
        "sh -c 'f={folder}/$SERVER_ID; \
         case $SERVER_ID in Server1) ;; *) if mkdir $f.d 2>/dev/null; then \
         echo {{port}} > $f.new; mv $f.new $f.port; \
         while ! test -e $f.taken; do sleep 0.02; done; fi;; esac; \
         exec {program} replica --listen 127.0.0.1:{{port}} --id {{name}}'",
        folder = folder.path().display(),
        program = env!("CARGO_BIN_EXE_ringmaster")
    );
    let balancer = Ringmaster::ready(&["--replicas", "1", "--command", &command]).await;
    let names = ["S4", "S5", "S6"];
    let url = balancer.url("/add");
    let body = json!({"n": 3, "hostnames": names});
    let adding =
        actix_web::rt::spawn(
            async move { crate::support::ask(Method::POST, &url, Some(body)).await },
        );
    let mut holders = Vec::new();
    for name in names {
        let file = folder.path().join(format!("{name}.port"));
        eventually("the newcomer tells its port", || async { file.exists() }).await;
        let port = std::fs::read_to_string(&file).unwrap();
        let port: u16 = port.trim().parse().unwrap();
        holders.push(std::net::TcpListener::bind(("127.0.0.1", port)).unwrap());
        std::fs::write(folder.path().join(format!("{name}.taken")), "").unwrap();
    }
    let names = adding.await.unwrap().names();
    assert_eq!(names, ["Server1", "S4", "S5", "S6"]);
    balancer
        .has_logged("another program has taken port", 3)
        .await;
    assert_eq!(balancer.count_in_log("is evicted"), 0);
}
