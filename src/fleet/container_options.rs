//! What `docker run` can say of a container, as plain data: a part of the fleet record's
//! definition.
//!
//! Fields have the names of Docker's flags. Texts may hold `{name}` and `{ordinal}`, which become
//! the replica's name and the number that it ends in.

use std::fmt::{self, Display};
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// The flags of `docker run` that replicas are made with.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct ContainerOptions {
    /// `[SOURCE:]TARGET[:OPTIONS]`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub volume: Vec<String>,
    /// Mounts of `--mount`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mount: Vec<MountOption>,
    /// Directories in memory: path and options.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tmpfs: Vec<(String, String)>,
    /// Labels on top of Ringmaster's own.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub label: Vec<(String, String)>,
    /// Networks beside the one in which the balancer reaches the replicas.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub network: Vec<NetworkOption>,
    /// `HOST:IP`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub add_host: Vec<String>,
    /// Name servers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dns: Vec<IpAddr>,
    /// `USER[:GROUP]`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Further groups of the user.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub group_add: Vec<String>,
    /// Capabilities, in capitals and without `CAP_`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cap_add: Vec<String>,
    /// Limits of the kernel.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ulimit: Vec<Ulimit>,
    /// The size of `/dev/shm` in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shm_size: Option<u64>,
    /// Devices of the machine.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub device: Vec<DeviceOption>,
    /// GPUs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gpus: Option<Gpus>,
    /// The words that replace the image's entrypoint; none of them: it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entrypoint: Option<Vec<String>>,
    /// The directory in which the program starts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workdir: Option<String>,
    /// Whether an init of the engine's is process 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub init: Option<bool>,
    /// Where the engine writes the container's log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_driver: Option<String>,
    /// Options of the log driver.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub log_opt: Vec<(String, String)>,
    /// The signal that asks the program to end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_signal: Option<String>,
    /// Whether the root file system is read-only; none: as the level of security says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_only: Option<bool>,
    /// As the engine takes them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub security_opt: Vec<String>,
}

/// One `--mount`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct MountOption {
    /// What is mounted.
    pub r#type: MountKind,
    /// A volume's name or a path of the machine; none: a volume without a name, or memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The path in the container.
    pub target: String,
    /// Whether nothing can be written to it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub readonly: bool,
    /// `rprivate` and the like (bind).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bind_propagation: Option<String>,
    /// Whether a fresh volume stays empty where the image has files.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub volume_nocopy: bool,
    /// Who provides the volume.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub volume_driver: Option<String>,
    /// Options of the volume's driver.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub volume_opt: Vec<(String, String)>,
    /// Labels of the volume.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub volume_label: Vec<(String, String)>,
    /// The size in bytes (tmpfs).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tmpfs_size: Option<u64>,
    /// The directory's mode (tmpfs).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tmpfs_mode: Option<u32>,
}

/// What a mount is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MountKind {
    /// A path of the machine.
    Bind,
    /// A volume of the engine's.
    #[default]
    Volume,
    /// Memory.
    Tmpfs,
}

/// One `--network`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkOption {
    /// The network's name.
    pub name: String,
    /// Names by which the others in it find the container.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alias: Vec<String>,
}

/// One `--ulimit`; -1 is no limit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ulimit {
    /// `nofile` and the like.
    pub name: String,
    /// What holds at first.
    pub soft: i64,
    /// Up to which the program may raise it.
    pub hard: i64,
}

/// One `--device`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceOption {
    /// Its path on the machine.
    pub host: String,
    /// Its path in the container.
    pub container: String,
    /// Of `r`, `w` and `m`.
    pub permissions: String,
}

/// `--gpus`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gpus {
    /// How many; -1: all. Not with `device`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<i64>,
    /// Their ids.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub device: Vec<String>,
    /// `utility` and the like, on top of `gpu`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub capabilities: Vec<String>,
    /// Who provides them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub driver: Option<String>,
}

/// A list of `KEY=VALUE`, by the name of its flag.
pub(super) type Pairs<'a> = (&'static str, &'a [(String, String)]);

