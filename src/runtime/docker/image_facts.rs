//! What an image says of its containers: its user, its port, its labels. Pure.

use std::collections::HashMap;

use super::DockerSettings;
use super::labels::COMPOSE;

/// The port of replicas if neither setting nor image names one.
pub(super) const DEFAULT_PORT: u16 = 5000;

/// The settings of an image that concern its containers.
#[derive(Debug, Clone, Default)]
pub(crate) struct ImageFacts {
    /// Its `USER`.
    pub(super) user: String,
    pub(super) labels: HashMap<String, String>,
    /// The TCP ports of its `EXPOSE`, in order.
    pub(super) exposed: Vec<u16>,
}

impl ImageFacts {
    /// Those of an image that this engine does not have: its user is its own.
    pub(crate) fn unknown() -> Self {
        Self {
            user: "unknown".to_owned(),
            ..Self::default()
        }
    }
}

/// The port that replicas are to listen on: the setting, else the one that the image exposes.
pub(super) fn port(settings: &DockerSettings, image: &ImageFacts) -> u16 {
    let exposed = match image.exposed[..] {
        [port] => Some(port),
        _ => None,
    };
    settings.template.port.or(exposed).unwrap_or(DEFAULT_PORT)
}

/// A hint for a container in which nothing listens on `port`.
pub(crate) fn port_hint(port: u16, image: &ImageFacts) -> String {
    match image.exposed[..] {
        [exposed] if exposed != port => {
            format!("the image exposes {exposed}: --replica-port {exposed}")
        }
        [_, _, ..] if !image.exposed.contains(&port) => {
            let ports: Vec<_> = image.exposed.iter().map(u16::to_string).collect();
            format!(
                "the image exposes {}: --replica-port takes one",
                ports.join(", ")
            )
        }
        _ => format!("the program has to listen on 0.0.0.0:{port}, as PORT says"),
    }
}

/// The TCP ports that an image exposes, from `80/tcp` and the like.
pub(super) fn exposed(ports: &[String]) -> Vec<u16> {
    let port = |text: &String| {
        let (port, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        port.parse().ok().filter(|_| protocol == "tcp")
    };
    let mut ports: Vec<u16> = ports.iter().filter_map(port).collect();
    ports.sort_unstable();
    ports
}

/// Labels that keep a container from counting as a service of the compose project that built its
/// image: compose would stop and remove it. An inherited label cannot be removed, only emptied.
pub(super) fn no_service(image: &ImageFacts) -> HashMap<String, String> {
    let inherited = image.labels.keys().filter(|key| key.starts_with(COMPOSE));
    inherited.map(|key| (key.clone(), String::new())).collect()
}

#[cfg(test)]
mod tests {
    use super::super::by_flags::tests::settings;
    use super::*;

    #[test]
    fn port_of_an_image_that_exposes_one_is_used() {
        let image = |ports: &[&str]| {
            let ports: Vec<_> = ports.iter().map(|&port| port.to_owned()).collect();
            ImageFacts {
                exposed: exposed(&ports),
                ..Default::default()
            }
        };
        let mut settings = settings();
        assert_eq!(port(&settings, &image(&["80/tcp"])), 8080);
        settings.template.port = None;
        for (ports, expected) in [
            (&["80/tcp"][..], 80),
            (&["80/tcp", "53/udp"], 80),
            (&["443/tcp", "80/tcp"], 5000),
            (&["53/udp"], 5000),
            (&[], 5000),
        ] {
            assert_eq!(port(&settings, &image(ports)), expected, "{ports:?}");
        }
        for (ports, hint) in [
            (&["80/tcp"][..], "the image exposes 80: --replica-port 80"),
            (
                &["443/tcp", "80/tcp"],
                "the image exposes 80, 443: --replica-port takes one",
            ),
            (
                &["5000/tcp"],
                "the program has to listen on 0.0.0.0:5000, as PORT says",
            ),
        ] {
            assert_eq!(port_hint(5000, &image(ports)), hint);
        }
    }
}
