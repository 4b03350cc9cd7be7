//! Calls of the admin API, and what is wrong with an answer.

use std::time::Duration;

use awc::error::{ConnectError, SendRequestError};
use awc::http::header::{ACCEPT, CONTENT_TYPE, ETAG, HeaderName};
use awc::http::{Method, StatusCode};
use awc::{Client, ClientRequest, ClientResponse, Connector};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::error::CtlError;
use super::options::CtlOptions;
use crate::api::{ListPage, Problem, ReplicaStatus, VersionInfo};
use crate::experiments::AdminAccess;

/// How long to wait for what is known already, and for what starts or stops replicas.
const READ_TIMEOUT: Duration = Duration::from_secs(10);
const CHANGE_TIMEOUT: Duration = Duration::from_secs(300);

/// More than a thousand replicas and a hundred deaths take.
const MAX_BODY: usize = 64 << 20;

/// What stands in a path as it is (RFC 3986, section 2.3).
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// The end of a problem's `type`, if the replica does not exist.
const UNKNOWN_REPLICA: &str = "/unknown-replica";

/// An answer, read and as it came.
pub struct ApiReply<T> {
    pub value: T,
    pub json: String,
    /// The version of the configuration that it shows.
    pub etag: Option<String>,
}

/// The body of an answer, and its `ETag`.
struct RawReply {
    json: String,
    etag: Option<String>,
}

/// What a change is sent with.
#[derive(Debug, Clone, Copy)]
pub enum CallCondition<'a> {
    /// Nothing.
    None,
    /// The configuration has this `ETag`, if one is known.
    IfMatch(Option<&'a str>),
    /// It has not been carried out already under this key.
    IdempotencyKey(&'a str),
}

impl CallCondition<'_> {
    fn header(self) -> Option<(&'static str, String)> {
        match self {
            Self::None | Self::IfMatch(None) => None,
            Self::IfMatch(Some(etag)) => Some(("If-Match", etag.to_owned())),
            Self::IdempotencyKey(key) => Some(("Idempotency-Key", format!("\"{key}\""))),
        }
    }
}

/// A client of one balancer.
pub struct CtlClient {
    http: Client,
    access: AdminAccess,
    url_from: String,
    token_from: Option<String>,
    timeout: Option<Duration>,
}

impl CtlClient {
    /// A client of the balancer that the options name.
    pub fn new(options: &CtlOptions) -> Self {
        let connector = Connector::new().timeout(options.timeout.unwrap_or(READ_TIMEOUT));
        let http = Client::builder()
            .connector(connector)
            .disable_redirects()
            // Each call has its own.
            .disable_timeout()
            .finish();
        Self {
            http,
            access: options.access.clone(),
            url_from: options.url_from.clone(),
            token_from: options.token_from.clone(),
            timeout: options.timeout,
        }
    }

    /// `http://HOST:PORT`.
    pub fn url(&self) -> &str {
        &self.access.url
    }

    /// The fleet's name.
    pub fn fleet(&self) -> &str {
        &self.access.fleet
    }

    /// A path below the fleet's.
    pub fn fleet_path(&self, rest: &str) -> String {
        format!("/fleets/{}{rest}", encoded(self.access.fleet.as_bytes()))
    }

    /// The path of a replica, with what follows it.
    pub fn replica_path(&self, name: &str, rest: &str) -> String {
        self.fleet_path(&format!("/replicas/{}{rest}", encoded(name.as_bytes())))
    }

