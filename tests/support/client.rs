//! A client of a balancer, and what its answers hold.

use awc::http::header::HeaderMap;
use awc::http::{Method, StatusCode};
use serde_json::{Value, json};

use super::MAX_WAIT;

/// Status and body of an answer.
#[derive(Debug, Clone)]
pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Value,
}

impl Reply {
    /// The value of a header; empty if there is none.
    pub fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value.map_or("", |value| value.to_str().unwrap())
    }

    pub fn message(&self) -> &str {
        self.body["message"].as_str().unwrap_or_default()
    }

    /// The names of a successful answer, N checked.
    pub fn names(&self) -> Vec<String> {
        assert_eq!(self.status, StatusCode::OK, "{:?}", self.body);
        names(&self.body)
    }
}

/// What a list of the admin API holds.
pub fn items(body: &Value) -> Vec<Value> {
    let items = body["items"].as_array();
    items.unwrap_or_else(|| panic!("no list: {body}")).clone()
}

pub(super) fn names(body: &Value) -> Vec<String> {
    assert_eq!(body["status"], "successful", "{body}");
    let names: Vec<String> = body["message"]["replicas"]
        .as_array()
        .unwrap()
        .iter()
        .map(|name| name.as_str().unwrap().to_owned())
        .collect();
    assert_eq!(body["message"]["N"], json!(names.len()));
    names
}

/// A client that waits, follows nothing and decodes nothing.
pub fn client() -> awc::Client {
    awc::Client::builder()
        .disable_redirects()
        .timeout(MAX_WAIT)
        .finish()
}

pub async fn ask(method: Method, url: &str, body: Option<Value>) -> Reply {
    ask_with(method, url, &[], body).await
}

/// The same, with headers.
pub async fn ask_with(
    method: Method,
    url: &str,
    headers: &[(&str, &str)],
    body: Option<Value>,
) -> Reply {
    let mut request = client().request(method, url);
    for header in headers {
        request = request.append_header(*header);
    }
    let sent = match body {
        Some(body) => request.send_json(&body).await,
        None => request.send().await,
    };
    let mut response = sent.unwrap_or_else(|error| panic!("{url}: {error}"));
    let (status, headers) = (response.status(), response.headers().clone());
    let bytes = response.body().await.unwrap();
    let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
    Reply {
        status,
        headers,
        body,
    }
}

pub async fn get(url: &str) -> Reply {
    ask(Method::GET, url, None).await
}
