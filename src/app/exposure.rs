//! Which clients can reach the balancer, and what is open to them: the addresses that count as
//! local, and the one line that says so.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use log::warn;

use crate::app::AppError;
use crate::config::{AdminCalls, Settings};
use crate::http::AdminGuard;
use crate::runtime::RuntimeError;
use crate::runtime::docker::loopback_gateway;

/// Who may make admin calls.
pub(super) struct Exposure {
    /// Of the client port.
    pub(super) client_guard: AdminGuard,
    /// Of the admin listener.
    pub(super) admin_guard: AdminGuard,
    /// Whether clients on this machine may change replicas on the client port.
    pub(super) takes_changes: bool,
}

/// Finds out which clients are local (on the admin listener that counts only without tokens), and warns once if something is open beyond this machine.
///
/// # Errors
///
/// The admin listener is open beyond this machine, and which of its clients are local is unknown.
pub(super) async fn of(
    settings: &Settings,
    address: SocketAddr,
    admin: Option<SocketAddr>,
    has_tokens: bool,
) -> Result<Exposure, AppError> {
    let calls = settings.server.admin_calls;
    let asks = calls == AdminCalls::Local && !is_loopback(address);
    let gateway = match asks {
        true => loopback_gateway(address.port()).await,
        false => Ok(None),
    };
    let is_insecure = settings.server.admin_insecure && !has_tokens;
    let admin_gateway = match admin {
        Some(admin) if !is_insecure && !has_tokens && !is_loopback(admin) => {
            let gateway = loopback_gateway(admin.port()).await;
            gateway.map_err(|cause| AppError::AdminExposed {
                address: admin,
                cause,
            })?
        }
        _ => None,
    };
    if let Some(warning) = warning(calls, address, admin.filter(|_| is_insecure), &gateway) {
        warn!("{warning}");
    }
    let takes_changes = match calls {
        AdminCalls::On => true,
        AdminCalls::Off => false,
        AdminCalls::Local => gateway.is_ok(),
    };
    let hosts: Arc<[String]> = Arc::from(settings.server.admin_host.as_slice());
    Ok(Exposure {
        client_guard: AdminGuard {
            calls,
            hosts: Arc::clone(&hosts),
            gateway: gateway.unwrap_or_default(),
        },
        admin_guard: AdminGuard {
            calls: match is_insecure {
                true => AdminCalls::On,
                false => AdminCalls::Local,
            },
            hosts,
            gateway: admin_gateway,
        },
        takes_changes,
    })
}

fn is_loopback(address: SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}

/// What is open beyond this machine, to whom.
fn warning(
    calls: AdminCalls,
    address: SocketAddr,
    admin: Option<SocketAddr>,
    gateway: &Result<Option<IpAddr>, RuntimeError>,
) -> Option<String> {
    let clients = (!is_loopback(address)).then(|| match (calls, gateway) {
        (AdminCalls::Off, _) => {
            format!("everyone who reaches {address} can use the service (--admin-calls off)")
        }
        (AdminCalls::On, _) => format!(
            "everyone who reaches {address} can use the service, and add and remove replicas \
             (--admin-calls on)"
        ),
        (AdminCalls::Local, Ok(gateway)) => {
            let through = match gateway {
                Some(gateway) => format!(" or through the gateway {gateway}"),
                None => String::new(),
            };
            format!(
                "everyone who reaches {address} can use the service and GET /rep; replicas are \
                 added and removed from loopback{through} only (--admin-calls local)"
            )
        }
        (AdminCalls::Local, Err(error)) => format!(
            "everyone who reaches {address} can use the service and GET /rep; replicas are added \
             and removed from inside this container only, because {error}; --admin-calls on \
             takes changes from everyone"
        ),
    });
    let admin = admin.filter(|admin| !is_loopback(*admin)).map(|admin| {
        format!("everyone who reaches {admin} can read the status and change replicas and ring (--admin-insecure)")
    });
    let told: Vec<String> = clients.into_iter().chain(admin).collect();
    (!told.is_empty()).then(|| told.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_says_what_is_open_beyond_this_machine() {
        let told = |calls, address: &str, admin: Option<&str>, gateway| {
            let admin = admin.map(|admin| admin.parse().unwrap());
            warning(calls, address.parse().unwrap(), admin, &gateway)
        };
        let local = AdminCalls::Local;
        for loopback in ["127.0.0.1:5000", "[::1]:5000", "127.9.9.9:1"] {
            assert_eq!(told(local, loopback, Some(loopback), Ok(None)), None);
        }
        let gateway = IpAddr::from([172, 17, 0, 1]);
        let unknown = RuntimeError("port 5000 is published on 0.0.0.0".to_owned());
        for (calls, admin, gateway, parts) in [
            (AdminCalls::On, None, Ok(None), &["add and remove"][..]),
            (
                AdminCalls::Off,
                None,
                Ok(None),
                &["the service (--admin-calls off)"],
            ),
            (local, None, Ok(None), &["GET /rep", "from loopback only"]),
            (
                local,
                None,
                Ok(Some(gateway)),
                &["or through the gateway 172.17.0.1 only"],
            ),
            (
                local,
                None,
                Err(unknown),
                &["published on 0.0.0.0; --admin-calls on"],
            ),
            (
                local,
                Some("0.0.0.0:5001"),
                Ok(None),
                &["; everyone who reaches 0.0.0.0:5001"],
            ),
        ] {
            let line = told(calls, "0.0.0.0:5000", admin, gateway).unwrap();
            assert!(
                line.starts_with("everyone who reaches 0.0.0.0:5000"),
                "{line}"
            );
            assert!(parts.iter().all(|part| line.contains(part)), "{line}");
        }
        let admin = told(local, "127.0.0.1:5000", Some("0.0.0.0:5001"), Ok(None)).unwrap();
        assert!(
            admin.starts_with("everyone who reaches 0.0.0.0:5001"),
            "{admin}"
        );
    }
}
