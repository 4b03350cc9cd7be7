//! `--ulimit` and `--shm-size`.

use bollard::models::{HostConfig, ResourcesUlimits};

use super::fields::{bytes, one_of};
use super::some;
use crate::fleet::{ContainerOptions, Ulimit};

const ULIMITS: [&str; 16] = [
    "as",
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

/// Reads `NAME=SOFT[:HARD]`.
pub(crate) fn ulimit(text: &str) -> Result<Ulimit, String> {
    let (name, limits) = text.split_once('=').ok_or("has no =LIMIT")?;
    let name = one_of("limit", name, &ULIMITS)?;
    let (soft, hard) = limits.split_once(':').unwrap_or((limits, limits));
    let number = |text: &str| match text.parse() {
        Ok(number) if number >= -1 => Ok(number),
        _ => Err(format!(
            "{text:?} is neither a whole number nor -1 (no limit)"
        )),
    };
    let (soft, hard): (i64, i64) = (number(soft)?, number(hard)?);
    if hard != -1 && (soft == -1 || soft > hard) {
        return Err(format!(
            "the soft limit {soft} is above the hard one, {hard}"
        ));
    }
    Ok(Ulimit { name, soft, hard })
}

/// Reads the size of `/dev/shm`.
pub(crate) fn shm_size(text: &str) -> Result<u64, String> {
    match bytes(text)? {
        0 => Err("too small".to_owned()),
        size => Ok(size),
    }
}

/// Sets both.
pub(super) fn apply(options: &ContainerOptions, host: &mut HostConfig) {
    let ulimits = options.ulimit.iter().map(|limit| ResourcesUlimits {
        name: Some(limit.name.clone()),
        soft: Some(limit.soft),
        hard: Some(limit.hard),
    });
    host.ulimits = some(ulimits.collect());
    host.shm_size = options.shm_size.and_then(|size| i64::try_from(size).ok());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_as_docker_reads_them() {
        assert_eq!(
            ulimit("nofile=1024:4096").unwrap().to_string(),
            "nofile=1024:4096"
        );
        assert_eq!(ulimit("core=0").unwrap().to_string(), "core=0:0");
        assert_eq!(ulimit("memlock=-1").unwrap().to_string(), "memlock=-1:-1");
        assert_eq!(ulimit("nofile=8:-1").unwrap().to_string(), "nofile=8:-1");
        for (bad, wrong) in [
            ("nofile", "has no =LIMIT"),
            (
                "files=1",
                "\"files\" is no limit, of which there are as, core",
            ),
            (
                "nofile=",
                "\"\" is neither a whole number nor -1 (no limit)",
            ),
            (
                "nofile=-2",
                "\"-2\" is neither a whole number nor -1 (no limit)",
            ),
            ("nofile=9:8", "the soft limit 9 is above the hard one, 8"),
            ("nofile=-1:8", "the soft limit -1 is above the hard one, 8"),
        ] {
            let error = ulimit(bad).unwrap_err();
            assert!(error.starts_with(wrong), "{bad}: {error}");
        }
        assert_eq!(shm_size("1g"), Ok(1 << 30));
        assert_eq!(shm_size("0"), Err("too small".to_owned()));
    }
}
