//! The proxies, each set up as its own documentation advises for this job, and the
//! backends behind them.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::options::Options;

/// A running proxy. It ends when this is dropped.
pub struct Proxy {
    pub name: &'static str,
    pub port: u16,
    process: Process,
}

impl Proxy {
    pub fn pid(&self) -> u32 {
        self.process.0.id()
    }
}

/// A child process that ends with its owner.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // Masters of workers need a signal that they can hand on.
        let pid = rustix::process::Pid::from_child(&self.0);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let until = Instant::now() + Duration::from_secs(3);
        while Instant::now() < until {
            if matches!(self.0.try_wait(), Ok(Some(_))) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a program on one core, and waits until it listens.
fn start(
    core: &str,
    program: &Path,
    args: &[&str],
    port: u16,
    log: &Path,
) -> Result<Process, String> {
    let log = fs::File::create(log).map_err(|e| e.to_string())?;
    let errors = log.try_clone().map_err(|e| e.to_string())?;
    let child = Command::new("taskset")
        .args(["-c", core])
        .arg(program)
        .args(args)
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(errors)
        .spawn()
        .map_err(|e| format!("{}: {e}", program.display()))?;
    let mut process = Process(child);
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let until = Instant::now() + Duration::from_secs(20);
    while TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_err() {
        if Instant::now() > until || matches!(process.0.try_wait(), Ok(Some(_))) {
            return Err(format!("{} does not listen", program.display()));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(process)
}

fn free_ports(count: usize) -> Result<Vec<u16>, String> {
    let held: Result<Vec<_>, _> = (0..count)
        .map(|_| TcpListener::bind("127.0.0.1:0"))
        .collect();
    let held = held.map_err(|e| e.to_string())?;
    let ports: Result<_, _> = held
        .iter()
        .map(|listener| listener.local_addr().map(|address| address.port()))
        .collect();
    ports.map_err(|e| e.to_string())
}

fn write(path: PathBuf, text: &str) -> Result<PathBuf, String> {
    fs::write(&path, text).map_err(|e| format!("{}: {e}", path.display()))?;
    Ok(path)
}

/// The replicas: one nginx that listens on several ports, the fastest server at hand.
pub struct Backends {
    pub ports: Vec<u16>,
    _process: Process,
}

impl Backends {
    pub fn start(folder: &Path, count: usize) -> Result<Self, String> {
        let nginx = which("nginx").ok_or("nginx is missing: run benches/peers/get")?;
        let ports = free_ports(count)?;
        let files = folder.join("files");
        fs::create_dir_all(&files).map_err(|e| e.to_string())?;
        for (name, kib) in [("64k", 64), ("1m", 1024)] {
            fs::write(files.join(name), vec![b'x'; kib * 1024]).map_err(|e| e.to_string())?;
        }
        let listen: String = ports
            .iter()
            .map(|port| format!("listen 127.0.0.1:{port} backlog=16384;\n"))
            .collect();
        let text = r#"{"message":"Hello from Server: 3","status":"successful","pad":"xxxxxx"}"#;
        let config = format!(
            "pid {}/backends.pid; {NGINX}
             sendfile on;
             server {{
               {listen}
               default_type application/json;
               location = / {{ return 200 '{text}'; }}
               location / {{ root {}; }}
             }} }}",
            folder.display(),
            files.display()
        );
        let config = write(folder.join("backends.conf"), &config)?;
        let process = start(
            "1",
            &nginx,
            &["-c", &config.to_string_lossy()],
            ports[0],
            &folder.join("backends.log"),
        )?;
        Ok(Self {
            ports,
            _process: process,
        })
    }
}

const NGINX: &str = "daemon off; worker_processes 1; error_log stderr crit;
worker_rlimit_nofile 65536;
events { worker_connections 32768; }
http { access_log off; keepalive_requests 1000000000; keepalive_timeout 300s;
client_max_body_size 0;";

fn nginx(folder: &Path, port: u16, backends: &[u16]) -> Result<Vec<String>, String> {
    let servers: String = backends
        .iter()
        .map(|port| format!("server 127.0.0.1:{port};\n"))
        .collect();
    let config = format!(
        "pid {}/nginx.pid; {NGINX}
         upstream replicas {{ hash $request_id consistent; {servers} keepalive 1024;
           keepalive_requests 1000000000; }}
         server {{ listen 127.0.0.1:{port} backlog=16384 deferred;
           location / {{ proxy_pass http://replicas; proxy_http_version 1.1;
             proxy_set_header Connection ''; }} }} }}",
        folder.display()
    );
    let config = write(folder.join("nginx.conf"), &config)?;
    Ok(vec!["-c".into(), config.to_string_lossy().into_owned()])
}

fn haproxy(folder: &Path, port: u16, backends: &[u16]) -> Result<Vec<String>, String> {
    let servers: String = backends
        .iter()
        .map(|port| format!("  server s{port} 127.0.0.1:{port}\n"))
        .collect();
    let config = format!(
        "global\n  nbthread 1\n  maxconn 9900\n\
         defaults\n  mode http\n  timeout connect 5s\n  timeout client 300s\n  timeout server 300s\n\
         frontend clients\n  bind 127.0.0.1:{port} backlog 16384 defer-accept\n  default_backend replicas\n\
         backend replicas\n  balance hash rand()\n  hash-type consistent\n  http-reuse always\n{servers}"
    );
    let config = write(folder.join("haproxy.cfg"), &config)?;
    Ok(vec![
        "-db".into(),
        "-f".into(),
        config.to_string_lossy().into_owned(),
    ])
}

