//! `--user`, `--group-add` and `--cap-add`.

use bollard::models::{ContainerCreateBody, HostConfig};

use super::fields::{one_of, word};
use super::placeholders::Placeholders;
use super::some;
use crate::fleet::ContainerOptions;

/// What `--cap-add` takes, without `CAP_` (capabilities(7)).
const CAPABILITIES: [&str; 42] = [
    "ALL",
    "AUDIT_CONTROL",
    "AUDIT_READ",
    "AUDIT_WRITE",
    "BLOCK_SUSPEND",
    "BPF",
    "CHECKPOINT_RESTORE",
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "IPC_LOCK",
    "IPC_OWNER",
    "KILL",
    "LEASE",
    "LINUX_IMMUTABLE",
    "MAC_ADMIN",
    "MAC_OVERRIDE",
    "MKNOD",
    "NET_ADMIN",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_RAW",
    "PERFMON",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_CHROOT",
    "SYS_MODULE",
    "SYS_NICE",
    "SYS_PACCT",
    "SYS_PTRACE",
    "SYS_RAWIO",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "SYSLOG",
    "WAKE_ALARM",
];

/// Reads `USER[:GROUP]`, names or numbers.
pub(crate) fn user(text: &str) -> Result<String, String> {
    let (user, group) = text.split_once(':').unwrap_or((text, "0"));
    name_or_id("a user", user)?;
    name_or_id("a group", group)?;
    Ok(text.to_owned())
}

/// Reads a group.
pub(crate) fn group(text: &str) -> Result<String, String> {
    name_or_id("a group", text).map(|()| text.to_owned())
}

fn name_or_id(what: &str, text: &str) -> Result<(), String> {
    let is_number = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    match text {
        number if is_number && number.parse::<i32>().is_err() => {
            Err(format!("{number} is too large for {what}"))
        }
        text if text.contains([':', '/']) => Err(format!("{text:?} is not {what}")),
        text => word(what, text).map(drop),
    }
}

/// Reads a capability.
pub(crate) fn cap_add(text: &str) -> Result<String, String> {
    let name = text.to_ascii_uppercase();
    let name = name.strip_prefix("CAP_").unwrap_or(&name);
    one_of("capability", name, &CAPABILITIES)
}

/// Whether a user is root. None means root.
pub(super) fn is_root(user: &str) -> bool {
    let name = user.split(':').next().unwrap_or_default();
    name == "root" || name.bytes().all(|b| b == b'0')
}

/// Sets user and capabilities.
pub(super) fn apply(
    options: &ContainerOptions,
    placeholders: &Placeholders<'_>,
    body: &mut ContainerCreateBody,
    host: &mut HostConfig,
) -> Result<(), String> {
    if let Some(user) = &options.user {
        body.user = Some(placeholders.fill(user)?);
    }
    host.group_add = some(options.group_add.clone());
    host.cap_add = some(options.cap_add.clone());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_groups_and_capabilities_are_read() {
        for good in ["1000", "1000:1000", "app", "app:www-data", "0:0"] {
            assert_eq!(user(good).as_deref(), Ok(good));
        }
        assert_eq!(user("").unwrap_err(), "\"\" is not a user");
        assert_eq!(user("a:").unwrap_err(), "\"\" is not a group");
        assert_eq!(user("a:b:c").unwrap_err(), "\"b:c\" is not a group");
        assert_eq!(
            user("9999999999").unwrap_err(),
            "9999999999 is too large for a user"
        );
        assert_eq!(group("video").as_deref(), Ok("video"));
        assert_eq!(cap_add("cap_net_admin").as_deref(), Ok("NET_ADMIN"));
        assert_eq!(cap_add("all").as_deref(), Ok("ALL"));
        let error = cap_add("NET_ADMINN").unwrap_err();
        assert!(error.starts_with("\"NET_ADMINN\" is no capability, of which there are ALL, "));
    }
}
