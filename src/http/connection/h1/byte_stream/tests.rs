//! A connection over streams that are no sockets.

use std::sync::Arc;

use actix_web::HttpResponse;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::web::Bytes;
use futures::{TryStreamExt, stream};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::net::UnixStream;

use super::*;
use crate::config::Limits;
use crate::http::connection::h1::H1Connection;
use crate::http::drain::GracefulShutdown;
use crate::http::server::{Answered, Site, client_service};

impl ByteStream for DuplexStream {}
impl ByteStream for UnixStream {}

/// Gives a body back, or says something in chunks.
async fn echo(request: ServiceRequest) -> Answered {
    let (request, payload) = request.into_parts();
    let response = if request.path() == "/chunks" {
        let chunks = ["ab", "cde"].map(|chunk| Ok::<_, io::Error>(Bytes::from(chunk)));
        HttpResponse::Ok().streaming(stream::iter(chunks))
    } else {
        let body: Vec<Bytes> = payload.try_collect().await?;
        HttpResponse::Ok().body(body.concat())
    };
    Ok(ServiceResponse::new(request, response))
}

/// What a client is told over a stream of which these are the ends.
async fn told_over(
    mut client: impl AsyncRead + AsyncWrite + Unpin,
    server: impl ByteStream,
) -> String {
    let limits = Limits::default();
    let shutdown = Arc::new(GracefulShutdown::default());
    let service = client_service(limits, 1, shutdown, Arc::default(), Site::new(echo)).await;
    let service = service.unwrap_or_else(|()| panic!("no service"));
    let connection = H1Connection::new(&service.app, service.sweeper.open(), server, None);
    let served = actix_web::rt::spawn(connection);
    let body = "x".repeat(1_000);
    // The second is asked for when the first is answered: the connection persists.
    let first = format!("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{body}");
    let second = "GET /chunks HTTP/1.1\r\nHost: x\r\n\r\n";
    let last = "GET /none HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let mut text = String::new();
    for (request, end) in [(&*first, &*body), (second, "0\r\n\r\n")] {
        client.write_all(request.as_bytes()).await.unwrap();
        while !text.ends_with(end) {
            let mut piece = [0; 4096];
            let count = client.read(&mut piece).await.unwrap();
            assert!(count > 0, "the end after {text}");
            text += str::from_utf8(&piece[..count]).unwrap();
        }
    }
    client.write_all(last.as_bytes()).await.unwrap();
    client.read_to_string(&mut text).await.unwrap();
    served.await.unwrap();
    text
}

#[actix_web::test]
async fn connection_serves_any_byte_stream() {
    // One that takes little at once, and one of the kernel's.
    let (client, server) = tokio::io::duplex(64);
    let over_duplex = told_over(client, server).await;
    let (client, server) = UnixStream::pair().unwrap();
    let over_unix = told_over(client, server).await;
    for text in [over_duplex, over_unix] {
        assert_eq!(text.matches("HTTP/1.1 200 OK\r\n").count(), 3, "{text}");
        assert!(text.contains("\r\ncontent-length: 1000\r\n"), "{text}");
        assert!(
            text.contains("\r\ntransfer-encoding: chunked\r\n"),
            "{text}"
        );
        assert!(text.contains("2\r\nab\r\n3\r\ncde\r\n0\r\n\r\n"), "{text}");
        assert!(
            text.contains("\r\ncontent-length: 0\r\nconnection: close\r\n"),
            "{text}"
        );
    }
}
