//! `--entrypoint`, `--workdir`, `--init` and `--stop-signal`.

use bollard::models::{ContainerCreateBody, HostConfig};

use super::placeholders::Placeholders;
use crate::fleet::ContainerOptions;

/// The signals that have a name everywhere (signal(7)).
const SIGNALS: [&str; 31] = [
    "ABRT", "ALRM", "BUS", "CHLD", "CONT", "FPE", "HUP", "ILL", "INT", "IO", "IOT", "KILL", "PIPE",
    "POLL", "PROF", "PWR", "QUIT", "SEGV", "STKFLT", "STOP", "SYS", "TERM", "TRAP", "TSTP", "TTIN",
    "TTOU", "URG", "USR1", "USR2", "WINCH", "XCPU",
];

/// The highest number of a signal.
const MAX_SIGNAL: u8 = 64;

/// Reads the words of an entrypoint, as a shell would split them; none: the image's is not used.
pub(crate) fn entrypoint(text: &str) -> Result<Vec<String>, String> {
    if text.contains('\0') {
        return Err("has a NUL character in it".to_owned());
    }
    shlex::split(text).ok_or_else(|| "a quote is not closed".to_owned())
}

/// Reads a path in the container.
pub(crate) fn workdir(text: &str) -> Result<String, String> {
    match text.starts_with('/') && !text.contains('\0') {
        true => Ok(text.to_owned()),
        false => Err("no absolute path".to_owned()),
    }
}

/// Reads a signal's name, with or without `SIG`, or its number.
pub(crate) fn stop_signal(text: &str) -> Result<String, String> {
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let is_number = text
        .parse()
        .is_ok_and(|number| (1..=MAX_SIGNAL).contains(&number));
    let real_time = ["RTMIN", "RTMAX"];
    let is_real_time = real_time.iter().any(|base| name.starts_with(base));
    match is_number || is_real_time || SIGNALS.contains(&name) {
        true if is_number => Ok(text.to_owned()),
        true => Ok(format!("SIG{name}")),
        false => Err("no signal".to_owned()),
    }
}

/// Sets all of them.
pub(super) fn apply(
    options: &ContainerOptions,
    placeholders: &Placeholders<'_>,
    body: &mut ContainerCreateBody,
    host: &mut HostConfig,
) -> Result<(), String> {
    if let Some(words) = &options.entrypoint {
        let words = placeholders.fill_all(words)?;
        // As Docker's `--entrypoint ''`.
        body.entrypoint = Some(if words.is_empty() {
            vec![String::new()]
        } else {
            words
        });
    }
    let workdir = options.workdir.as_ref().map(|path| placeholders.fill(path));
    body.working_dir = workdir.transpose()?;
    body.stop_signal.clone_from(&options.stop_signal);
    host.init = options.init;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::{applied, host};
    use super::*;

    #[test]
    fn programs_are_read() {
        assert_eq!(entrypoint("sh -c 'a b'").unwrap(), ["sh", "-c", "a b"]);
        assert_eq!(entrypoint("").unwrap(), [""; 0]);
        assert_eq!(entrypoint("'a").unwrap_err(), "a quote is not closed");
        assert_eq!(workdir("srv").unwrap_err(), "no absolute path");
        for (text, signal) in [
            ("SIGQUIT", "SIGQUIT"),
            ("usr1", "SIGUSR1"),
            ("15", "15"),
            ("RTMIN+3", "SIGRTMIN+3"),
        ] {
            assert_eq!(stop_signal(text).as_deref(), Ok(signal));
        }
        for bad in ["", "SIG", "SIGNOPE", "0", "65"] {
            assert_eq!(stop_signal(bad).unwrap_err(), "no signal", "{bad}");
        }
    }

    #[test]
    fn programs_are_applied() {
        let options = ContainerOptions {
            entrypoint: Some(vec!["serve".to_owned(), "{name}".to_owned()]),
            workdir: Some("/srv/{ordinal}".to_owned()),
            init: Some(true),
            stop_signal: Some("SIGINT".to_owned()),
            ..Default::default()
        };
        let body = applied(&options, true);
        assert_eq!(body.entrypoint.as_deref().unwrap(), ["serve", "web-7"]);
        assert_eq!(body.working_dir.as_deref(), Some("/srv/7"));
        assert_eq!(body.stop_signal.as_deref(), Some("SIGINT"));
        assert_eq!(host(&body).init, Some(true));
        let none = ContainerOptions {
            entrypoint: Some(Vec::new()),
            ..Default::default()
        };
        assert_eq!(applied(&none, true).entrypoint.as_deref().unwrap(), [""]);
    }
}
