//! A request on its way out: its head, and the body behind it.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use actix_web::body::{BodySize, MessageBody};
use actix_web::web::Bytes;
use tokio::io::AsyncWrite;

use super::request::{Trailers, UpstreamRequest};
use crate::h1::{CHUNK_END, ChunkSizeLine, LAST_CHUNK, write_header};
use crate::upstream::replay_body::AttemptBody;

/// How a body is framed on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Coding {
    #[default]
    AsIs,
    Chunked,
    /// The bytes of another protocol, once the replica has agreed to it.
    Tunnel,
}

/// What is still to be sent of a request.
#[derive(Default)]
pub struct RequestWriter {
    body: Option<AttemptBody>,
    coding: Coding,
    /// What the socket has not taken yet.
    write_queue: VecDeque<Bytes>,
    /// The replica takes no more; what was left to send never will be.
    refused: bool,
    /// The client has closed its side of a tunnel, and the replica is to hear of it.
    closing: bool,
}

impl RequestWriter {
    /// Whether all is sent.
    pub fn is_done(&self) -> bool {
        self.body.is_none() && self.write_queue.is_empty() && !self.refused && !self.closing
    }

    /// Sends a request's head, and the body's first data with it if that is there
    /// already. The head is finished in place: a write of a single buffer is a cheaper system call.
    pub fn start<S: AsyncWrite + Unpin>(
        &mut self,
        stream: &mut S,
        cx: &mut Context<'_>,
        mut request: UpstreamRequest,
    ) -> io::Result<()> {
        let head = &mut request.head.0;
        self.body = request.body.take();
        self.coding = match self.body.as_ref().map(MessageBody::size) {
            _ if request.info.upgrade => {
                write_header(head, "connection", b"upgrade");
                Coding::Tunnel
            }
            Some(BodySize::Sized(length)) => {
                let mut digits = itoa::Buffer::new();
                write_header(head, "content-length", digits.format(length).as_bytes());
                Coding::AsIs
            }
            Some(BodySize::Stream) => {
                write_header(head, "transfer-encoding", b"chunked");
                Coding::Chunked
            }
            Some(BodySize::None) | None => Coding::AsIs,
        };
        head.extend_from_slice(b"\r\n");
        let data = match self.body {
            Some(_) if self.coding != Coding::Tunnel => self.next_data(cx)?,
            _ => Poll::Pending,
        };
        let Poll::Ready(data) = data else {
            let written = match Pin::new(stream).poll_write(cx, head) {
                Poll::Ready(written) => written?,
                Poll::Pending => 0,
            };
            self.keep(Bytes::copy_from_slice(
                head.get(written..).unwrap_or_default(),
            ));
            return Ok(());
        };
        let (size, end) = self.encode(&data);
        self.send(stream, cx, &[head, bytes_of(&size)], &data, end)
    }

    /// Sends what can be sent. Only the client's side can fail here: a replica that takes
    /// no more may have answered, so its side is read until it ends.
    pub fn poll<S: AsyncWrite + Unpin>(
        &mut self,
        stream: &mut S,
        cx: &mut Context<'_>,
        tunnel: bool,
    ) -> io::Result<()> {
        loop {
            while !self.write_queue.is_empty() {
                let mut slices = [IoSlice::new(&[]); 8];
                for (slice, bytes) in slices.iter_mut().zip(&self.write_queue) {
                    *slice = IoSlice::new(bytes);
                }
                match Pin::new(&mut *stream).poll_write_vectored(cx, &slices) {
                    Poll::Pending => return Ok(()),
                    Poll::Ready(Ok(count @ 1..)) => self.written(count),
                    Poll::Ready(_) => {
                        self.abandon();
                        return Ok(());
                    }
                }
            }
            if self.closing {
                // A replica that cannot be told has gone, which reading will find out.
                if Pin::new(&mut *stream).poll_shutdown(cx).is_ready() {
                    self.closing = false;
                }
                return Ok(());
            }
            if self.body.is_none() || (self.coding == Coding::Tunnel && !tunnel) {
                return Ok(());
            }
            let Poll::Ready(data) = self.next_data(cx)? else {
                return Ok(());
            };
            let (size, end) = self.encode(&data);
            let sent = self.send(stream, cx, &[bytes_of(&size)], &data, end);
            if sent.is_err() {
                self.abandon();
                return Ok(());
            }
        }
    }

