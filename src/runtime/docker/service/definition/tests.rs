use serde_json::{Value, json};

use super::values::duration;
use super::*;

fn compose(definition: Value) -> ComposeDefinition {
    ComposeDefinition {
        project: "shop".to_owned(),
        service: "web".to_owned(),
        config_hash: "0".repeat(64),
        definition,
        networks: json!({"default": {"name": "shop_default"}, "back": {"name": "shop_back"}}),
        volumes: json!({"data": {"name": "shop_data"}}),
        secrets: json!({"key": {"file": "/srv/key"}, "inline": {"environment": "KEY"}}),
        configs: json!({"conf": {"file": "/srv/conf"}}),
    }
}

/// What `docker compose config --format json` says, as compose 2.26 writes it.
#[test]
fn a_definition_becomes_what_compose_itself_would_send() {
    let read = read(&compose(json!({
        "image": "shop:1.5",
        "command": ["serve", "--price", "$$1"],
        "entrypoint": null,
        "environment": {"A": "b$$c", "NONE": null, "N": 1},
        "expose": ["7070"],
        "ports": [{"mode": "ingress", "target": 8080, "published": "80", "protocol": "tcp"}],
        "healthcheck": {"test": ["CMD-SHELL", "true"], "interval": "1m30s", "retries": 3},
        "labels": {"team": "zoo"},
        "logging": {"options": {"max-size": "10m"}},
        "networks": {"back": {"priority": 10}, "default": {"aliases": ["shop"]}},
        "deploy": {"replicas": 3, "placement": {}, "resources": {
            "limits": {"cpus": 0.5, "memory": "104857600", "pids": 100},
            "reservations": {"memory": "20971520"}
        }},
        "mem_reservation": "20971520",
        "shm_size": "10485760",
        "ulimits": {"nofile": 1000, "nproc": {"soft": 100, "hard": 200}},
        "extra_hosts": ["a.example=10.0.0.1"],
        "sysctls": {"net.core.somaxconn": "100"},
        "tmpfs": ["/run:size=1m"],
        "stop_grace_period": "1m1s",
        "depends_on": {"db": {"condition": "service_started", "required": true}},
        "secrets": [{"source": "key"}],
        "configs": [{"source": "conf", "target": "/etc/conf"}],
        "devices": ["/dev/fuse:/dev/fuse:rw"],
        "volumes": [
            {"type": "volume", "target": "/cache", "volume": {}},
            {"type": "volume", "source": "data", "target": "/data", "volume": {"nocopy": true}},
            {"type": "bind", "source": "/srv", "target": "/srv", "read_only": true,
             "bind": {"create_host_path": true}},
            {"type": "tmpfs", "target": "/t", "tmpfs": {"size": "1000000"}}
        ]
    })))
    .unwrap();
    assert_eq!(
        read.body,
        json!({
            "AttachStdout": true, "AttachStderr": true,
            "Image": "shop:1.5",
            "Cmd": ["serve", "--price", "$1"],
            "Env": ["A=b$c", "N=1", "NONE"],
            "ExposedPorts": {"7070": {}, "8080/tcp": {}},
            "Healthcheck": {
                "Test": ["CMD-SHELL", "true"], "Interval": 90_000_000_000_i64, "Retries": 3
            },
            "Labels": {"team": "zoo"},
            "StopTimeout": 61,
            "HostConfig": {
                "Binds": ["/srv:/srv:ro"],
                "Devices": [{
                    "PathOnHost": "/dev/fuse", "PathInContainer": "/dev/fuse",
                    "CgroupPermissions": "rw"
                }],
                "ExtraHosts": ["a.example:10.0.0.1"],
                "LogConfig": {"Type": "", "Config": {"max-size": "10m"}},
                "Memory": 104_857_600,
                "MemoryReservation": 20_971_520,
                "Mounts": [
                    {"Type": "volume", "Target": "/cache", "ReadOnly": false, "VolumeOptions": {}},
                    {"Type": "volume", "Source": "shop_data", "Target": "/data", "ReadOnly": false,
                     "VolumeOptions": {"NoCopy": true}},
                    {"Type": "tmpfs", "Target": "/t", "ReadOnly": false,
                     "TmpfsOptions": {"SizeBytes": 1_000_000}},
                    {"Type": "bind", "Source": "/srv/key", "Target": "/run/secrets/key",
                     "ReadOnly": true},
                    {"Type": "bind", "Source": "/srv/conf", "Target": "/etc/conf", "ReadOnly": true}
                ],
                "NanoCpus": 500_000_000,
                "NetworkMode": "shop_back",
                "PidsLimit": 100,
                "PortBindings": {"8080/tcp": [{"HostIp": "", "HostPort": "80"}]},
                "ShmSize": 10_485_760,
                "Sysctls": {"net.core.somaxconn": "100"},
                "Tmpfs": {"/run": "size=1m"},
                "Ulimits": [
                    {"Name": "nofile", "Soft": 1000, "Hard": 1000},
                    {"Name": "nproc", "Soft": 100, "Hard": 200}
                ]
            },
            "NetworkingConfig": {"EndpointsConfig": {
                "shop_back": {"Aliases": ["web"]},
                "shop_default": {"Aliases": ["web", "shop"]}
            }}
        })
    );
    assert_eq!(read.depends_on, "db:service_started:false");
    assert_eq!(read.volumes, ["shop_data"]);
    assert!(read.is_pulled);
}

