//! What is known of a replica that has died.

use awc::http::Method;
use awc::http::StatusCode;
use serde_json::json;

use crate::support::{Ringmaster, eventually, get, signal};

#[actix_web::test]
async fn death_leaves_a_post_mortem_file() {
    let command = format!(
        "sh -c 'echo hello from $SERVER_ID; echo on port {{port}} >&2; exec {} replica --listen 127.0.0.1:{{port}}'",
        env!("CARGO_BIN_EXE_ringmaster")
    );
    let args = [
        "--admin",
        "127.0.0.1:0",
        "--command",
        &command,
        "--hang-timeout",
        "100ms",
    ];
    let balancer = Ringmaster::ready(&args).await;
    eventually("the start-up text", || async {
        balancer.text().contains("stop ")
    })
    .await;
    let url = admin_url(&balancer, "/deaths").await;
    let url = url.as_str();
    // There may be others, which lost the race for a port.
    let death_by = |detected_by: &'static str| async move {
        let all = get(url).await.body;
        let all = all["items"].as_array().unwrap();
        all.iter()
            .find(|d| d["detected_by"] == detected_by)
            .cloned()
    };
    assert_eq!(death_by("killed by signal 9").await, None);

    signal(balancer.child("Server1"), "KILL");
    eventually("told", || async {
        let log = balancer.log();
        let mut told = log
            .lines()
            .filter(|line| line.contains("post-mortem: Server1"));
        told.any(|line| line.contains("died: killed by signal 9; requests in flight: 0; last line"))
    })
    .await;
    let death = death_by("killed by signal 9").await.unwrap();
    assert_eq!(death["replica"], "Server1");
    assert_eq!(death["cause"], "killed by signal 9");
    assert_eq!(death["signal"], 9);
    assert_eq!(death["exit_code"], json!(null));
    assert_eq!(death["out_of_memory"], false);
    assert_eq!(death["in_flight"], 0);
    assert_eq!(death["log"][0], "hello from Server1");
    assert!(death["log"][1].as_str().unwrap().starts_with("on port "));
    let beats = death["heartbeats"].as_array().unwrap();
    // The last one may have found it dying.
    let is_good = |beat: &serde_json::Value| beat["error"].is_null();
    assert!(beats.iter().any(is_good), "{death}");
    assert!(death["at"].as_str().unwrap().ends_with('Z'), "{death}");

    signal(balancer.child("Server2"), "STOP");
    eventually("told", || async {
        let log = balancer.log();
        let mut told = log
            .lines()
            .filter(|line| line.contains("post-mortem: Server2"));
        told.any(|line| line.contains("died: no answer to heartbeats"))
    })
    .await;
    let death = death_by("no answer to heartbeats").await.unwrap();
    assert_eq!(death["replica"], "Server2");
    // Only our signal.
    assert_eq!(death["signal"], json!(null));
    let beats = death["heartbeats"].as_array().unwrap();
    let missed = beats.iter().rev().take_while(|b| !b["error"].is_null());
    assert!(missed.count() >= 3, "{death}");
    assert_eq!(death["log"][0], "hello from Server2");
}

/// A replica that closes its listener when it is asked for /die, and is killed a moment later:
/// as long as that takes, a busy kernel takes to report a process that has ended. That is half of the time
/// for which the balancer waits for the report: as much is left for a busy machine.
const DIES_SLOWLY: &str = r#"
import http.server, os, sys, threading, time
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()
        if self.path == "/die":
            self.close_connection = True
            threading.Thread(target=die).start()
    def log_message(self, *args):
        pass
def die():
    server.socket.close()
    time.sleep(0.25)
    os.kill(os.getpid(), 9)
server = http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
server.serve_forever()
"#;

