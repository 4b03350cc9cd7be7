//! `GET /metrics`: what it shows, what promtool and Prometheus say of it, and that dashboard,
//! alerts and documentation name what is there.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use awc::http::header::{ACCEPT, CONTENT_TYPE};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::Command;

use crate::support::{Load, Ringmaster, client, eventually, free_port, get, signal};

/// A scrape, parsed.
#[derive(Debug, Default)]
struct Exposition {
    types: BTreeMap<String, String>,
    samples: BTreeMap<String, f64>,
}

impl Exposition {
    /// Parses Prometheus's text format; panics where it is not in order.
    fn parse(text: &str) -> Self {
        let mut parsed = Self::default();
        let (mut family, mut helped) = (String::new(), String::new());
        for line in text.lines() {
            if let Some(help) = line.strip_prefix("# HELP ") {
                let (name, help) = help.split_once(' ').unwrap();
                assert!(help.ends_with('.'), "{line}");
                helped = name.to_owned();
            } else if let Some(kind) = line.strip_prefix("# TYPE ") {
                let (name, kind) = kind.split_once(' ').unwrap();
                assert_eq!(name, helped, "HELP comes first");
                family = name.to_owned();
                let before = parsed.types.insert(family.clone(), kind.to_owned());
                assert_eq!(before, None, "two families: {line}");
            } else {
                let (series, value) = line.rsplit_once(' ').unwrap();
                let name = series.split('{').next().unwrap();
                let suffixes: &[&str] = match parsed.types[&family].as_str() {
                    "histogram" => &["_bucket", "_sum", "_count"],
                    _ => &[""],
                };
                let fits = |suffix: &&str| name == format!("{family}{suffix}");
                assert!(suffixes.iter().any(fits), "{name} among {family}");
                let value = value.parse().unwrap();
                let before = parsed.samples.insert(series.to_owned(), value);
                assert_eq!(before, None, "two samples: {line}");
            }
        }
        parsed
    }

    /// The sum of the samples of a metric that have these labels.
    fn sum(&self, name: &str, labels: &[&str]) -> f64 {
        let of_name = |series: &str| series.split('{').next() == Some(name);
        let samples = self.samples.iter();
        let samples = samples.filter(|(series, _)| of_name(series));
        let labelled = samples.filter(|(s, _)| labels.iter().all(|label| s.contains(label)));
        labelled.map(|(_, value)| value).sum()
    }

    /// Every name that a query can have.
    fn names(&self) -> BTreeSet<String> {
        let of_family = |(name, kind): (&String, &String)| match kind.as_str() {
            "histogram" => ["", "_bucket", "_sum", "_count"]
                .map(|s| format!("{name}{s}"))
                .to_vec(),
            _ => vec![name.clone()],
        };
        self.types.iter().flat_map(of_family).collect()
    }
}

async fn text_of(admin: &str, accept: &str) -> (String, String) {
    let asked = client().get(format!("{admin}/metrics"));
    let mut response = asked.insert_header((ACCEPT, accept)).send().await.unwrap();
    assert_eq!(response.status(), 200);
    let content_type = response.headers().get(CONTENT_TYPE).unwrap();
    let content_type = content_type.to_str().unwrap().to_owned();
    let body = response.body().limit(10_000_000).await.unwrap();
    (content_type, String::from_utf8(body.to_vec()).unwrap())
}

async fn scrape(admin: &str) -> Exposition {
    let (content_type, text) = text_of(admin, "text/plain").await;
    assert!(
        content_type.starts_with("text/plain; version=0.0.4"),
        "{content_type}"
    );
    Exposition::parse(&text)
}

async fn start() -> (Ringmaster, String) {
    let balancer = Ringmaster::ready(&["--admin", "127.0.0.1:0"]).await;
    let admin = balancer.admin_url().await;
    (balancer, admin)
}

fn file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The metrics that a text names.
fn named_in(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let is_metric = |word: &&str| word.starts_with("ringmaster_") || word.starts_with("process_");
    words.filter(is_metric).map(str::to_owned).collect()
}

