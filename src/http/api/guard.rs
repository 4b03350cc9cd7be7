//! Who may use the admin calls.
//!
//! They carry no secret, so it counts where a call comes from. A web page can make the browser
//! of anyone who can reach the balancer send requests: it is known by Origin and Sec-Fetch-Site,
//! and, where its name was made to resolve to the balancer's address (DNS rebinding), by the
//! name in Host. A client is local if it comes by loopback and no proxy says that it forwards.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use actix_web::HttpRequest;
use actix_web::http::header::{HOST, HeaderMap, HeaderName, HeaderValue, ORIGIN};
use actix_web::http::uri::Authority;
use actix_web::http::{Method, Uri};

use crate::config::AdminCalls;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Who may use the admin calls.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AdminGuard {
    /// What the client port does with them.
    pub calls: AdminCalls,
    /// Names of this balancer besides `localhost`, in lower case.
    pub hosts: Arc<[String]>,
    /// The address with which clients of this machine arrive in its container.
    pub gateway: Option<IpAddr>,
}

/// Why a call is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The Host header names something else.
    ForeignHost(String),
    /// A web page sends it.
    WebPage,
    /// It comes from another machine, or by a proxy.
    NotLocal,
    /// The same, on the admin listener.
    NotLocalOnAdmin,
    /// Its token gives the right to read alone.
    ReadOnly,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ForeignHost(host) => write!(
                f,
                "the host {host:?} is none of this balancer's; use an IP address or localhost, \
                 or start it with --admin-host {host}"
            ),
            Self::WebPage => {
                f.write_str("web pages may not use this call: Origin or Sec-Fetch-Site is set")
            }
            Self::NotLocal => f.write_str(
                "only clients of the balancer's own machine may change replicas here, not through \
                 a proxy; use the admin listener (--admin), or start it with --admin-calls on",
            ),
            Self::NotLocalOnAdmin => f.write_str(
                "only clients of the balancer's own machine may use the admin API, not through a \
                 proxy; see --admin-token-file",
            ),
            Self::ReadOnly => f.write_str("the token gives the right to read, not to change"),
        }
    }
}

impl AdminGuard {
    /// Whether a call on the client port is to be answered.
    pub fn check_client(&self, request: &HttpRequest) -> Result<(), Refusal> {
        self.check_host(request)?;
        if is_read(request.method()) {
            return Ok(());
        }
        let headers = request.headers();
        // What the application serves has the origin of the client port.
        if headers.contains_key(ORIGIN) || headers.contains_key(SEC_FETCH_SITE) {
            return Err(Refusal::WebPage);
        }
        if self.calls == AdminCalls::Local && !self.is_local(request) {
            return Err(Refusal::NotLocal);
        }
        Ok(())
    }

    /// Whether a call on the admin listener comes from a client that may make it.
    pub fn check_caller(&self, request: &HttpRequest) -> Result<(), Refusal> {
        match self.calls != AdminCalls::Local || self.is_local(request) {
            true => Ok(()),
            false => Err(Refusal::NotLocalOnAdmin),
        }
    }

    /// Whether a call on the admin listener is not sent by a web page of another origin.
    pub fn check_page(&self, request: &HttpRequest) -> Result<(), Refusal> {
        self.check_host(request)?;
        match is_read(request.method()) {
            true => Ok(()),
            false => self.check_origin(request),
        }
    }

    /// Whether a call on the admin listener, a read or not, is not sent by a web page of another
    /// origin. (Pages of the same host and another port have the same site: they send its cookies.)
    pub fn check_origin(&self, request: &HttpRequest) -> Result<(), Refusal> {
        let headers = request.headers();
        let host = authority(request);
        let is_own = |origin: &HeaderValue| is_origin_of(origin, host);
        let is_direct = |site: &HeaderValue| ["same-origin", "none"].iter().any(|own| site == own);
        let is_fine =
            headers.get_all(ORIGIN).all(is_own) && headers.get_all(SEC_FETCH_SITE).all(is_direct);
        if is_fine {
            Ok(())
        } else {
            Err(Refusal::WebPage)
        }
    }

