//! `--log-driver` and `--log-opt`.

use bollard::models::{HostConfig, HostConfigLogConfig};

use super::fields::{pair, word};
use super::placeholders::Placeholders;
use crate::fleet::ContainerOptions;

/// Reads a driver's name. Which there are is the engine's to say: some are plugins.
pub(crate) fn log_driver(text: &str) -> Result<String, String> {
    word("a driver's name", text)
}

/// Reads an option of the driver.
pub(crate) fn log_opt(text: &str) -> Result<(String, String), String> {
    pair(text)
}

/// Sets both. Options without a driver are for the engine's own default.
pub(super) fn apply(
    options: &ContainerOptions,
    placeholders: &Placeholders<'_>,
    host: &mut HostConfig,
) -> Result<(), String> {
    if options.log_driver.is_none() && options.log_opt.is_empty() {
        return Ok(());
    }
    host.log_config = Some(HostConfigLogConfig {
        typ: options.log_driver.clone(),
        config: Some(placeholders.fill_values(&options.log_opt)?),
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::{applied, host};
    use super::*;

    #[test]
    fn options_of_a_driver_are_pairs() {
        let options = ContainerOptions {
            log_driver: Some(log_driver("journald").unwrap()),
            log_opt: vec![log_opt("tag={name}").unwrap()],
            ..Default::default()
        };
        let body = applied(&options, true);
        let log = host(&body).log_config.as_ref().unwrap();
        assert_eq!(log.typ.as_deref(), Some("journald"));
        assert_eq!(log.config.as_ref().unwrap()["tag"], "web-7");
        assert_eq!(
            log_opt("max-size").unwrap_err(),
            "\"max-size\" has no =VALUE"
        );
        assert!(log_driver("a b").is_err());
    }
}
