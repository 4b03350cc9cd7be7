//! Which clients of a balancer in a container may change its replicas.

use std::net::IpAddr;

use super::*;
use crate::docker::{IN_IMAGE, quietly, request, sweep, test_image};

/// Set in containers alone: there this test program asks a balancer at this address.
const CLIENT_MARK: &str = "RINGMASTER_TEST_CLIENT";

const ADD: &str = r#"{"n":1}"#;

/// Not a test: what a client in a container runs.
#[test]
fn client_entrypoint() {
    let Ok(address) = std::env::var(CLIENT_MARK) else {
        return;
    };
    match request(address.parse().unwrap(), "POST", "/add", ADD) {
        Ok((status, _)) => println!("<{status}>"),
        Err(error) => println!("<{error}>"),
    }
}

/// A balancer in a container on a network of its own, which may ask the engine.
struct Contained {
    name: String,
}

impl Contained {
    async fn start(name: &str, published_on: &str) -> Self {
        let name = format!("rmtest-{}-{name}", std::process::id());
        let this = Self { name };
        let name = this.name.as_str();
        cli(&["network", "create", name]);
        cli(&[
            "create",
            "--name",
            name,
            "--label",
            name,
            "--network",
            name,
            "--publish",
            &format!("{published_on}::5000"),
            "--volume",
            "/var/run/docker.sock:/var/run/docker.sock",
            test_image(),
            "/ringmaster",
            "--listen",
            "0.0.0.0:5000",
            "--replicas",
            "1",
        ]);
        let program = env!("CARGO_BIN_EXE_ringmaster");
        cli(&["cp", program, &format!("{name}:/ringmaster")]);
        // The image has the libraries of its own programs only.
        let listed = std::process::Command::new("ldd").arg(program).output();
        let listed = String::from_utf8(listed.unwrap().stdout).unwrap();
        let words = listed.split_whitespace();
        for library in words.filter(|word| word.starts_with('/')) {
            cli(&["cp", "-L", library, &format!("{name}:{library}")]);
        }
        cli(&["start", name]);
        until("the balancer serves", || this.log().contains("is ready at")).await;
        this
    }

    fn log(&self) -> String {
        let output = std::process::Command::new("docker")
            .args(["logs", &self.name])
            .output()
            .unwrap();
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    }

    fn port(&self) -> u16 {
        let port = cli(&["port", &self.name, "5000/tcp"]);
        let (_, port) = port.lines().next().unwrap().rsplit_once(':').unwrap();
        port.parse().unwrap()
    }

    fn network(&self, field: &str) -> IpAddr {
        let found = inspect(&self.name);
        let network = &found["NetworkSettings"]["Networks"][&self.name];
        network[field].as_str().unwrap().parse().unwrap()
    }

    fn gateway(&self) -> SocketAddr {
        (self.network("Gateway"), self.port()).into()
    }

    fn own_address(&self) -> SocketAddr {
        (self.network("IPAddress"), 5000).into()
    }

    /// The status of `POST /add` from a container on a network.
    fn asked_from(&self, network: &str, address: SocketAddr) -> String {
        let said = cli(&[
            "run",
            "--rm",
            "--label",
            &self.name,
            "--network",
            network,
            "--env",
            &format!("{CLIENT_MARK}={address}"),
            test_image(),
            IN_IMAGE,
            "--exact",
            "runtime::admin_calls::client_entrypoint",
            "--nocapture",
        ]);
        let (_, rest) = said.split_once('<').unwrap();
        rest.split_once('>').unwrap().0.to_owned()
    }

    fn asked_from_host(&self) -> u16 {
        let address = SocketAddr::from(([127, 0, 0, 1], self.port()));
        request(address, "POST", "/add", ADD).unwrap().0
    }
}

impl Drop for Contained {
    fn drop(&mut self) {
        sweep(&format!("label={}", self.name));
        quietly(&["network", "rm", &self.name]);
    }
}

#[test]
fn gateway_is_not_trusted_with_a_port_open_to_all() {
    on_engine(|| async {
        let balancer = Contained::start("open", "0.0.0.0").await;
        let own = balancer.name.as_str();
        assert_eq!(balancer.asked_from(own, balancer.gateway()), "403");
        assert_eq!(balancer.asked_from(own, balancer.own_address()), "403");
        assert_eq!(balancer.asked_from_host(), 403);
        let inside = format!("container:{own}");
        let loopback = ([127, 0, 0, 1], 5000).into();
        assert_eq!(balancer.asked_from(&inside, loopback), "200");
        let log = balancer.log();
        let told = log.matches("port 5000 is published on 0.0.0.0, not on loopback alone");
        assert_eq!(told.count(), 1, "{log}");
    });
}

#[test]
fn gateway_is_the_host_with_a_port_on_loopback() {
    on_engine(|| async {
        let balancer = Contained::start("closed", "127.0.0.1").await;
        assert_eq!(balancer.asked_from_host(), 200);
        let own = balancer.name.as_str();
        assert_eq!(balancer.asked_from(own, balancer.own_address()), "403");
        let by_gateway = balancer.asked_from(own, balancer.gateway());
        assert!(by_gateway != "200", "{by_gateway}");
        let log = balancer.log();
        let told = format!(
            "or through the gateway {} only",
            balancer.network("Gateway")
        );
        assert_eq!(log.matches(&told).count(), 1, "{log}");
    });
}