#[actix_web::test]
async fn metrics_have_requests_replicas_ring_and_process() {
    let (balancer, admin) = start().await;
    for _ in 0..10 {
        get(&balancer.url("/home")).await;
    }
    signal(balancer.child("Server2"), "KILL");
    eventually("healed", || async {
        let metrics = scrape(&admin).await;
        // The first sign of the death may be a connection that it refuses.
        let dead = ["replica=\"Server2\""];
        metrics.sum("ringmaster_replica_restarts_total", &dead) == 1.0
            && metrics.sum("ringmaster_replica_up", &[]) == 3.0
            && metrics.sum("ringmaster_replica_state", &["state=\"ready\""]) == 3.0
            // A death is counted before its instance is evicted.
            && metrics.sum("ringmaster_replica_generation", &dead) == 2.0
    })
    .await;
    let metrics = scrape(&admin).await;
    let good = ["fleet=\"default\"", "code=\"2xx\"", "method=\"GET\""];
    assert_eq!(metrics.sum("ringmaster_requests_total", &good), 10.0);
    assert_eq!(metrics.sum("ringmaster_requests_total", &[]), 10.0);
    for histogram in [
        "ringmaster_request_duration_seconds",
        "ringmaster_upstream_request_duration_seconds",
    ] {
        let count = metrics.sum(&format!("{histogram}_count"), &[]);
        let within = metrics.sum(&format!("{histogram}_bucket"), &["le=\"+Inf\""]);
        assert_eq!((count, within), (10.0, 10.0), "{histogram}");
        assert!(metrics.sum(&format!("{histogram}_sum"), &[]) > 0.0);
    }
    for (name, labels, expected) in [
        (
            "ringmaster_replica_generation",
            &["replica=\"Server2\""][..],
            2.0,
        ),
        ("ringmaster_replica_state", &["state=\"ready\""], 3.0),
        ("ringmaster_replica_state", &["state=\"hung\""], 0.0),
        (
            "ringmaster_replica_replacement_duration_seconds_count",
            &[],
            1.0,
        ),
        ("ringmaster_rejected_requests_total", &[], 0.0),
        ("ringmaster_runtime_up", &["runtime=\"process\""], 1.0),
        ("ringmaster_build_info", &["version="], 1.0),
        ("ringmaster_log_lines_dropped_total", &[], 0.0),
    ] {
        assert_eq!(metrics.sum(name, labels), expected, "{name}");
    }
    let shares = metrics.sum("ringmaster_ring_ownership_ratio", &[]);
    assert!((shares - 1.0).abs() < 1e-9, "{shares}");
    for name in [
        "ringmaster_upstream_connects_total",
        "ringmaster_heartbeats_total",
        "ringmaster_client_connections_accepted_total",
        "ringmaster_client_received_bytes_total",
        "ringmaster_client_sent_bytes_total",
        "process_cpu_seconds_total",
        "process_start_time_seconds",
        "process_resident_memory_bytes",
        "process_open_fds",
    ] {
        assert!(metrics.sum(name, &[]) > 0.0, "{name}");
    }
    // Units are base units, and only replicas make series without bound.
    for (name, kind) in &metrics.types {
        assert_eq!(kind == "counter", name.ends_with("_total"), "{name}");
        let is_odd = |unit: &&str| name.contains(unit);
        let odd = ["millis", "micros", "percent", "kilo", "_ms"]
            .iter()
            .find(|u| is_odd(u));
        assert_eq!(odd, None, "{name}");
    }
    let fleetless = metrics
        .samples
        .keys()
        .filter(|s| !s.contains("fleet=\"default\""));
    let fleetless: BTreeSet<&str> = fleetless.filter_map(|s| s.split('{').next()).collect();
    for name in fleetless {
        let is_the_balancers = [
            "ringmaster_build",
            "ringmaster_client",
            "ringmaster_log",
            "process_",
        ];
        assert!(
            is_the_balancers.iter().any(|start| name.starts_with(start)),
            "{name}"
        );
    }
}

#[actix_web::test]
async fn unserved_request_counts_as_rejected_by_its_reason() {
    let args = [
        "--upstream",
        "127.0.0.1:9",
        "--wait-timeout",
        "10ms",
        "--admin",
        "127.0.0.1:0",
    ];
    let balancer = Ringmaster::start(&args);
    let admin = balancer.admin_url().await;
    get(&balancer.url("/home")).await;
    let metrics = scrape(&admin).await;
    let reason = ["reason=\"no_replica_ready\""];
    assert_eq!(
        metrics.sum("ringmaster_rejected_requests_total", &reason),
        1.0
    );
    let own = ["replica=\"\"", "code=\"5xx\"", "method=\"GET\""];
    assert_eq!(metrics.sum("ringmaster_requests_total", &own), 1.0);
    assert_eq!(
        metrics.sum("ringmaster_timeouts_total", &["kind=\"queue\""]),
        1.0
    );
    assert_eq!(metrics.sum("ringmaster_replica_up", &[]), 0.0);
}