#[actix_web::test]
async fn death_noticed_by_a_request_names_its_signal() {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("dies.py");
    std::fs::write(&script, DIES_SLOWLY).unwrap();
    let command = format!("python3 {} {{port}}", script.display());
    let args = ["--admin", "127.0.0.1:0", "--replicas", "1"];
    let args = [&args[..], &["--command", &command]].concat();
    let balancer = Ringmaster::ready(&args).await;
    let url = admin_url(&balancer, "/deaths").await;
    assert_eq!(get(&balancer.url("/die")).await.status, StatusCode::OK);
    // It is asked again and again, until it refuses.
    eventually("a request finds it out", || async {
        let asked = get(&balancer.url("/home")).await;
        assert_eq!(asked.status, StatusCode::OK, "{}", balancer.log());
        balancer.count_in_log("Server1 (generation 1) is evicted") == 1
    })
    .await;
    eventually("its record is complete", || async {
        balancer.count_in_log("post-mortem: Server1 (generation 1)") == 1
    })
    .await;
    let death = get(&url).await.body["items"][0].clone();
    assert_eq!(death["detected_by"], "refuses connections", "{death}");
    assert_eq!(death["cause"], "killed by signal 9", "{death}");
    assert_eq!(death["signal"], 9, "{death}");
}

#[actix_web::test]
async fn post_mortem_names_the_requests_that_the_replica_had() {
    let args = ["--admin", "127.0.0.1:0", "--replicas", "2"];
    let balancer = Ringmaster::ready(&[&args[..], &["--key", "header:x-user"]].concat()).await;
    let url = admin_url(&balancer, "/deaths").await;
    let status = balancer.status_url().await;
    let ask = |method: Method, path: &str| {
        let url = balancer.url(path);
        actix_web::rt::spawn(async move {
            let request = crate::support::client().request(method, url);
            let request = request.insert_header(("x-user", "ada"));
            let request = request.insert_header(("x-request-id", "4711"));
            request.send().await.unwrap()
        })
    };
    let mut home = ask(Method::GET, "/home").await.unwrap();
    let home: serde_json::Value = home.json().await.unwrap();
    let number = home["message"].as_str().unwrap().rsplit(' ').next();
    let pid = balancer.child(&format!("Server{}", number.unwrap()));
    let in_flight = || async {
        let status = get(&status).await.body;
        let replicas = status["replicas"].as_array().unwrap();
        let in_flight = replicas
            .iter()
            .map(|r| r["in_flight"].as_u64().unwrap_or(0));
        in_flight.sum::<u64>()
    };
    eventually("the first has ended", || async { in_flight().await == 0 }).await;
    signal(pid, "STOP");
    let get_one = ask(Method::GET, "/home?secret=1");
    let post_one = ask(Method::POST, "/echo");
    eventually("both are in flight", || async { in_flight().await == 2 }).await;
    signal(pid, "KILL");
    assert_eq!(get_one.await.unwrap().status(), StatusCode::OK);
    assert_eq!(post_one.await.unwrap().status(), StatusCode::BAD_GATEWAY);
    eventually("the death is told", || async {
        balancer.count_in_log("post-mortem: ") == 1
    })
    .await;
    let death = get(&url).await.body["items"][0].clone();
    assert_eq!(death["in_flight"], 2, "{death}");
    let requests = death["requests"].as_array().unwrap();
    let mut told: Vec<_> = requests
        .iter()
        .map(|request| {
            assert!(request["elapsed_ms"].as_u64().is_some(), "{request}");
            ["method", "path", "id", "outcome"].map(|key| request[key].as_str().unwrap())
        })
        .collect();
    told.sort_unstable();
    let expected = [
        ["GET", "/home", "4711", "retried"],
        ["POST", "/echo", "4711", "failed"],
    ];
    assert_eq!(told, expected, "{death}");
    assert_eq!(balancer.count_in_log(" (id 4711) among them"), 1);
}

/// An address of the fleet on the admin listener.
async fn admin_url(balancer: &Ringmaster, path: &str) -> String {
    format!("{}{path}", balancer.status_url().await)
}
