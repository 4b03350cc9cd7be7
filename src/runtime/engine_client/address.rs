//! Where an engine is.

use std::path::PathBuf;

/// The port of `tcp://` without one, as Docker has it.
const PORT: u16 = 2375;

/// An engine's address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Address {
    Unix(PathBuf),
    /// Host and port.
    Tcp(String),
}

impl Address {
    /// Reads `unix://PATH`, `tcp://HOST:PORT` or `http://HOST:PORT`: bollard has refused all
    /// others.
    pub(super) fn of(host: &str) -> Self {
        let (scheme, rest) = host.split_once("://").unwrap_or(("unix", host));
        if scheme == "unix" {
            return Self::Unix(rest.into());
        }
        let authority = rest.split('/').next().unwrap_or_default();
        let has_port = authority
            .rsplit_once(':')
            .is_some_and(|(_, port)| !port.ends_with(']'));
        Self::Tcp(match has_port {
            true => authority.to_owned(),
            false => format!("{authority}:{PORT}"),
        })
    }

    /// The Host header of a request to it.
    pub(super) fn host(&self) -> &str {
        match self {
            Self::Unix(_) => "docker",
            Self::Tcp(host) => host,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Address;

    #[test]
    fn addresses_are_those_of_docker_host() {
        let unix = |path: &str| Address::Unix(path.into());
        let tcp = |host: &str| Address::Tcp(host.to_owned());
        for (host, address) in [
            ("unix:///var/run/docker.sock", unix("/var/run/docker.sock")),
            ("tcp://proxy:2376", tcp("proxy:2376")),
            ("tcp://proxy", tcp("proxy:2375")),
            ("http://[::1]/", tcp("[::1]:2375")),
            ("tcp://[::1]:80", tcp("[::1]:80")),
        ] {
            assert_eq!(Address::of(host), address, "{host}");
        }
    }
}