#[actix_web::test]
async fn malformed_request_counts_as_refused() {
    let (balancer, admin) = start().await;
    let mut client = TcpStream::connect(balancer.address()).await.unwrap();
    client.write_all(b"no request\r\n\r\n").await.unwrap();
    let mut response = Vec::new();
    client.read_to_end(&mut response).await.unwrap();
    assert!(response.starts_with(b"HTTP/1.1 400 "));
    let metrics = scrape(&admin).await;
    let malformed = ["reason=\"malformed\""];
    assert_eq!(
        metrics.sum("ringmaster_client_refusals_total", &malformed),
        1.0
    );
    assert_eq!(metrics.sum("ringmaster_requests_received_total", &[]), 0.0);
}

#[actix_web::test]
async fn openmetrics_is_sent_to_those_that_accept_it() {
    let (_balancer, admin) = start().await;
    let accept = "application/openmetrics-text;version=1.0.0,text/plain;q=0.5";
    let (content_type, text) = text_of(&admin, accept).await;
    assert!(
        content_type.starts_with("application/openmetrics-text"),
        "{content_type}"
    );
    assert!(text.ends_with("# EOF\n"));
    assert!(
        text.contains("# UNIT ringmaster_request_duration_seconds seconds"),
        "{text}"
    );
}

#[actix_web::test]
async fn dashboard_alerts_and_documentation_name_existing_metrics() {
    // Some are there only with their options.
    let scaling = ["--target-in-flight", "1000", "--max-replicas", "3"];
    let args = [&["--admin", "127.0.0.1:0", "--spares", "1"], &scaling[..]].concat();
    let balancer = Ringmaster::ready(&args).await;
    let admin = balancer.admin_url().await;
    let metrics = scrape(&admin).await;
    let names = metrics.names();
    let dashboard = std::fs::read_to_string(file("docker/monitoring/grafana/ringmaster.json"));
    let dashboard = dashboard.unwrap();
    let parsed: Value = serde_json::from_str(&dashboard).unwrap();
    let panels = parsed["panels"].as_array().unwrap();
    let targets = panels
        .iter()
        .filter_map(|panel| panel["targets"].as_array());
    assert!(targets.flatten().all(|target| target["expr"].is_string()));
    let read = |path| std::fs::read_to_string(file(path)).unwrap();
    let alerts = read("docker/monitoring/alerts.yml");
    let documentation = read("docs/monitoring.md");
    for (text, at_least) in [(&dashboard, 20), (&alerts, 8), (&documentation, 20)] {
        let named = named_in(text);
        assert!(named.len() >= at_least, "{named:?}");
        // Only a fleet on a Swarm has nodes.
        let is_known =
            |name: &&String| names.contains(*name) || **name == "ringmaster_replica_node";
        let unknown: Vec<_> = named.iter().filter(|name| !is_known(name)).collect();
        assert!(unknown.is_empty(), "{unknown:?}");
    }
    let documented = named_in(&documentation);
    let families: BTreeSet<String> = metrics.types.into_keys().collect();
    let missing: Vec<_> = families.difference(&documented).collect();
    assert!(missing.is_empty(), "docs/monitoring.md lacks {missing:?}");
}

/// Whether a program of Debian's package `prometheus` is there.
async fn has(program: &str) -> bool {
    let mut command = Command::new(program);
    let there = command.arg("--version").output().await.is_ok();
    if !there {
        let missing = format!("{program} is missing (Debian: prometheus)");
        assert!(std::env::var_os("CI").is_none(), "{missing}");
        eprintln!("SKIPPED: {missing}");
    }
    there
}

