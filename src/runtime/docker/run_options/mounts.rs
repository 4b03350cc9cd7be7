//! `--volume`, `--mount` and `--tmpfs`.

use std::collections::HashMap;

use bollard::models::{
    ContainerCreateBody, HostConfig, Mount, MountBindOptions, MountTmpfsOptions, MountType,
    MountVolumeOptions, MountVolumeOptionsDriverConfig,
};

use super::fields::{self, boolean, bytes, key_and_value, one_of, pair};
use super::placeholders::{Placeholders, sample};
use super::some;
use crate::fleet::{ContainerOptions, MountKind, MountOption};

/// A writable directory for programs that need one, in memory, so within the memory limit. There
/// is one where the root file system is read-only by default.
const TMP: (&str, &str) = ("/tmp", "rw,nosuid,nodev,noexec,mode=1777");

const VOLUME_OPTIONS: [&str; 14] = [
    "ro",
    "rw",
    "z",
    "Z",
    "nocopy",
    "shared",
    "rshared",
    "slave",
    "rslave",
    "private",
    "rprivate",
    "consistent",
    "cached",
    "delegated",
];
const PROPAGATIONS: [&str; 6] = [
    "shared", "rshared", "slave", "rslave", "private", "rprivate",
];
const KINDS: [(&str, MountKind); 3] = [
    ("bind", MountKind::Bind),
    ("volume", MountKind::Volume),
    ("tmpfs", MountKind::Tmpfs),
];

/// Reads `[SOURCE:]TARGET[:OPTIONS]`.
pub(crate) fn volume(text: &str) -> Result<String, String> {
    let parts: Vec<_> = text.split(':').collect();
    let (source, path, options) = match parts[..] {
        [path] => (None, path, ""),
        [source, path] => (Some(source), path, ""),
        [source, path, options] => (Some(source), path, options),
        _ => return Err("has more than three parts".to_owned()),
    };
    match source {
        Some(path) if path.starts_with('/') => {}
        Some(name) => volume_name(name)?,
        None => {}
    }
    target(path)?;
    for option in options.split(',').filter(|option| !option.is_empty()) {
        one_of("option of a volume", option, &VOLUME_OPTIONS)?;
    }
    Ok(text.to_owned())
}

/// Reads the fields of a mount.
pub(crate) fn mount(text: &str) -> Result<MountOption, String> {
    let mut mount = MountOption::default();
    let mut given = Vec::new();
    for field in fields::split(text)? {
        let (key, value) = key_and_value(&field);
        let needed = || value.ok_or_else(|| format!("{key} has no value"));
        match key {
            "type" => {
                let name = needed()?;
                let kind = KINDS.iter().find(|(known, _)| *known == name);
                let unknown = || format!("type is {name:?}, not bind, volume or tmpfs");
                mount.r#type = kind.ok_or_else(unknown)?.1;
            }
            "source" | "src" => mount.source = Some(needed()?.to_owned()),
            "target" | "destination" | "dst" => mount.target = target(needed()?)?.to_owned(),
            "readonly" | "ro" => mount.readonly = boolean(key, value)?,
            "bind-propagation" => {
                mount.bind_propagation = Some(one_of("propagation", needed()?, &PROPAGATIONS)?);
            }
            "volume-nocopy" => mount.volume_nocopy = boolean(key, value)?,
            "volume-driver" => mount.volume_driver = Some(fields::word("a driver", needed()?)?),
            "volume-opt" => mount.volume_opt.push(pair(needed()?)?),
            "volume-label" => mount.volume_label.push(pair(needed()?)?),
            "tmpfs-size" => mount.tmpfs_size = Some(bytes(needed()?)?),
            "tmpfs-mode" => {
                let mode = u32::from_str_radix(needed()?, 8)
                    .ok()
                    .filter(|mode| *mode <= 0o7777);
                mount.tmpfs_mode = Some(mode.ok_or("tmpfs-mode is no mode such as 1777")?);
            }
            "" => return Err("a field is empty".to_owned()),
            key => return Err(format!("{key} is no field of a mount here")),
        }
        given.push(key.to_owned());
    }
    check_mount(&mount, &given)?;
    Ok(mount)
}

