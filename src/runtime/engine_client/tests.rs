//! The client against an engine that a test writes by hand.

use std::io;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;

use super::*;

/// Answers one request with these bytes, and returns what was asked.
async fn ask(answer: &[u8], body: Option<Value>) -> (Result<Value, Error>, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("docker.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let client = EngineClient::new(&format!("unix://{}", path.display()))
        .with_registry_auth(Some(HeaderValue::from_static("e30=")));
    let serving = async {
        let (mut socket, _) = listener.accept().await?;
        let mut asked = Vec::new();
        let ends_with = body.as_ref().map_or("\r\n\r\n", |_| "}");
        while !asked.ends_with(ends_with.as_bytes()) {
            let mut piece = [0; 4096];
            let read = socket.read(&mut piece).await?;
            asked.extend_from_slice(&piece[..read]);
        }
        socket.write_all(answer).await?;
        // Nothing written: the engine hangs.
        if answer.is_empty() {
            std::future::pending::<()>().await;
        }
        io::Result::Ok(String::from_utf8_lossy(&asked).into_owned())
    };
    let limit = match answer {
        [] => Duration::from_millis(20),
        _ => Duration::from_secs(10),
    };
    let calling = client.call(Method::POST, "/x?name=a", body.as_ref(), limit);
    match answer {
        [] => tokio::select! {
            called = calling => (called, String::new()),
            _ = serving => panic!("the engine has answered"),
        },
        _ => {
            let (called, asked) = tokio::join!(calling, serving);
            (called, asked.unwrap())
        }
    }
}

fn with_length(status: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n{body}").into_bytes()
}

#[actix_web::test]
async fn json_goes_through_as_it_is() {
    let unknown = json!({"HostConfig": {"FieldOfAnotherVersion": {"a": [1, null, "x"]}}});
    let answer = with_length("201 Created", &unknown.to_string());
    let (called, asked) = ask(&answer, Some(unknown.clone())).await;
    assert_eq!(called.unwrap(), unknown);
    assert!(asked.starts_with("POST /x?name=a HTTP/1.1\r\n"), "{asked}");
    assert!(asked.contains("x-registry-auth: e30=\r\n"), "{asked}");
    assert!(asked.ends_with(&unknown.to_string()), "{asked}");

    let chunked =
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n[1\r\n1\r\n]\r\n0\r\n\r\n";
    assert_eq!(ask(chunked, None).await.0.unwrap(), json!([1]));
    let empty = b"HTTP/1.1 204 No Content\r\n\r\n";
    assert_eq!(ask(empty, None).await.0.unwrap(), Value::Null);
}

#[actix_web::test]
async fn a_refusal_keeps_the_engines_words() {
    let told = |called: Result<Value, Error>| match called {
        Err(Error::DockerResponseServerError {
            status_code,
            message,
        }) => (status_code, message),
        other => panic!("{other:?}"),
    };
    let refusal = with_length("409 Conflict", r#"{"message":"name is taken"}"#);
    assert_eq!(
        told(ask(&refusal, None).await.0),
        (409, "name is taken".to_owned())
    );
    let by_a_proxy = with_length("403 Forbidden", "no\n");
    assert_eq!(told(ask(&by_a_proxy, None).await.0), (403, "no".to_owned()));
}

#[actix_web::test]
async fn an_engine_that_hangs_or_breaks_off_is_an_error() {
    let hung = ask(b"", None).await.0;
    assert!(matches!(hung, Err(Error::RequestTimeoutError)), "{hung:?}");
    let broken = ask(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{", None)
        .await
        .0;
    assert!(broken.is_err());
    let no_json = ask(&with_length("200 OK", "<html>"), None).await.0;
    assert!(
        matches!(no_json, Err(Error::JsonSerdeError { .. })),
        "{no_json:?}"
    );
    let missing = EngineClient::new("unix:///nowhere/docker.sock");
    let limit = Duration::from_secs(1);
    let called = missing.call(Method::GET, "/x", None, limit).await;
    assert!(matches!(called, Err(Error::IOError { .. })), "{called:?}");
}

#[actix_web::test]
async fn refusal_of_a_stream_is_read_to_a_limit() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("docker.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let client = EngineClient::new(&format!("unix://{}", path.display()));
    let serving = async {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut asked = [0; 4096];
        let _ = socket.read(&mut asked).await.unwrap();
        let answer = with_length("500 Internal Server Error", &"x".repeat(5 << 20));
        // It is not read to its end.
        let _ = socket.write_all(&answer).await;
    };
    let limit = Duration::from_secs(10);
    let followed = client.follow(Method::GET, "/events", limit, |_| {});
    let (followed, ()) = tokio::join!(followed, serving);
    assert!(
        matches!(followed, Err(Error::IOError { .. })),
        "{followed:?}"
    );
}