    fn check_host(&self, request: &HttpRequest) -> Result<(), Refusal> {
        // Browsers always send it.
        let Some(authority) = authority(request) else {
            return Ok(());
        };
        let host = host_of(authority);
        if self.is_own_name(&host) {
            return Ok(());
        }
        Err(Refusal::ForeignHost(host))
    }

    fn is_own_name(&self, host: &str) -> bool {
        host.parse::<IpAddr>().is_ok()
            || host == "localhost"
            || host.ends_with(".localhost")
            || self.hosts.iter().any(|own| own == host)
    }

    fn is_local(&self, request: &HttpRequest) -> bool {
        let peer = request.peer_addr().map(|peer| peer.ip().to_canonical());
        peer.is_some_and(|peer| peer.is_loopback() || Some(peer) == self.gateway)
            && !is_forwarded(request.headers())
    }
}

/// Whether a method changes nothing.
pub fn is_read(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

/// The authority of a target in absolute form, else Host (RFC 9112, section 3.2.2).
fn authority(request: &HttpRequest) -> Option<&[u8]> {
    let target = request.uri();
    let told = target.scheme().and(target.authority());
    let told = told.map(|authority| authority.as_str().as_bytes());
    told.or_else(|| request.headers().get(HOST).map(HeaderValue::as_bytes))
}

/// The host of an authority in lower case, without port, brackets, or the root's dot.
fn host_of(authority: &[u8]) -> String {
    let text = String::from_utf8_lossy(authority);
    let parsed = text.parse::<Authority>();
    let host = parsed.as_ref().map_or(&*text, Authority::host);
    let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    let host = bare.unwrap_or(host);
    host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase()
}

/// The port of the authority that a request names, 80 if it names none.
pub fn port(request: &HttpRequest) -> u16 {
    let authority = authority(request).map(String::from_utf8_lossy);
    let port = authority
        .as_deref()
        .and_then(|authority| authority.rsplit_once(':'));
    port.and_then(|(_, port)| port.parse().ok()).unwrap_or(80)
}

/// Whether a page of this origin was served under this authority.
fn is_origin_of(origin: &HeaderValue, authority: Option<&[u8]>) -> bool {
    let origin = origin
        .to_str()
        .ok()
        .and_then(|origin| origin.parse::<Uri>().ok());
    let (Some(origin), Some(authority)) = (origin, authority) else {
        return false;
    };
    let own = origin.authority();
    own.is_some_and(|own| own.as_str().as_bytes().eq_ignore_ascii_case(authority))
}

/// Whether a proxy says that it forwards. What it says of the client is not looked at: who
/// trusts a proxy with changes says so by `--admin-calls on`.
fn is_forwarded(headers: &HeaderMap) -> bool {
    headers.keys().any(|name| {
        // CGI servers take the one for the other.
        let name = name.as_str().replace('_', "-");
        name.starts_with("x-forwarded")
            || ["forwarded", "via", "x-real-ip", "true-client-ip"].contains(&name.as_str())
    })
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn request(method: Method, peer: &str, headers: &[(&'static str, &str)]) -> HttpRequest {
        let request = TestRequest::with_uri("/add").method(method);
        let request = request.peer_addr(peer.parse().unwrap());
        let append = |request: TestRequest, header: &(&'static str, &str)| {
            request.append_header((header.0, header.1))
        };
        headers.iter().fold(request, append).to_http_request()
    }

    fn guard(calls: AdminCalls) -> AdminGuard {
        AdminGuard {
            calls,
            hosts: ["lb.example".to_owned()].into(),
            gateway: Some([172, 17, 0, 1].into()),
        }
    }

    #[test]
    fn calls_name_the_balancer_by_address_or_by_a_name_that_is_its_own() {
        for (host, is_own) in [
            ("127.0.0.1:5000", true),
            ("10.1.2.3", true),
            ("[::1]:5000", true),
            ("localhost", true),
            ("LocalHost.:5000", true),
            ("shop.localhost:5000", true),
            ("LB.example:5000", true),
            ("evil.example", false),
            ("evil.example:5000", false),
            ("localhost.evil.example", false),
            ("evillocalhost", false),
            ("xlb.example", false),
            ("127.0.0.1.evil.example", false),
            ("127.1:5000", false),
            ("user@localhost", true),
            ("localhost@evil.example", false),
            ("", false),
        ] {
            for method in [Method::GET, Method::POST] {
                let request = request(method, "127.0.0.1:1", &[("host", host)]);
                let guard = guard(AdminCalls::On);
                assert_eq!(guard.check_client(&request).is_ok(), is_own, "{host}");
                assert_eq!(guard.check_page(&request).is_ok(), is_own, "{host}");
            }
        }
        // A target in absolute form wins.
        let absolute = TestRequest::with_uri("http://evil.example/rep")
            .insert_header(("host", "localhost"))
            .to_http_request();
        let foreign = Refusal::ForeignHost("evil.example".to_owned());
        assert_eq!(guard(AdminCalls::On).check_client(&absolute), Err(foreign));
    }

    #[test]
    fn pages_change_nothing_but_the_admin_listener_s_own() {
        let host = ("host", "localhost:5001");
        for (header, on_admin) in [
            (("origin", "http://localhost:5001"), true),
            (("origin", "http://LOCALHOST:5001"), true),
            (("origin", "http://localhost:5000"), false),
            (("origin", "http://localhost"), false),
            (("origin", "http://evil.example"), false),
            (("origin", "null"), false),
            (("origin", ""), false),
            (("sec-fetch-site", "same-origin"), true),
            (("sec-fetch-site", "none"), true),
            (("sec-fetch-site", "same-site"), false),
            (("sec-fetch-site", "cross-site"), false),
        ] {
            let write = request(Method::POST, "127.0.0.1:1", &[host, header]);
            let guard = guard(AdminCalls::On);
            let on_admin = if on_admin {
                Ok(())
            } else {
                Err(Refusal::WebPage)
            };
            assert_eq!(guard.check_page(&write), on_admin, "{header:?}");
            assert_eq!(
                guard.check_client(&write),
                Err(Refusal::WebPage),
                "{header:?}"
            );
            let read = request(Method::GET, "127.0.0.1:1", &[host, header]);
            assert_eq!(guard.check_page(&read), Ok(()), "{header:?}");
            assert_eq!(guard.check_client(&read), Ok(()), "{header:?}");
        }
    }

    #[test]
    fn changes_are_made_by_loopback_and_the_gateway_and_by_no_proxy() {
        for (peer, header, is_local) in [
            ("127.0.0.1:1", ("accept", "*/*"), true),
            ("[::1]:1", ("accept", "*/*"), true),
            ("[::ffff:127.0.0.1]:1", ("accept", "*/*"), true),
            ("172.17.0.1:1", ("accept", "*/*"), true),
            ("172.17.0.2:1", ("accept", "*/*"), false),
            ("192.0.2.9:1", ("accept", "*/*"), false),
            ("192.0.2.9:1", ("x-forwarded-for", "127.0.0.1"), false),
            ("127.0.0.1:1", ("x-forwarded-for", "192.0.2.9"), false),
            ("127.0.0.1:1", ("x-forwarded-for", "unknown"), false),
            ("127.0.0.1:1", ("x_forwarded_for", "192.0.2.9"), false),
            ("127.0.0.1:1", ("forwarded", "for=192.0.2.9"), false),
            ("127.0.0.1:1", ("x-real-ip", "192.0.2.9"), false),
            ("127.0.0.1:1", ("via", "1.1 front"), false),
            ("172.17.0.1:1", ("x-forwarded-proto", "https"), false),
        ] {
            let headers = [("host", "localhost"), header];
            let write = request(Method::DELETE, peer, &headers);
            let expected = if is_local {
                Ok(())
            } else {
                Err(Refusal::NotLocal)
            };
            let guarded = guard(AdminCalls::Local).check_client(&write);
            assert_eq!(guarded, expected, "{peer} {header:?}");
            assert_eq!(guard(AdminCalls::On).check_client(&write), Ok(()));
            let read = request(Method::GET, peer, &headers);
            assert_eq!(guard(AdminCalls::Local).check_client(&read), Ok(()));
        }
        let mut outside = guard(AdminCalls::Local);
        outside.gateway = None;
        let by_gateway = request(Method::POST, "172.17.0.1:1", &[("host", "localhost")]);
        assert_eq!(outside.check_client(&by_gateway), Err(Refusal::NotLocal));
    }
}