/// What a mount's fields have to be together.
fn check_mount(mount: &MountOption, given: &[String]) -> Result<(), String> {
    let kind = KINDS.iter().find(|(_, kind)| *kind == mount.r#type);
    let kind = kind.map_or("", |(name, _)| name);
    if mount.target.is_empty() {
        return Err("target is missing".to_owned());
    }
    let foreign = |key: &&String| {
        let of = key.split_once('-').map_or(kind, |(of, _)| of);
        of != kind
    };
    if let Some(key) = given.iter().find(foreign) {
        return Err(format!("{key} is not for type={kind}"));
    }
    match (mount.r#type, mount.source.as_deref()) {
        (MountKind::Bind, Some(path)) if path.starts_with('/') => Ok(()),
        (MountKind::Bind, Some(path)) => Err(format!("{path:?} is no absolute path")),
        (MountKind::Bind, None) => Err("source is missing".to_owned()),
        (MountKind::Tmpfs, Some(_)) => Err("source is not for type=tmpfs".to_owned()),
        (MountKind::Volume, Some(name)) => volume_name(name),
        (_, None) => Ok(()),
    }
}

/// Reads `PATH[:OPTIONS]`. The engine judges the options.
pub(crate) fn tmpfs(text: &str) -> Result<(String, String), String> {
    let (path, options) = text.split_once(':').unwrap_or((text, ""));
    Ok((target(path)?.to_owned(), options.to_owned()))
}

fn target(path: &str) -> Result<&str, String> {
    match path {
        "/" => Err("the target is the root of the container".to_owned()),
        path if path.starts_with('/') && !path.contains('\0') => Ok(path),
        path => Err(format!("the target {path:?} is no absolute path")),
    }
}

fn volume_name(name: &str) -> Result<(), String> {
    let filled = sample(name);
    let good = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let starts_well = filled.starts_with(|c: char| c.is_ascii_alphanumeric());
    match starts_well && filled.len() > 1 && filled.chars().all(good) {
        true => Ok(()),
        false if name.contains('/') => Err(format!(
            "{name:?} is neither an absolute path nor a volume's name"
        )),
        false => Err(format!(
            "{name:?} is no volume's name of letters, digits, '-', '_' and '.'"
        )),
    }
}

/// Adds all of them to a description.
pub(super) fn apply(
    options: &ContainerOptions,
    restricted: bool,
    placeholders: &Placeholders<'_>,
    body: &mut ContainerCreateBody,
    host: &mut HostConfig,
) -> Result<(), String> {
    let volumes = placeholders.fill_all(&options.volume)?;
    let (binds, unnamed): (Vec<_>, Vec<_>) = volumes.into_iter().partition(|v| v.contains(':'));
    let mounts = options
        .mount
        .iter()
        .map(|mount| describe(mount, placeholders));
    let mounts = mounts.collect::<Result<Vec<_>, _>>()?;
    let mut tmpfs = HashMap::new();
    for (path, options) in &options.tmpfs {
        tmpfs.insert(placeholders.fill(path)?, options.clone());
    }
    let is_taken = |path: &str| {
        let bound = binds
            .iter()
            .any(|bind| bind.split(':').nth(1) == Some(path));
        let mounted = mounts
            .iter()
            .any(|mount| mount.target.as_deref() == Some(path));
        bound || mounted || unnamed.iter().any(|volume| volume == path)
    };
    if restricted && options.read_only != Some(false) && !is_taken(TMP.0) {
        tmpfs
            .entry(TMP.0.to_owned())
            .or_insert_with(|| TMP.1.to_owned());
    }
    host.binds = some(binds);
    host.mounts = some(mounts);
    host.tmpfs = (!tmpfs.is_empty()).then_some(tmpfs);
    body.volumes = some(unnamed);
    Ok(())
}

/// A mount as the engine takes it.
fn describe(mount: &MountOption, placeholders: &Placeholders<'_>) -> Result<Mount, String> {
    let source = mount
        .source
        .as_ref()
        .map(|source| placeholders.fill(source));
    let typ = match mount.r#type {
        MountKind::Bind => MountType::BIND,
        MountKind::Volume => MountType::VOLUME,
        MountKind::Tmpfs => MountType::TMPFS,
    };
    // There is no other: see `PROPAGATIONS`.
    let propagation = mount
        .bind_propagation
        .as_ref()
        .and_then(|name| name.parse().ok());
    let bind_options = propagation.map(|propagation| MountBindOptions {
        propagation: Some(propagation),
        ..Default::default()
    });
    let driver_options: HashMap<_, _> = placeholders.fill_values(&mount.volume_opt)?;
    let labels: HashMap<_, _> = placeholders.fill_values(&mount.volume_label)?;
    let has_driver = mount.volume_driver.is_some() || !driver_options.is_empty();
    let volume_options = (typ == MountType::VOLUME).then(|| MountVolumeOptions {
        no_copy: Some(mount.volume_nocopy),
        labels: (!labels.is_empty()).then_some(labels),
        driver_config: has_driver.then(|| MountVolumeOptionsDriverConfig {
            name: mount.volume_driver.clone(),
            options: Some(driver_options),
        }),
        ..Default::default()
    });
    let tmpfs_options = (typ == MountType::TMPFS).then(|| MountTmpfsOptions {
        size_bytes: mount.tmpfs_size.and_then(|size| i64::try_from(size).ok()),
        mode: mount.tmpfs_mode.map(i64::from),
        ..Default::default()
    });
    Ok(Mount {
        typ: Some(typ),
        source: source.transpose()?,
        target: Some(placeholders.fill(&mount.target)?),
        read_only: Some(mount.readonly),
        bind_options,
        volume_options,
        tmpfs_options,
        ..Default::default()
    })
}

#[cfg(test)]
mod tests {
    use super::super::{applied, host};
    use super::*;