impl ContainerOptions {
    /// Whether nothing is said.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Each part but the lists of `KEY=VALUE`, by the name of its flag.
    pub(super) fn parts(&self) -> Vec<(&'static str, Option<String>)> {
        let text = |text: &Option<String>| text.clone();
        let on = |flag: &Option<bool>| flag.as_ref().map(bool::to_string);
        let tmpfs = self.tmpfs.iter().map(|(path, options)| match &**options {
            "" => path.clone(),
            options => format!("{path}:{options}"),
        });
        vec![
            ("volume", list(&self.volume)),
            ("mount", list(&self.mount)),
            ("tmpfs", list(&tmpfs.collect::<Vec<_>>())),
            ("network", list(&self.network)),
            ("add-host", list(&self.add_host)),
            ("dns", list(&self.dns)),
            ("user", text(&self.user)),
            ("group-add", list(&self.group_add)),
            ("cap-add", list(&self.cap_add)),
            ("ulimit", list(&self.ulimit)),
            ("shm-size", self.shm_size.as_ref().map(u64::to_string)),
            ("device", list(&self.device)),
            ("gpus", self.gpus.as_ref().map(Gpus::to_string)),
            (
                "entrypoint",
                (self.entrypoint.as_ref()).map(|words| format!("`{}`", words.join(" "))),
            ),
            ("workdir", text(&self.workdir)),
            ("init", on(&self.init)),
            ("log-driver", text(&self.log_driver)),
            ("stop-signal", text(&self.stop_signal)),
            ("read-only", on(&self.read_only)),
            ("security-opt", list(&self.security_opt)),
        ]
    }

    /// The lists of `KEY=VALUE`: what is in them may be secret.
    pub(super) fn pairs(&self) -> [Pairs<'_>; 2] {
        [("label", &self.label), ("log-opt", &self.log_opt)]
    }
}

fn list<T: Display>(items: &[T]) -> Option<String> {
    let texts: Vec<_> = items.iter().map(T::to_string).collect();
    (!texts.is_empty()).then(|| texts.join(" "))
}

impl Display for MountOption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.r#type {
            MountKind::Bind => "bind",
            MountKind::Volume => "volume",
            MountKind::Tmpfs => "tmpfs",
        };
        write!(f, "type={kind}")?;
        if let Some(source) = &self.source {
            write!(f, ",source={source}")?;
        }
        write!(f, ",target={}", self.target)?;
        if self.readonly {
            f.write_str(",readonly")?;
        }
        if let Some(propagation) = &self.bind_propagation {
            write!(f, ",bind-propagation={propagation}")?;
        }
        if self.volume_nocopy {
            f.write_str(",volume-nocopy")?;
        }
        if let Some(driver) = &self.volume_driver {
            write!(f, ",volume-driver={driver}")?;
        }
        // Their values may be secrets: a share's password.
        for (key, _) in &self.volume_opt {
            write!(f, ",volume-opt={key}=...")?;
        }
        for (key, value) in &self.volume_label {
            write!(f, ",volume-label={key}={value}")?;
        }
        if let Some(size) = self.tmpfs_size {
            write!(f, ",tmpfs-size={size}")?;
        }
        match self.tmpfs_mode {
            Some(mode) => write!(f, ",tmpfs-mode={mode:o}"),
            None => Ok(()),
        }
    }
}

impl Display for NetworkOption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.alias.is_empty() {
            return f.write_str(&self.name);
        }
        write!(f, "name={}", self.name)?;
        self.alias
            .iter()
            .try_for_each(|alias| write!(f, ",alias={alias}"))
    }
}

impl Display for Ulimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}:{}", self.name, self.soft, self.hard)
    }
}

impl Display for DeviceOption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.host, self.container, self.permissions)
    }
}

