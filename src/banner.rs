//! The few lines that a person sees when the balancer starts.

use std::fmt::Write;
use std::net::SocketAddr;

use actix_web::http::Method;

use crate::config::{AdminCalls, RuntimeSettings, Settings};
use crate::human::counted;

/// The demo server's image, as compose.yaml builds it.
const DEMO_IMAGE: &str = "ringmaster-server";

/// What it listens on, what it runs, what to try next. `takes_changes`: clients on this machine may
/// add and remove replicas on the client port. `login_link` logs in to the dashboard.
pub fn text(
    address: SocketAddr,
    admin: Option<SocketAddr>,
    takes_changes: bool,
    login_link: Option<&str>,
    settings: &Settings,
) -> String {
    let url = match &settings.server.public_address {
        // What is published everywhere is published here.
        Some(public) => match public.strip_prefix("0.0.0.0:") {
            Some(port) => format!("http://localhost:{port}"),
            None => format!("http://{public}"),
        },
        None => url(address),
    };
    let all = |what| counted(settings.replicas.len() as u64, what);
    let what = match &settings.runtime {
        RuntimeSettings::Process(template) => match &template.command {
            Some(command) => format!("{} of `{}`", all("replica"), command.join(" ")),
            None => format!("{} as child processes", all("demo replica")),
        },
        RuntimeSettings::Docker(docker) => {
            format!("{} of the image {}", all("container"), docker.image)
        }
        RuntimeSettings::Swarm(swarm) => format!(
            "{} of the image {}",
            all("Swarm service"),
            swarm.containers.image
        ),
        RuntimeSettings::Static(_) => format!("{} that somebody else runs", all("server")),
    };
    let path = first_path(settings);
    let mut text = String::new();
    let strategy = settings.ring.strategy();
    // Writing to a string cannot fail.
    let _ = write!(
        text,
        "ringmaster {version} listens on {url}\n\
         it balances {what} ({strategy} ring)\n\
         \n\
         try   curl {url}{path}\n",
        version = env!("CARGO_PKG_VERSION"),
    );
    let admin = admin.map(self::url);
    let off = settings.server.admin_calls == AdminCalls::Off;
    let lists = if off { admin.as_ref() } else { Some(&url) };
    if let Some(lists) = lists {
        let _ = writeln!(text, "      curl {lists}/rep");
    }
    let changes = if takes_changes {
        Some(&url)
    } else {
        admin.as_ref()
    };
    let is_static = matches!(settings.runtime, RuntimeSettings::Static(_));
    if let Some(changes) = changes.filter(|_| !is_static) {
        let _ = writeln!(
            text,
            "      curl -X POST {changes}/add -H 'Content-Type: application/json' -d '{{\"n\":1}}'"
        );
    }
    if let Some(admin) = &admin {
        let _ = writeln!(text, "admin curl {admin}/api/v1/status");
    }
    if let Some(link) = login_link {
        text.push_str(&login_line(link));
    }
    text.push_str("stop  Ctrl-C\n");
    text
}

/// The line with the link that logs in to the dashboard.
pub fn login_line(link: &str) -> String {
    format!("login {link} (once, within ten minutes)\n")
}

/// A path that answers with 200: the demo server's greeting, or what makes replicas ready.
fn first_path(settings: &Settings) -> &str {
    let is_demo = match &settings.runtime {
        RuntimeSettings::Process(template) => template.command.is_none(),
        RuntimeSettings::Static(_) => false,
        runtime => runtime.containers().is_some_and(|containers| {
            containers.image == DEMO_IMAGE && containers.template.command.is_none()
        }),
    };
    if is_demo {
        "/home"
    } else if settings.health.heartbeat.method == Method::GET {
        &settings.health.heartbeat.path
    } else {
        "/"
    }
}

/// An address that a client on this machine can use.
pub fn url(address: SocketAddr) -> String {
    if address.ip().is_unspecified() {
        format!("http://localhost:{}", address.port())
    } else {
        format!("http://{address}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Invocation, parse};

    fn banner(args: &[&str]) -> String {
        let args = [&["ringmaster"], args].concat();
        let Ok(Invocation::Balance { settings, .. }) = parse(args.iter().map(Into::into), [])
        else {
            panic!("{args:?}");
        };
        text("0.0.0.0:5000".parse().unwrap(), None, true, None, &settings)
    }

    #[test]
    fn calls_that_would_be_refused_are_not_suggested() {
        let Ok(Invocation::Balance { settings, .. }) = parse([], []) else {
            panic!("the defaults are valid");
        };
        let address = "0.0.0.0:5000".parse().unwrap();
        let admin = Some("127.0.0.1:5001".parse().unwrap());
        for (admin, takes_changes, suggested) in [
            (None, true, Some("POST http://localhost:5000/add")),
            (None, false, None),
            (admin, false, Some("POST http://127.0.0.1:5001/add")),
        ] {
            let text = text(address, admin, takes_changes, None, &settings);
            let found = text
                .contains("POST")
                .then(|| suggested.unwrap_or("nothing"));
            assert_eq!(found, suggested, "{text}");
            assert!(suggested.is_none_or(|call| text.contains(call)), "{text}");
        }
    }

    #[test]
    fn one_server_has_no_plural() {
        for (args, what) in [
            (["--upstream", "a:1"], "1 server that somebody else runs ("),
            (["--replicas", "2"], "2 demo replicas as child processes ("),
        ] {
            let text = banner(&args);
            assert!(text.contains(what), "{text}");
        }
    }

    #[test]
    fn the_first_suggestion_is_where_clients_reach_it_and_answers() {
        for (args, suggestion) in [
            (&[][..], "try   curl http://localhost:5000/home\n"),
            (
                &[
                    "--image",
                    "ringmaster-server",
                    "--public-address",
                    "127.0.0.1:8080",
                ],
                "try   curl http://127.0.0.1:8080/home\n",
            ),
            (
                &[
                    "--image",
                    "shop",
                    "--public-address",
                    "0.0.0.0:80",
                    "--heartbeat-path",
                    "/up",
                ],
                "try   curl http://localhost:80/up\n",
            ),
            (
                &["--upstream", "a:1", "--heartbeat-method", "HEAD"],
                "try   curl http://localhost:5000/\n",
            ),
        ] {
            let text = banner(args);
            assert!(text.contains(suggestion), "{args:?}: {text}");
        }
    }
}