#[test]
fn a_built_image_has_composes_name_and_the_default_network_is_joined() {
    let read = read(&compose(json!({"build": {"context": "."}}))).unwrap();
    assert_eq!((&*read.image, read.is_pulled), ("shop-web", false));
    assert_eq!(read.networks, ["shop_default"]);
}

#[test]
fn what_would_be_lost_is_refused_with_its_name() {
    for (field, value, wrong) in [
        ("image", Value::Null, "image: there is none"),
        (
            "a_later_field",
            json!(1),
            "a_later_field: rollouts do not know this field",
        ),
        (
            "container_name",
            json!("x"),
            "it leaves room for one container only",
        ),
        (
            "mac_address",
            json!("x"),
            "every replica would have the same",
        ),
        (
            "network_mode",
            json!("host"),
            "network_mode: host: replicas have no address",
        ),
        (
            "networks",
            json!({"back": {"ipv4_address": "10.0.0.9"}}),
            "networks.back: ipv4_address",
        ),
        (
            "networks",
            json!({"gone": null}),
            "networks.gone: the project has no such network",
        ),
        (
            "secrets",
            json!([{"source": "inline"}]),
            "secrets.inline: it is no file",
        ),
        (
            "security_opt",
            json!(["seccomp=./x.json"]),
            "the profile is a file",
        ),
        (
            "volumes",
            json!([{"type": "cluster", "target": "/c"}]),
            "volumes, /c: rollouts do not",
        ),
        (
            "stop_grace_period",
            json!("1 minute"),
            "stop_grace_period: \"1 minute\" is no duration",
        ),
        (
            "shm_size",
            json!("10m"),
            "shm_size: \"10m\" is no whole number",
        ),
    ] {
        let mut definition = json!({"image": "shop:1.5"});
        definition[field] = value;
        let error = super::read(&compose(definition)).unwrap_err();
        assert!(error.contains(wrong), "{field}: {error}");
    }
    assert!(super::read(&compose(json!([]))).is_err());
    // Without a value, or for other programs.
    let definition = json!({"image": "a", "credential_spec": null, "x-note": {}});
    assert!(super::read(&compose(definition)).is_ok());
}

#[test]
fn durations_are_read_as_compose_writes_them() {
    for (text, expected) in [
        ("0s", Ok(0)),
        ("0", Ok(0)),
        ("1m30s", Ok(90_000_000_000)),
        ("1h0m0.5s", Ok(3_600_500_000_000)),
        ("250ms", Ok(250_000_000)),
        ("10", Err(())),
        ("", Err(())),
        ("s", Err(())),
        ("1d", Err(())),
    ] {
        assert_eq!(duration(&json!(text)).map_err(drop), expected, "{text}");
    }
}
