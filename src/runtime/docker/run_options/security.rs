//! `--read-only` and `--security-opt`, and what loosens `--replica-security`.

use std::fs;

use bollard::models::HostConfig;

use super::fields::{boolean, word};
use super::identity::is_root;
use crate::fleet::{ContainerOptions, MountKind};

const NO_NEW_PRIVILEGES: &str = "no-new-privileges";
const SYSTEM_PATHS: &str = "systempaths=unconfined";

/// Reads an option of the engine's security. Of a seccomp profile's file the profile is kept: a
/// respawn and another balancer use the same.
pub(crate) fn security_opt(text: &str) -> Result<String, String> {
    let (key, value) = match text.split_once(['=', ':']) {
        Some((key, value)) => (key, Some(value)),
        None => (text, None),
    };
    match (key, value) {
        (NO_NEW_PRIVILEGES, value) => {
            boolean(key, value).map(|on| format!("{NO_NEW_PRIVILEGES}={on}"))
        }
        ("seccomp", Some(value @ ("unconfined" | "builtin"))) => Ok(format!("seccomp={value}")),
        ("seccomp", Some(path)) => profile(path).map(|profile| format!("seccomp={profile}")),
        ("apparmor", Some(name)) => Ok(format!("apparmor={}", word("a profile", name)?)),
        ("label", Some(label)) => Ok(format!("label={}", word("a label", label)?)),
        ("systempaths", Some("unconfined")) => Ok(SYSTEM_PATHS.to_owned()),
        _ => Err("no such option".to_owned()),
    }
}

/// The profile in a file, on one line.
fn profile(path: &str) -> Result<String, String> {
    let text = fs::read_to_string(path).map_err(|error| format!("cannot read {path}: {error}"))?;
    let profile: serde_json::Value =
        serde_json::from_str(&text).map_err(|error| format!("{path} is no JSON: {error}"))?;
    Ok(profile.to_string())
}

/// Sets both, where the level of security has no say.
pub(super) fn apply(options: &ContainerOptions, restricted: bool, host: &mut HostConfig) {
    host.readonly_rootfs = Some(options.read_only.unwrap_or(restricted));
    let mut given = options.security_opt.clone();
    if given.iter().any(|option| option == SYSTEM_PATHS) {
        given.retain(|option| option != SYSTEM_PATHS);
        host.masked_paths = Some(Vec::new());
        host.readonly_paths = Some(Vec::new());
    }
    // In either level, unless it was said otherwise.
    if !given
        .iter()
        .any(|option| option.starts_with(NO_NEW_PRIVILEGES))
    {
        given.push(NO_NEW_PRIVILEGES.to_owned());
    }
    host.security_opt = Some(given);
}

/// What was given that lets a replica do more than its level of security does, flag by flag.
pub(in super::super) fn loosened(options: &ContainerOptions, restricted: bool) -> Vec<String> {
    let mut flags = Vec::new();
    let mut add = |flag: &str, value: &str| flags.push(format!("--{flag} {value}"));
    for user in options
        .user
        .iter()
        .filter(|user| restricted && is_root(user))
    {
        add("user", user);
    }
    options.cap_add.iter().for_each(|name| add("cap-add", name));
    let bound = options.volume.iter().filter(|volume| {
        let source = volume.split(':').next().unwrap_or_default();
        source.starts_with('/') && volume.contains(':')
    });
    bound.for_each(|volume| add("volume", volume));
    let bound = options.mount.iter();
    let bound = bound.filter(|mount| mount.r#type == MountKind::Bind);
    bound.for_each(|mount| add("mount", &mount.to_string()));
    options
        .device
        .iter()
        .for_each(|device| add("device", &device.to_string()));
    let gpus = options.gpus.as_ref();
    gpus.into_iter()
        .for_each(|gpus| add("gpus", &gpus.to_string()));
    for option in &options.security_opt {
        let key = option.split('=').next().unwrap_or_default();
        match option.as_str() {
            "no-new-privileges=true" | "seccomp=builtin" => {}
            // A profile is long.
            option if option.len() > 80 => add("security-opt", &format!("{key}=...")),
            option => add("security-opt", option),
        }
    }
    if restricted && options.read_only == Some(false) {
        flags.push("--read-only=false".to_owned());
    }
    flags
}

#[cfg(test)]
mod tests {
    use super::super::{applied, host};
    use super::*;

    #[test]
    fn options_are_read_as_docker_reads_them() {
        for (text, option) in [
            ("no-new-privileges", "no-new-privileges=true"),
            ("no-new-privileges:false", "no-new-privileges=false"),
            ("seccomp=unconfined", "seccomp=unconfined"),
            ("apparmor=docker-default", "apparmor=docker-default"),
            ("label=disable", "label=disable"),
            ("systempaths=unconfined", "systempaths=unconfined"),
        ] {
            assert_eq!(security_opt(text).as_deref(), Ok(option));
        }
        for bad in ["", "seccomp", "privileged=true", "systempaths=x"] {
            assert_eq!(security_opt(bad).unwrap_err(), "no such option", "{bad}");
        }
        let missing = security_opt("seccomp=/no/such.json").unwrap_err();
        assert!(
            missing.starts_with("cannot read /no/such.json: "),
            "{missing}"
        );
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("profile.json");
        fs::write(&path, "{\n \"defaultAction\": \"SCMP_ACT_ALLOW\"\n}").unwrap();
        let option = security_opt(&format!("seccomp={}", path.display())).unwrap();
        assert_eq!(option, "seccomp={\"defaultAction\":\"SCMP_ACT_ALLOW\"}");
        fs::write(&path, "{").unwrap();
        assert!(security_opt(&format!("seccomp={}", path.display())).is_err());
    }

    #[test]
    fn levels_hold_where_nothing_was_said() {
        let with = |options: &[&str], read_only| ContainerOptions {
            security_opt: options
                .iter()
                .map(|text| security_opt(text).unwrap())
                .collect(),
            read_only,
            ..Default::default()
        };
        let said = |options: &ContainerOptions, restricted| {
            let host = host(&applied(options, restricted)).clone();
            (host.security_opt.unwrap_or_default(), host.readonly_rootfs)
        };
        let own = vec![NO_NEW_PRIVILEGES.to_owned()];
        assert_eq!(said(&with(&[], None), true), (own.clone(), Some(true)));
        assert_eq!(said(&with(&[], None), false), (own, Some(false)));
        assert_eq!(said(&with(&[], Some(true)), false).1, Some(true));
        assert_eq!(said(&with(&[], Some(false)), true).1, Some(false));
        let off = with(&["no-new-privileges=false", "systempaths=unconfined"], None);
        assert_eq!(said(&off, true).0, ["no-new-privileges=false"]);
        let body = applied(&off, true);
        assert_eq!(host(&body).masked_paths.as_deref(), Some(&[][..]));
    }

    #[test]
    fn what_loosens_a_level_is_told() {
        let options = ContainerOptions {
            user: Some("root".to_owned()),
            cap_add: vec!["NET_ADMIN".to_owned()],
            volume: vec!["data:/data".to_owned(), "/srv:/srv:ro".to_owned()],
            security_opt: vec!["seccomp=unconfined".to_owned()],
            read_only: Some(false),
            ..Default::default()
        };
        let flags = loosened(&options, true).join(" ");
        assert_eq!(
            flags,
            "--user root --cap-add NET_ADMIN --volume /srv:/srv:ro \
             --security-opt seccomp=unconfined --read-only=false"
        );
        assert_eq!(loosened(&options, false).len(), 3);
        assert_eq!(loosened(&ContainerOptions::default(), true), [""; 0]);
    }
}
