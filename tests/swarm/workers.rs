//! Balancers on workers, which ask a manager through a proxy that lets only the calls through that SECURITY.md
//! lists: examples/swarm-stack/workers.yaml with HAProxy as the proxy.

use std::path::Path;

use serde_json::json;

use crate::docker::{docker, import_executable, skip};
use crate::load::SwarmLoad;
use crate::nodes::{swarm, wait_until};
use crate::rebalance::spread_out;
use crate::stack::{COMMAND, ONE, Stack};

/// Debian's HAProxy.
const PROXY: &str = "/usr/sbin/haproxy";
const PROXY_IMAGE: &str = "ringmaster-test-socket-proxy";

const THREE: [&str; 3] = ["Server1", "Server2", "Server3"];

#[test]
#[ignore = "makes a Swarm of three nodes"]
fn balancer_on_a_worker_does_everything_through_a_filtering_proxy() {
    if !Path::new(PROXY).exists() {
        return skip("the filtering proxy takes HAProxy");
    }
    let Some((swarm, _alone)) = swarm() else {
        return;
    };
    let command = ["/haproxy", "-db", "-f", "/haproxy.cfg"];
    import_executable(PROXY_IMAGE, Path::new(PROXY), &command, None);
    let proxy = docker(&["image", "inspect", "--format", "{{.Id}}", PROXY_IMAGE]);
    swarm.run(&["load", PROXY_IMAGE]);
    swarm.docker(1, &["node", "demote", "node3"]);

    let stack = Stack::new(swarm);
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let workers = root.join("examples/swarm-stack/workers.yaml");
    let filter = root.join("tests/swarm/filtering_proxy.cfg");
    let on_top = json!({
        "version": "3.9",
        "services": {
            "socket-proxy": {
                "configs": [{"source": "filter", "target": "/haproxy.cfg"}],
                // Which of the two managers it is on makes no difference; one is enough.
                "deploy": {"placement": {"constraints": ["node.hostname==node1"]}},
            },
            "ringmaster-worker": {
                "entrypoint": ["sh", "-c", "unset RINGMASTER_TEST_REPLICA; exec /ringmaster \"$$@\"", "-"],
                "environment": {
                    "RINGMASTER_ADMIN": "0.0.0.0:5001",
                    "RINGMASTER_ADMIN_INSECURE": "true",
                    "RINGMASTER_KEY": "header:X-Key",
                    "RINGMASTER_ROLLOUT_MONITOR": "500ms",
                },
                "ports": [{"target": 5001, "published": 5001, "mode": "host"}],
            },
        },
        "configs": {"filter": {"file": filter}},
    });
    let workers = workers.display().to_string();
    let deploy = [
        "stack",
        "deploy",
        "--resolve-image",
        "never",
        "-c",
        &workers,
    ];
    let deploy = |variables: &[(&str, &str)], managers: &str| {
        let variables = [&[("PROXY_IMAGE", proxy.as_str())], variables].concat();
        stack.deploy_by(&deploy, &on_top, &variables, COMMAND, managers);
    };

    // At first no balancer is on a manager.
    let none = "node.hostname==none";
    deploy(&[], none);
    let balancer = stack.balancer_of("ringmaster-worker", 3);
    balancer.all_are_ready(&THREE);
    assert_eq!(stack.fleet.spread(), [1, 1, 1]);

    let load = SwarmLoad::start(&balancer);
    for replica in THREE {
        let killed = stack.fleet.kill(replica).at;
        balancer.time_until("ready", replica, killed);
    }
    let green = [("WEB_COLOUR", "green")];
    deploy(&green, none);
    stack.all_have("green");
    balancer.all_are_ready(&THREE);
    load.stop_without_failures();

    // A node that is busy may have got none of the new ones.
    spread_out(&stack.fleet, &balancer, [1, 1, 1]);
    // It would be ended with the node, and cannot be reached from elsewhere.
    let drained = json!({"fault": "drain", "node": "node3"}).to_string();
    let refused = balancer.call("POST", "/api/v1/fleets/default/drills", Some(&drained));
    let detail = refused["detail"].as_str().unwrap_or_default();
    assert!(
        detail.contains("this balancer is a task on node node3"),
        "{refused}"
    );

    // The proxy goes with the stack: the end of the fleet is up to those on managers.
    deploy(&green, ONE);
    stack.balancer(1).all_are_ready(&THREE);
    stack.rm();
    wait_until("the replicas are gone", || {
        stack.fleet.services().is_empty()
    });
    stack.remove();
}