fn envoy(folder: &Path, port: u16, backends: &[u16]) -> Result<Vec<String>, String> {
    let endpoints: String = backends
        .iter()
        .map(|port| {
            format!(
                "        - endpoint: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: {port} }} }} }}\n"
            )
        })
        .collect();
    let config = format!(
        "static_resources:
  listeners:
  - name: clients
    address: {{ socket_address: {{ address: 127.0.0.1, port_value: {port} }} }}
    tcp_backlog_size: 16384
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          \"@type\": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: clients
          generate_request_id: true
          route_config:
            virtual_hosts:
            - name: all
              domains: ['*']
              routes:
              - match: {{ prefix: / }}
                route:
                  cluster: replicas
                  hash_policy: [{{ header: {{ header_name: x-request-id }} }}]
          http_filters:
          - name: envoy.filters.http.router
            typed_config:
              \"@type\": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
  clusters:
  - name: replicas
    type: STATIC
    lb_policy: MAGLEV
    circuit_breakers:
      thresholds: [{{ max_connections: 30000, max_pending_requests: 30000, max_requests: 30000 }}]
    load_assignment:
      cluster_name: replicas
      endpoints:
      - lb_endpoints:
{endpoints}"
    );
    let config = write(folder.join("envoy.yaml"), &config)?;
    let config = config.to_string_lossy().into_owned();
    let args = ["--concurrency", "1", "--use-dynamic-base-id", "-l", "error"];
    let args = args.into_iter().map(str::to_owned);
    Ok(args.chain(["-c".to_owned(), config]).collect())
}

fn pingora(_: &Path, port: u16, backends: &[u16]) -> Result<Vec<String>, String> {
    let backends = backends.iter().map(|port| format!("127.0.0.1:{port}"));
    Ok([format!("127.0.0.1:{port}")]
        .into_iter()
        .chain(backends)
        .collect())
}

fn ringmaster(_: &Path, port: u16, backends: &[u16]) -> Result<Vec<String>, String> {
    let mut args = vec![
        "--workers=1".into(),
        format!("--listen=127.0.0.1:{port}"),
        // All of wrk's connections have one address, which is no overload.
        "--max-waiting=16384".into(),
        // By default it uses half of the open files and closes idle connections when short of them.
        "--max-connections=15000".into(),
        // The others have no such limit, either.
        "--max-in-flight=none".into(),
    ];
    // A path that every backend serves.
    args.push("--heartbeat-path=/".into());
    args.extend(
        backends
            .iter()
            .map(|port| format!("--upstream=127.0.0.1:{port}")),
    );
    Ok(args)
}

type Setup = fn(&Path, u16, &[u16]) -> Result<Vec<String>, String>;

/// The proxies: the name, the program, how it is configured.
fn known(folder: &Path, options: &Options) -> Vec<(&'static str, Option<PathBuf>, Setup)> {
    let built = |path: PathBuf| path.canonicalize().ok();
    let envoy_at = folder.join("envoy/bin/envoy");
    let pingora_at = folder.join("pingora/release/bench-pingora");
    [
        (
            "ringmaster",
            built(options.ringmaster.clone()),
            ringmaster as Setup,
        ),
        ("haproxy", which("haproxy"), haproxy),
        ("nginx", which("nginx"), nginx),
        ("envoy", built(envoy_at), envoy),
        ("pingora", built(pingora_at), pingora),
    ]
    .into_iter()
    .filter(|(name, _, _)| options.wants_proxy(name))
    .collect()
}

pub fn start_all(
    folder: &Path,
    backends: &Backends,
    options: &Options,
) -> Result<Vec<Proxy>, String> {
    let mut running = Vec::new();
    for (name, program, setup) in known(folder, options) {
        let Some(program) = program else {
            eprintln!("{name} is not here and left out; benches/peers/get installs it");
            continue;
        };
        let port = free_ports(1)?[0];
        let args = setup(folder, port, &backends.ports)?;
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let log = folder.join(format!("{name}.log"));
        let process = start("0", &program, &args, port, &log)
            .map_err(|e| format!("{e}; see {}", log.display()))?;
        running.push(Proxy {
            name,
            port,
            process,
        });
    }
    Ok(running)
}

/// The proxies, each with its option that prints the version.
pub fn versions(folder: &Path, options: &Options) -> Vec<(&'static str, String)> {
    known(folder, options)
        .into_iter()
        .filter_map(|(name, program, _)| {
            let flag = match name {
                "nginx" | "haproxy" => "-v",
                _ => "--version",
            };
            let output = Command::new(program?).arg(flag).output();
            let said = output.map(|output| [output.stdout, output.stderr].concat());
            Some((
                name,
                version_in(&String::from_utf8_lossy(&said.unwrap_or_default())),
            ))
        })
        .collect()
}

/// The first word that looks like one.
fn version_in(text: &str) -> String {
    text.split([' ', '/', '\n'])
        .find(|word| word.starts_with(|c: char| c.is_ascii_digit()) && word.contains('.'))
        .unwrap_or("of unknown version")
        .to_owned()
}

fn which(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into()])
        .map(|folder| folder.join(program))
        .find(|path| path.is_file())
}