impl Display for Gpus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.count {
            Some(-1) => f.write_str("all")?,
            Some(count) => write!(f, "{count}")?,
            None => write!(f, "\"device={}\"", self.device.join(","))?,
        }
        if let Some(driver) = &self.driver {
            write!(f, ",driver={driver}")?;
        }
        match self.capabilities.as_slice() {
            [] => Ok(()),
            all => write!(f, ",\"capabilities={}\"", all.join(",")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(list: &[&str]) -> Vec<String> {
        list.iter().map(|text| (*text).to_owned()).collect()
    }

    fn pair(key: &str, value: &str) -> (String, String) {
        (key.to_owned(), value.to_owned())
    }

    /// A container that says everything once.
    fn all() -> ContainerOptions {
        ContainerOptions {
            volume: texts(&["data:/data", "/etc/shop:/etc:ro"]),
            mount: vec![MountOption {
                r#type: MountKind::Bind,
                source: Some("/src".to_owned()),
                target: "/to".to_owned(),
                readonly: true,
                bind_propagation: Some("rslave".to_owned()),
                volume_nocopy: true,
                volume_driver: Some("nfs".to_owned()),
                volume_opt: vec![pair("password", "s3cret")],
                volume_label: vec![pair("team", "a")],
                tmpfs_size: Some(64),
                tmpfs_mode: Some(0o1777),
            }],
            tmpfs: vec![pair("/run", ""), pair("/tmp", "size=1m")],
            label: vec![pair("token", "s3cret")],
            network: vec![
                NetworkOption {
                    name: "front".to_owned(),
                    alias: Vec::new(),
                },
                NetworkOption {
                    name: "back".to_owned(),
                    alias: texts(&["db", "cache"]),
                },
            ],
            add_host: texts(&["db:10.0.0.9"]),
            dns: vec![IpAddr::from([9, 9, 9, 9])],
            user: Some("app".to_owned()),
            group_add: texts(&["audio"]),
            cap_add: texts(&["NET_ADMIN"]),
            ulimit: vec![Ulimit {
                name: "nofile".to_owned(),
                soft: 1_024,
                hard: -1,
            }],
            shm_size: Some(64),
            device: vec![DeviceOption {
                host: "/dev/a".to_owned(),
                container: "/dev/b".to_owned(),
                permissions: "rw".to_owned(),
            }],
            gpus: Some(Gpus {
                count: Some(2),
                device: Vec::new(),
                capabilities: texts(&["utility", "video"]),
                driver: Some("nvidia".to_owned()),
            }),
            entrypoint: Some(texts(&["serve", "--fast"])),
            workdir: Some("/app".to_owned()),
            init: Some(true),
            log_driver: Some("local".to_owned()),
            log_opt: vec![pair("max-size", "1m")],
            stop_signal: Some("SIGINT".to_owned()),
            read_only: Some(false),
            security_opt: texts(&["no-new-privileges"]),
        }
    }

    #[test]
    fn parts_are_told_as_docker_takes_them_without_values_that_may_be_secrets() {
        let said = |options: &ContainerOptions| {
            let parts = options.parts().into_iter();
            let said = parts.filter_map(|(flag, text)| Some(format!("{flag} {}", text?)));
            said.collect::<Vec<_>>()
        };
        let mount = "mount type=bind,source=/src,target=/to,readonly,bind-propagation=rslave,\
            volume-nocopy,volume-driver=nfs,volume-opt=password=...,volume-label=team=a,\
            tmpfs-size=64,tmpfs-mode=1777";
        assert_eq!(
            said(&all()),
            [
                "volume data:/data /etc/shop:/etc:ro",
                mount,
                "tmpfs /run /tmp:size=1m",
                "network front name=back,alias=db,alias=cache",
                "add-host db:10.0.0.9",
                "dns 9.9.9.9",
                "user app",
                "group-add audio",
                "cap-add NET_ADMIN",
                "ulimit nofile=1024:-1",
                "shm-size 64",
                "device /dev/a:/dev/b:rw",
                "gpus 2,driver=nvidia,\"capabilities=utility,video\"",
                "entrypoint `serve --fast`",
                "workdir /app",
                "init true",
                "log-driver local",
                "stop-signal SIGINT",
                "read-only false",
                "security-opt no-new-privileges",
            ]
        );
        let [(label, labels), (log_opt, options)] =
            all().pairs().map(|(name, of)| (name, of.len()));
        assert_eq!(
            [(label, labels), (log_opt, options)],
            [("label", 1), ("log-opt", 1)]
        );
        assert!(said(&ContainerOptions::default()).is_empty());
        assert!(ContainerOptions::default().is_empty() && !all().is_empty());
        let json = serde_json::to_string(&all()).unwrap();
        assert_eq!(
            serde_json::from_str::<ContainerOptions>(&json).unwrap(),
            all()
        );
    }

    #[test]
    fn gpus_and_mounts_are_told_by_what_they_say() {
        let gpus = |count, device: &[&str]| Gpus {
            count,
            device: texts(device),
            capabilities: Vec::new(),
            driver: None,
        };
        assert_eq!(gpus(Some(-1), &[]).to_string(), "all");
        assert_eq!(gpus(Some(3), &[]).to_string(), "3");
        assert_eq!(gpus(None, &["0", "1"]).to_string(), "\"device=0,1\"");
        for (r#type, text) in [
            (MountKind::Volume, "type=volume,target=/to"),
            (MountKind::Tmpfs, "type=tmpfs,target=/to"),
        ] {
            let target = "/to".to_owned();
            let mount = MountOption {
                r#type,
                target,
                ..MountOption::default()
            };
            assert_eq!(mount.to_string(), text);
        }
    }
}
