//! An answer that does not end: JSON values, one after the other, as the engine has something to tell.

use std::time::Duration;

use bollard::errors::Error;
use http_body_util::{BodyExt, Full, Limited};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

use super::message;

/// A value beyond that, or a refusal, is none of the engine's.
const MAX_VALUE: usize = 4 << 20;

/// Sends a request on a fresh connection, and has each value of the answer taken in until it ends.
pub(super) async fn follow(
    socket: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<Full<Bytes>>,
    limit: Duration,
    mut taken_in: impl FnMut(Value),
) -> Result<(), Error> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(socket)).await?;
    let followed = async {
        let asked = timeout(limit, sender.send_request(request)).await;
        let response = asked.map_err(|_| Error::RequestTimeoutError)??;
        let (head, mut body) = response.into_parts();
        if !head.status.is_success() {
            let answer = timeout(limit, Limited::new(body, MAX_VALUE).collect()).await;
            let answer = answer.map_err(|_| Error::RequestTimeoutError)?;
            let answer = answer.map_err(|error| Error::IOError {
                err: std::io::Error::other(error),
            })?;
            return Err(Error::DockerResponseServerError {
                status_code: head.status.as_u16(),
                message: message(&answer.to_bytes()),
            });
        }
        let mut pending = Vec::new();
        while let Some(frame) = body.frame().await {
            if let Ok(data) = frame?.into_data() {
                pending.extend_from_slice(&data);
                take_values(&mut pending, &mut taken_in)?;
            }
        }
        Ok(())
    };
    tokio::pin!(followed);
    // The connection works for as long as it is polled. It ends with the answer, or before it.
    tokio::select! {
        ended = &mut followed => ended,
        ended = connection => {
            ended?;
            followed.await
        }
    }
}

/// Has the values taken in that are complete; the rest stays.
fn take_values(pending: &mut Vec<u8>, taken_in: &mut impl FnMut(Value)) -> Result<(), Error> {
    let mut values = serde_json::Deserializer::from_slice(pending).into_iter::<Value>();
    let mut taken = 0;
    while let Some(value) = values.next() {
        match value {
            Ok(value) => taken_in(value),
            Err(error) if error.is_eof() => break,
            Err(error) => return Err(error.into()),
        }
        taken = values.byte_offset();
    }
    pending.drain(..taken);
    if pending.len() > MAX_VALUE {
        let err = std::io::Error::other("the engine's answer is too long");
        return Err(Error::IOError { err });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_taken_in_however_their_bytes_come() {
        let text = b"{\"a\":1}\n{\"b\":\"x y\"}\r\n{\"c\":[2]}\n";
        for size in [1, 3, 7, text.len()] {
            let (mut seen, mut pending) = (Vec::new(), Vec::new());
            for piece in text.chunks(size) {
                pending.extend_from_slice(piece);
                take_values(&mut pending, &mut |value| seen.push(value)).unwrap();
            }
            assert_eq!(
                seen,
                [json!({"a": 1}), json!({"b": "x y"}), json!({"c": [2]})]
            );
        }
        let broken = take_values(&mut b"<html>".to_vec(), &mut |_| {});
        assert!(broken.is_err());
    }
}