/// Has promtool check something; what it complains about.
async fn promtool(args: &[&str], input: &str) -> String {
    let mut promtool = Command::new("promtool");
    let promtool = promtool.args(args).current_dir(file("docker/monitoring"));
    let promtool = promtool
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut promtool = promtool.spawn().unwrap();
    let mut stdin = promtool.stdin.take().unwrap();
    stdin.write_all(input.as_bytes()).await.unwrap();
    drop(stdin);
    let output = promtool.wait_with_output().await.unwrap();
    match output.status.success() {
        true => String::new(),
        false => {
            String::from_utf8_lossy(&output.stdout).into_owned()
                + &String::from_utf8_lossy(&output.stderr)
        }
    }
}

#[actix_web::test]
async fn promtool_accepts_metrics_configuration_and_alerts() {
    if !has("promtool").await {
        return;
    }
    let (balancer, admin) = start().await;
    get(&balancer.url("/home")).await;
    let (_, text) = text_of(&admin, "text/plain").await;
    for (args, input) in [
        (&["check", "metrics"][..], text.as_str()),
        (&["check", "config", "prometheus.yml"], ""),
        (&["test", "rules", "alerts_test.yml"], ""),
    ] {
        assert_eq!(promtool(args, input).await, "", "promtool {args:?}");
    }
}

/// The value of a query, if it has one.
async fn query(prometheus: &str, query: &str) -> Option<f64> {
    let asked = client().get(format!("{prometheus}/api/v1/query"));
    let asked = asked.query(&[("query", query)]).ok()?;
    let mut response = asked.send().await.ok()?;
    let answer: Value = serde_json::from_slice(&response.body().await.ok()?).ok()?;
    let value = answer["data"]["result"][0]["value"][1].as_str()?;
    value.parse().ok()
}

#[actix_web::test]
#[ignore = "it waits for many scrapes"]
async fn prometheus_answers_queries_over_a_fleet_under_load() {
    if !has("prometheus").await {
        return;
    }
    let (balancer, admin) = start().await;
    let folder = tempfile::tempdir().unwrap();
    let target = admin.strip_prefix("http://").unwrap();
    let configuration = std::fs::read_to_string(file("docker/monitoring/prometheus.yml")).unwrap();
    let configuration = configuration
        .replace("127.0.0.1:5001", target)
        .replace("_interval: 5s", "_interval: 1s");
    std::fs::write(folder.path().join("prometheus.yml"), configuration).unwrap();
    let alerts = file("docker/monitoring/alerts.yml");
    std::fs::copy(alerts, folder.path().join("alerts.yml")).unwrap();
    let address = format!("127.0.0.1:{}", free_port());
    let _prometheus = Command::new("prometheus")
        .arg("--config.file=prometheus.yml")
        .arg("--storage.tsdb.path=data")
        .arg(format!("--web.listen-address={address}"))
        .current_dir(folder.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let prometheus = format!("http://{address}");
    let ask = |text: &'static str| query(&prometheus, text);

    let load = Load::start(&balancer.url("/home"), 4);
    eventually("a rate, latencies and replicas", || async {
        let rate = ask("sum(rate(ringmaster_requests_total{code=\"2xx\"}[10s]))").await;
        let p99 = ask(
            "histogram_quantile(0.99, sum by (le) (rate(ringmaster_request_duration_seconds_bucket[10s])))",
        );
        let p99 = p99.await.unwrap_or(f64::NAN);
        rate > Some(10.0)
            && p99 > 0.0
            && p99 < 60.0
            && ask("sum(ringmaster_replica_up)").await == Some(3.0)
            && ask("count(rate(ringmaster_requests_total[10s]) > 0)").await >= Some(3.0)
    })
    .await;
    signal(balancer.child("Server2"), "KILL");
    eventually("the death and the new instance", || async {
        // The first sign of the death may be a connection that it refuses.
        ask("sum by (replica) (ringmaster_replica_restarts_total > 0)").await == Some(1.0)
            && ask("ringmaster_replica_generation{replica=\"Server2\"}").await == Some(2.0)
            && ask("sum(ringmaster_replica_up)").await == Some(3.0)
    })
    .await;
    let result = load.stop().await;
    let answered = result.good as f64;
    eventually("every request counted", || async {
        ask("sum(ringmaster_requests_total)").await >= Some(answered)
    })
    .await;
    assert_eq!(ask("sum(up)").await, Some(1.0));
    assert_eq!(
        ask("count(ALERTS{alertname=\"RingmasterDown\"})").await,
        None
    );
}
