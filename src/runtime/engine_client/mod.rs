//! Calls to the engine whose JSON goes through unchanged.
//!
//! bollard's types hold the fields of one version of the engine's API: what another version has on
//! top is lost between reading and writing it. Where a container's configuration is copied nothing
//! may be lost, so these calls take and give JSON as it is. The rest is bollard's, whose errors
//! they have: a message of the engine's stays what it is.

mod address;
mod json_stream;
#[cfg(test)]
mod tests;

use std::time::Duration;

use bollard::errors::Error;
pub(crate) use bollard::errors::Error as EngineError;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{CONTENT_TYPE, HOST, HeaderValue};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use address::Address;

/// The header with the credentials for a registry.
const REGISTRY_AUTH: &str = "X-Registry-Auth";

/// An answer beyond that is none of the engine's.
const MAX_ANSWER: usize = 64 << 20;

/// A client of one engine. Each call has a connection of its own, as bollard's have.
#[derive(Debug, Clone)]
pub(crate) struct EngineClient {
    address: Address,
    /// Credentials for a registry, which the engine passes on to it.
    registry_auth: Option<HeaderValue>,
}

impl EngineClient {
    /// A client of the engine at an address that bollard takes.
    pub(crate) fn new(host: &str) -> Self {
        Self {
            address: Address::of(host),
            registry_auth: None,
        }
    }

    /// The same client, whose calls have this as their credentials for a registry, if there are any.
    pub(crate) fn with_registry_auth(&self, header: Option<HeaderValue>) -> Self {
        Self {
            registry_auth: header,
            ..self.clone()
        }
    }

    /// Makes a call and returns the JSON of its answer; null if that has no body. `path` has
    /// no version of the API, as bollard's have none: the engine's own then holds, with all of its
    /// fields. It may have a query.
    ///
    /// # Errors
    ///
    /// Those of bollard: what the engine refuses is `DockerResponseServerError` with its message.
    pub(crate) async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        limit: Duration,
    ) -> Result<Value, Error> {
        let answer = self.exchange(method, path, body, limit).await?;
        match answer.trim_ascii() {
            [] => Ok(Value::Null),
            json => Ok(serde_json::from_slice(json)?),
        }
    }

    /// The body of a query's answer, which is no JSON.
    pub(crate) async fn read(&self, path: &str, limit: Duration) -> Result<Bytes, Error> {
        self.exchange(Method::GET, path, None, limit).await
    }

    /// Has each JSON value of a stream taken in until it ends. Its beginning may take as long as
    /// `limit`.
    pub(crate) async fn follow(
        &self,
        method: Method,
        path: &str,
        limit: Duration,
        taken_in: impl FnMut(Value),
    ) -> Result<(), Error> {
        let request = self.request(method, path, None)?;
        match &self.address {
            Address::Unix(path) => {
                let socket = UnixStream::connect(path).await?;
                json_stream::follow(socket, request, limit, taken_in).await
            }
            Address::Tcp(host) => {
                let socket = TcpStream::connect(host).await?;
                json_stream::follow(socket, request, limit, taken_in).await
            }
        }
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Request<Full<Bytes>>, Error> {
        let body = body.map(serde_json::to_vec).transpose()?;
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, self.address.host())
            .header(CONTENT_TYPE, "application/json");
        if let Some(auth) = &self.registry_auth {
            request = request.header(REGISTRY_AUTH, auth);
        }
        Ok(request.body(Full::new(Bytes::from(body.unwrap_or_default())))?)
    }

    /// Makes a call and returns the body of its answer.
    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        limit: Duration,
    ) -> Result<Bytes, Error> {
        let request = self.request(method, path, body)?;
        let called = async {
            match &self.address {
                Address::Unix(path) => send(UnixStream::connect(path).await?, request).await,
                Address::Tcp(host) => send(TcpStream::connect(host).await?, request).await,
            }
        };
        let (status, answer) = timeout(limit, called)
            .await
            .map_err(|_| Error::RequestTimeoutError)??;
        if status.is_success() || status == StatusCode::NOT_MODIFIED {
            return Ok(answer);
        }
        Err(Error::DockerResponseServerError {
            status_code: status.as_u16(),
            message: message(&answer),
        })
    }
}

/// Sends a request on a fresh connection, and returns status and body of the answer.
async fn send(
    socket: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<Full<Bytes>>,
) -> Result<(StatusCode, Bytes), Error> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(socket)).await?;
    let answered = async {
        let response = sender.send_request(request).await?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, MAX_ANSWER).collect().await;
        let body = body.map_err(|error| Error::IOError {
            err: std::io::Error::other(error),
        })?;
        Ok((head.status, body.to_bytes()))
    };
    tokio::pin!(answered);
    // The connection works for as long as it is polled. It ends with the answer, or before it.
    tokio::select! {
        answer = &mut answered => answer,
        ended = connection => {
            ended?;
            answered.await
        }
    }
}

/// The status of an answer that refuses a call; none if there was no answer.
pub(crate) fn status(error: &Error) -> Option<u16> {
    match error {
        Error::DockerResponseServerError { status_code, .. } => Some(*status_code),
        _ => None,
    }
}

/// What the engine says of a refusal.
fn message(answer: &[u8]) -> String {
    let json: Option<Value> = serde_json::from_slice(answer).ok();
    match json.as_ref().and_then(|json| json["message"].as_str()) {
        Some(message) => message.to_owned(),
        None => String::from_utf8_lossy(answer).trim().to_owned(),
    }
}