    #[test]
    fn volumes_are_read_as_docker_reads_them() {
        for good in [
            "data:/data",
            "/srv/x:/x:ro,z",
            "/cache",
            "data-{name}:/d",
            "d{ordinal}:/d:rw",
        ] {
            assert_eq!(volume(good).as_deref(), Ok(good));
        }
        for (bad, wrong) in [
            ("", "the target \"\" is no absolute path"),
            ("data:data", "the target \"data\" is no absolute path"),
            ("data:/", "the target is the root of the container"),
            (
                "./x:/x",
                "\"./x\" is neither an absolute path nor a volume's name",
            ),
            (
                "a b:/x",
                "\"a b\" is no volume's name of letters, digits, '-', '_' and '.'",
            ),
            (
                "a{host}:/x",
                "\"a{host}\" is no volume's name of letters, digits, '-', '_' and '.'",
            ),
            (
                "data:/x:r",
                "\"r\" is no option of a volume, of which there are ro, rw, z",
            ),
            ("a1:/b:ro:x", "has more than three parts"),
        ] {
            let error = volume(bad).unwrap_err();
            assert!(error.starts_with(wrong), "{bad}: {error}");
        }
    }

    #[test]
    fn mounts_are_read_as_docker_reads_them() {
        let read = mount(
            "type=volume,src=data-{name},dst=/data,readonly,volume-nocopy=true,\
             volume-driver=local,\"volume-opt=o=addr=10.0.0.1,rw\",volume-label=a=b",
        );
        let read = read.unwrap();
        assert_eq!(
            read.volume_opt,
            [("o".to_owned(), "addr=10.0.0.1,rw".to_owned())]
        );
        assert!(read.readonly && read.volume_nocopy);
        let told = read.to_string();
        assert!(
            told.starts_with("type=volume,source=data-{name},target=/data,readonly"),
            "{told}"
        );
        assert!(!told.contains("10.0.0.1"), "{told}");
        let memory = mount("type=tmpfs,target=/run,tmpfs-size=64m,tmpfs-mode=1770").unwrap();
        assert_eq!(
            (memory.tmpfs_size, memory.tmpfs_mode),
            (Some(64 << 20), Some(0o1770))
        );
        for (bad, wrong) in [
            ("source=a", "target is missing"),
            (
                "type=disk,target=/a",
                "type is \"disk\", not bind, volume or tmpfs",
            ),
            ("type=bind,target=/a", "source is missing"),
            ("type=bind,source=a,target=/a", "\"a\" is no absolute path"),
            (
                "type=tmpfs,source=a,target=/a",
                "source is not for type=tmpfs",
            ),
            (
                "target=/a,tmpfs-size=1m",
                "tmpfs-size is not for type=volume",
            ),
            (
                "type=tmpfs,target=/a,tmpfs-size=much",
                "\"much\" is no amount such as 64m",
            ),
            (
                "type=tmpfs,target=/a,tmpfs-mode=9",
                "tmpfs-mode is no mode such as 1777",
            ),
            ("target=/a,speed=fast", "speed is no field of a mount here"),
            (
                "target=/a,readonly=maybe",
                "readonly is \"maybe\", neither true nor false",
            ),
            ("target=/a,,", "a field is empty"),
            ("target", "target has no value"),
            ("target=/a,volume-opt=x", "\"x\" has no =VALUE"),
        ] {
            assert_eq!(mount(bad).unwrap_err(), wrong, "{bad}");
        }
    }

    #[test]
    fn placeholders_are_filled_in_and_tmp_is_left_to_what_is_mounted_there() {
        let options = ContainerOptions {
            volume: vec!["data-{name}:/data".to_owned(), "/cache".to_owned()],
            mount: vec![mount("source=log-{ordinal},target=/log").unwrap()],
            tmpfs: vec![tmpfs("/run:size=1m").unwrap()],
            ..Default::default()
        };
        let body = applied(&options, true);
        assert_eq!(body.volumes.as_deref(), Some(&["/cache".to_owned()][..]));
        let host = host(&body);
        assert_eq!(
            host.binds.as_deref(),
            Some(&["data-web-7:/data".to_owned()][..])
        );
        assert_eq!(
            host.mounts.as_ref().unwrap()[0].source.as_deref(),
            Some("log-7")
        );
        let tmpfs = host.tmpfs.as_ref().unwrap();
        assert_eq!((&*tmpfs["/run"], &*tmpfs["/tmp"]), ("size=1m", TMP.1));

        let own_tmp = |volume: &str, read_only| ContainerOptions {
            volume: vec![volume.to_owned()],
            read_only,
            ..Default::default()
        };
        let tmp = |options, restricted| {
            super::super::host(&applied(&options, restricted))
                .tmpfs
                .clone()
        };
        assert_eq!(tmp(own_tmp("scratch:/tmp", None), true), None);
        assert_eq!(tmp(own_tmp("x1:/x", Some(false)), true), None);
        assert_eq!(tmp(own_tmp("x1:/x", None), false), None);
        assert!(tmp(own_tmp("x1:/x", None), true).is_some());
    }
}