    fn abandon(&mut self) {
        self.write_queue.clear();
        self.body = None;
        self.refused = true;
    }

    /// The body's next data; after its end what says so, if anything.
    fn next_data(&mut self, cx: &mut Context<'_>) -> io::Result<Poll<Bytes>> {
        let Some(body) = &mut self.body else {
            return Ok(Poll::Ready(Bytes::new()));
        };
        loop {
            match Pin::new(&mut *body).poll_next(cx)? {
                Poll::Pending => return Ok(Poll::Pending),
                // An empty chunk would be the last one.
                Poll::Ready(Some(data)) if data.is_empty() => {}
                Poll::Ready(Some(data)) => return Ok(Poll::Ready(data)),
                Poll::Ready(None) => {
                    let end = match self.coding {
                        Coding::Chunked => last_chunk(body.trailers()),
                        _ => Bytes::new(),
                    };
                    self.body = None;
                    self.closing = self.coding == Coding::Tunnel;
                    return Ok(Poll::Ready(end));
                }
            }
        }
    }

    /// What goes before data on the wire, and what after it.
    fn encode(&self, data: &[u8]) -> (Option<ChunkSizeLine>, &'static [u8]) {
        match self.coding {
            Coding::Chunked if self.body.is_some() => {
                (Some(ChunkSizeLine::new(data.len())), CHUNK_END)
            }
            _ => (None, &[]),
        }
    }

    /// Writes all this, and keeps what the socket does not take at once. The data is shared,
    /// not copied.
    fn send<S: AsyncWrite + Unpin>(
        &mut self,
        stream: &mut S,
        cx: &mut Context<'_>,
        before: &[&[u8]],
        data: &Bytes,
        after: &'static [u8],
    ) -> io::Result<()> {
        let mut slices = [IoSlice::new(&[]); 4];
        let parts = before.iter().copied().chain([&data[..], after]);
        let mut count = 0;
        for part in parts.filter(|part| !part.is_empty()) {
            slices[count] = IoSlice::new(part);
            count += 1;
        }
        if count == 0 {
            return Ok(());
        }
        let stream = Pin::new(stream);
        let polled = match &slices[..count] {
            [only] => stream.poll_write(cx, only),
            several => stream.poll_write_vectored(cx, several),
        };
        let mut written = match polled {
            Poll::Ready(written) => written?,
            Poll::Pending => 0,
        };
        let mut rest_of = |length: usize| {
            let here = written.min(length);
            written -= here;
            here
        };
        for part in before {
            let here = rest_of(part.len());
            self.keep(Bytes::copy_from_slice(&part[here..]));
        }
        let here = rest_of(data.len());
        self.keep(data.slice(here..));
        let here = rest_of(after.len());
        self.keep(Bytes::from_static(&after[here..]));
        Ok(())
    }

    fn keep(&mut self, bytes: Bytes) {
        if !bytes.is_empty() {
            self.write_queue.push_back(bytes);
        }
    }

    fn written(&mut self, mut count: usize) {
        while let Some(bytes) = self.write_queue.front_mut() {
            let here = count.min(bytes.len());
            let _ = bytes.split_to(here);
            count -= here;
            if !bytes.is_empty() {
                return;
            }
            self.write_queue.pop_front();
        }
    }
}

/// The last chunk, and the trailers behind it.
fn last_chunk(trailers: Option<Trailers>) -> Bytes {
    match trailers.as_ref().map(|trailers| trailers.borrow()) {
        Some(trailers) if !trailers.is_empty() => [b"0\r\n", &**trailers, b"\r\n"].concat().into(),
        _ => Bytes::from_static(LAST_CHUNK),
    }
}

fn bytes_of(size: &Option<ChunkSizeLine>) -> &[u8] {
    size.as_deref().unwrap_or_default()
}