    /// `GET`.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<ApiReply<T>, CtlError> {
        let none = CallCondition::None;
        let reply = self.call(Method::GET, path, none, None::<&()>).await?;
        self.read(&format!("GET {path}"), reply).await
    }

    /// `POST` or `PATCH`.
    pub async fn change<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        condition: CallCondition<'_>,
        body: &impl Serialize,
    ) -> Result<ApiReply<T>, CtlError> {
        let call = format!("{method} {path}");
        let reply = self.call(method, path, condition, Some(body)).await?;
        self.read(&call, reply).await
    }

    /// `DELETE`.
    pub async fn delete(&self, path: &str) -> Result<(), CtlError> {
        let none = CallCondition::None;
        self.call(Method::DELETE, path, none, None::<&()>).await?;
        Ok(())
    }

    /// `GET` of a text beside the API, such as `/metrics`.
    #[cfg(feature = "top")]
    pub async fn text(&self, path: &str) -> Result<String, CtlError> {
        let request = self.http.get(format!("{}{path}", self.access.url));
        let call = format!("GET {path}");
        let mut response = self.send(&call, request, READ_TIMEOUT, None::<&()>).await?;
        self.body(&call, &mut response).await
    }

    /// The stream of events, after the one with this number.
    pub async fn events(&self, after: Option<u64>) -> Result<ClientResponse, CtlError> {
        let call = "GET /events";
        let request = self.http.get(self.api_url("/events"));
        let mut request = request.insert_header((ACCEPT, "text/event-stream"));
        if let Some(after) = after {
            request = request.insert_header(("Last-Event-ID", after.to_string()));
        }
        let mut response = self.send(call, request, READ_TIMEOUT, None::<&()>).await?;
        let kind = content_type(&response);
        if response.status().is_success() && kind.starts_with("text/event-stream") {
            return Ok(response);
        }
        let status = response.status();
        let body = self.body(call, &mut response).await?;
        Err(self.judge(call, status, &kind, &body).await)
    }

    fn api_url(&self, path: &str) -> String {
        format!("{}/api/v1{path}", self.access.url)
    }

    /// A call that succeeds; its body.
    async fn call(
        &self,
        method: Method,
        path: &str,
        condition: CallCondition<'_>,
        body: Option<&impl Serialize>,
    ) -> Result<RawReply, CtlError> {
        let call = format!("{method} {path}");
        let timeout = match method {
            Method::GET => READ_TIMEOUT,
            _ => CHANGE_TIMEOUT,
        };
        let mut request = self.http.request(method, self.api_url(path));
        if let Some(header) = condition.header() {
            request = request.insert_header(header);
        }
        let mut response = self.send(&call, request, timeout, body).await?;
        let (status, kind) = (response.status(), content_type(&response));
        let etag = header(&response, &ETAG);
        let json = self.body(&call, &mut response).await?;
        let is_json = status == StatusCode::NO_CONTENT || kind.starts_with("application/json");
        if status.is_success() && is_json {
            return Ok(RawReply { json, etag });
        }
        Err(self.judge(&call, status, &kind, &json).await)
    }

    async fn send(
        &self,
        call: &str,
        request: ClientRequest,
        timeout: Duration,
        body: Option<&impl Serialize>,
    ) -> Result<ClientResponse, CtlError> {
        let after = self.timeout.unwrap_or(timeout);
        let request = match &self.access.token {
            Some(token) => request.bearer_auth(token.secret()),
            None => request,
        };
        let sent = match body {
            Some(body) => request.send_json(body),
            None => request.send(),
        };
        let url = self.access.url.clone();
        let unreachable = |cause| CtlError::Unreachable {
            url: url.clone(),
            from: self.url_from.clone(),
            cause,
        };
        let timed_out = || CtlError::TimedOut {
            call: call.to_owned(),
            url: url.clone(),
            after,
        };
        match tokio::time::timeout(after, sent).await {
            Err(_) => Err(timed_out()),
            Ok(Ok(response)) => Ok(response),
            Ok(Err(SendRequestError::Timeout)) => Err(timed_out()),
            Ok(Err(SendRequestError::Connect(ConnectError::Io(error)))) => {
                Err(unreachable(error.to_string()))
            }
            // So awc calls a connection that ends before the answer has begun.
            Ok(Err(SendRequestError::Connect(ConnectError::Disconnected))) => {
                Err(self.broken(call, "the connection broke".to_owned()))
            }
            Ok(Err(SendRequestError::Connect(error))) => Err(unreachable(error.to_string())),
            Ok(Err(SendRequestError::Response(error))) => {
                Err(self.not_ringmaster(format!("not HTTP: {error}")))
            }
            Ok(Err(error)) => Err(self.broken(call, error.to_string())),
        }
    }

    async fn body(&self, call: &str, response: &mut ClientResponse) -> Result<String, CtlError> {
        let body = tokio::time::timeout(READ_TIMEOUT, response.body().limit(MAX_BODY)).await;
        let body = match body {
            Ok(Ok(body)) => body,
            Ok(Err(error)) => return Err(self.broken(call, error.to_string())),
            Err(_) => return Err(self.broken(call, "the answer stopped half-way".to_owned())),
        };
        Ok(String::from_utf8_lossy(&body).into_owned())
    }

    async fn read<T: DeserializeOwned>(
        &self,
        call: &str,
        reply: RawReply,
    ) -> Result<ApiReply<T>, CtlError> {
        let RawReply { json, etag } = reply;
        match serde_json::from_str(&json) {
            Ok(value) => Ok(ApiReply { value, json, etag }),
            Err(error) => Err(self.unreadable(format!("{call}: {error}")).await),
        }
    }

    /// What is wrong if an answer is not the expected one.
    async fn judge(&self, call: &str, status: StatusCode, kind: &str, body: &str) -> CtlError {
        let problem = serde_json::from_str::<Problem>(body).ok();
        let problem = problem.filter(|_| kind.starts_with("application/problem+json"));
        let Some(problem) = problem else {
            let kind = if kind.is_empty() { "no type" } else { kind };
            return self.not_ringmaster(format!("{call} answers {status} ({kind})"));
        };
        let advice = match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => self.token_advice(status),
            _ if problem.kind.ends_with(UNKNOWN_REPLICA) => self.names_advice().await,
            _ => String::new(),
        };
        CtlError::Refused {
            call: call.to_owned(),
            kind: problem.kind,
            status: status.as_u16(),
            detail: problem.detail,
            advice,
        }
    }

    /// Which token a call needs.
    fn token_advice(&self, status: StatusCode) -> String {
        match (&self.token_from, status) {
            (None, StatusCode::UNAUTHORIZED) => "; a token that the balancer takes comes from \
                --token-file FILE or RINGMASTER_ADMIN_TOKEN"
                .to_owned(),
            (Some(from), StatusCode::UNAUTHORIZED) => format!("; it comes from {from}"),
            (Some(from), _) => format!("; the one of {from} is not an admin token"),
            (None, _) => String::new(),
        }
    }

    /// Which replicas there are.
    async fn names_advice(&self) -> String {
        const MAX_NAMES: usize = 12;
        let request = self
            .http
            .get(self.api_url(&self.fleet_path("/replicas?limit=1000")));
        let Ok(mut response) = self.send("", request, READ_TIMEOUT, None::<&()>).await else {
            return String::new();
        };
        let body = self.body("", &mut response).await.unwrap_or_default();
        let page = serde_json::from_str::<ListPage<ReplicaStatus>>(&body);
        let mut names: Vec<String> = match page {
            Ok(page) => page.items.into_iter().map(|replica| replica.name).collect(),
            Err(_) => return String::new(),
        };
        let more = names.len().saturating_sub(MAX_NAMES);
        names.truncate(MAX_NAMES);
        let more = match more {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        format!("; there are {}{more}", names.join(", "))
    }

    /// A success that cannot be read: another version, or another program.
    async fn unreadable(&self, cause: String) -> CtlError {
        let request = self.http.get(self.api_url("/version"));
        let version = match self.send("", request, READ_TIMEOUT, None::<&()>).await {
            Ok(mut response) => self.body("", &mut response).await.unwrap_or_default(),
            Err(_) => String::new(),
        };
        match serde_json::from_str::<VersionInfo>(&version) {
            Ok(info) if info.name == env!("CARGO_PKG_NAME") => CtlError::OtherVersion {
                url: self.access.url.clone(),
                theirs: info.version,
                cause,
            },
            _ => self.not_ringmaster(cause),
        }
    }

    fn not_ringmaster(&self, found: String) -> CtlError {
        CtlError::NotRingmaster {
            url: self.access.url.clone(),
            from: self.url_from.clone(),
            found,
        }
    }

    fn broken(&self, call: &str, cause: String) -> CtlError {
        CtlError::Broken {
            call: call.to_owned(),
            url: self.access.url.clone(),
            cause,
        }
    }
}

/// A part of a path.
pub fn encoded(part: &[u8]) -> String {
    percent_encode(part, UNRESERVED).to_string()
}

fn content_type(response: &ClientResponse) -> String {
    header(response, &CONTENT_TYPE).unwrap_or_default()
}

fn header(response: &ClientResponse, name: &HeaderName) -> Option<String> {
    let value = response.headers().get(name)?;
    Some(value.to_str().ok()?.to_owned())
}
