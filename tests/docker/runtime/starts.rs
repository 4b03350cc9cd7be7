//! How containers start, and what keeps them from it.

use super::*;

#[test]
fn replica_starts_serves_and_leaves_nothing() {
    on_engine(|| async {
        let fleet = TestFleet::new();
        let runtime = fleet.runtime();
        assert_eq!(runtime.prepare().await.unwrap(), []);
        assert!(fleet.network_exists());

        let since = Instant::now();
        let address = runtime.start(order("Server1", 1)).await.unwrap().endpoint;
        let launched = since.elapsed();
        let answer = get(address, "/home");
        eprintln!(
            "launched in {launched:?}, answers after {:?}",
            since.elapsed()
        );
        assert_eq!(
            answer,
            r#"{"message":"Hello from Server: 1","status":"successful"}"#
        );

        runtime.stop(id("Server1", 1), GRACE).await.unwrap();
        assert_eq!(fleet.containers(), [""; 0]);
        // Once more, and of one that never was: no complaint.
        runtime.stop(id("Server1", 1), GRACE).await.unwrap();
        runtime.stop(id("Nobody", 3), Duration::ZERO).await.unwrap();
        runtime.close().await;
        assert!(!fleet.network_exists());
    });
}

#[test]
fn replica_runs_without_privileges() {
    on_engine(|| async {
        let mut fleet = TestFleet::new();
        let runtime = fleet.runtime();
        runtime.prepare().await.unwrap();
        runtime.start(order("S1", 1)).await.unwrap();
        let found = inspect(&fleet.container("S1"));
        let (config, host) = (&found["Config"], &found["HostConfig"]);
        assert_eq!(config["User"], "65534:65534");
        assert_eq!(config["Hostname"], "S1");
        assert_eq!(host["CapDrop"], serde_json::json!(["ALL"]));
        assert_eq!(
            host["SecurityOpt"],
            serde_json::json!(["no-new-privileges"])
        );
        assert_eq!(host["ReadonlyRootfs"], true);
        assert_eq!(host["Privileged"], false);
        assert_eq!(host["Memory"], 128 << 20);
        assert_eq!(host["MemorySwap"], 128 << 20);
        assert_eq!(host["NanoCpus"], 1_000_000_000);
        assert_eq!(host["PidsLimit"], 64);
        assert_eq!(host["RestartPolicy"]["Name"], "no");
        let aliases = &found["NetworkSettings"]["Networks"][&fleet.settings.network]["Aliases"];
        assert!(
            aliases.as_array().unwrap().contains(&"S1".into()),
            "{aliases}"
        );
        let labels = &config["Labels"];
        assert_eq!(labels["io.ringmaster.fleet"], fleet.settings.fleet.as_str());
        assert_eq!(labels["io.ringmaster.replica"], "S1");
        assert_eq!(labels["io.ringmaster.generation"], "1");

        fleet.settings.security = Security::Baseline;
        let runtime = fleet.runtime();
        runtime.prepare().await.unwrap();
        runtime.start(order("S2", 1)).await.unwrap();
        let found = inspect(&fleet.container("S2"));
        assert_eq!(found["Config"]["User"], "");
        assert_eq!(found["HostConfig"]["ReadonlyRootfs"], false);
        assert_eq!(
            found["HostConfig"]["SecurityOpt"],
            serde_json::json!(["no-new-privileges"])
        );
    });
}

#[test]
fn launch_that_fails_says_why_and_leaves_nothing() {
    on_engine(|| async {
        let mut fleet = TestFleet::running(&["nosuchprogram"]);
        let runtime = fleet.runtime();
        runtime.prepare().await.unwrap();
        let refused = runtime.start(order("S1", 1)).await.unwrap_err();
        assert_eq!(
            refused.to_string(),
            r#"exec: "nosuchprogram": executable file not found in $PATH"#
        );
        assert_eq!(fleet.containers(), [""; 0]);

        fleet.settings.image = "ringmaster.invalid/nosuch:1".to_owned();
        let runtime = fleet.runtime();
        let refused = runtime.prepare().await.unwrap_err().to_string();
        assert!(
            refused.starts_with("no image ringmaster.invalid/nosuch:1: "),
            "{refused}"
        );
        let refused = runtime.start(order("S1", 1)).await.unwrap_err();
        assert_eq!(
            refused.to_string(),
            "no such image: ringmaster.invalid/nosuch:1"
        );

        fleet.settings.network = "host".to_owned();
        fleet.settings.image = crate::docker::test_image().to_owned();
        let refused = fleet.runtime().prepare().await.unwrap_err().to_string();
        assert!(
            refused.starts_with("network host gives replicas no address"),
            "{refused}"
        );
        fleet.settings.network = fleet.settings.fleet.clone();
    });
}
