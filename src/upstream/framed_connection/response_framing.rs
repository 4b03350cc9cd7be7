//! Follows the responses on one connection: bytes in, progress and data out. No I/O.
//!
//! ```text
//! Idle --begin--> Head --1xx--> Head
//!                  |
//!                  +--> Body --last byte--> Idle      (or Over, if not reusable)
//! ```
//!
//! The bytes of a head come again with more appended until it is whole (whoever calls
//! holds them); those of a body pass, and whoever gets them has them decoded here, so that a body
//! has one end.

use std::task::Poll;

use actix_web::web::{Bytes, BytesMut};

use super::protocol_error::ProtocolError;
use super::response_head::{self, Body, Head, ParsedHead, RequestInfo};
use crate::h1::{BodyDecoder, MAX_RESPONSE_HEAD_BYTES};

/// The most interim responses to one request.
const MAX_INTERIM: u8 = 32;

/// What is to be done with bytes that have arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// The head is incomplete: come again with these bytes and more.
    NeedMore,
    /// This many first bytes are an interim response: take them away, come again with the rest.
    SkipInterim(usize),
    /// This many first bytes are the response's, or may be: a body has to be
    /// [decoded](Framing::decode). Any more belong nowhere, and the connection is over.
    Forward(usize),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Between responses.
    Idle,
    /// A response is awaited; so many bytes of its head have been looked at.
    Head { seen: usize },
    /// Inside a body.
    Body(Body),
    /// No further request may be sent.
    Over,
}

/// Where a connection stands.
#[derive(Debug)]
pub struct Framing {
    state: State,
    request: RequestInfo,
    interim: u8,
    /// Whether the connection is good for another request after the current response.
    reusable: bool,
    /// A byte of the current response has come.
    begun: bool,
    /// Of the current response's head.
    parsed_head: ParsedHead,
}

impl Framing {
    /// A new connection.
    pub fn new() -> Self {
        Self {
            state: State::Idle,
            request: RequestInfo::default(),
            interim: 0,
            reusable: true,
            begun: false,
            parsed_head: ParsedHead::default(),
        }
    }

    /// A request goes out.
    pub fn begin(&mut self, request: RequestInfo) -> Result<(), ProtocolError> {
        if self.state != State::Idle {
            return Err(ProtocolError::Pipelined);
        }
        // One by one: the index, which is large, stays where it is.
        self.state = State::Head { seen: 0 };
        self.request = request;
        self.interim = 0;
        self.reusable = true;
        self.begun = false;
        Ok(())
    }

    /// Where the parts of the current response's head lie.
    pub fn parsed_head(&self) -> &ParsedHead {
        &self.parsed_head
    }

    /// The same, to take of it what is needed once.
    pub fn parsed_head_mut(&mut self) -> &mut ParsedHead {
        &mut self.parsed_head
    }

    /// Between two requests, and good for another.
    pub fn is_idle(&self) -> bool {
        self.state == State::Idle
    }

    /// No further request may be sent, and no byte read.
    pub fn is_over(&self) -> bool {
        self.state == State::Over
    }

    /// In a body, whose end has not been decoded.
    pub fn is_in_body(&self) -> bool {
        matches!(self.state, State::Body(_))
    }

    /// Another protocol has taken over.
    pub fn is_tunnel(&self) -> bool {
        self.state == State::Body(Body::Tunnel)
    }

    /// Bytes that have arrived: at least one.
    pub fn advance(&mut self, bytes: &[u8]) -> Result<Progress, ProtocolError> {
        let progress = self.inspect(bytes);
        if progress.is_err() {
            self.state = State::Over;
        }
        progress
    }

    fn inspect(&mut self, bytes: &[u8]) -> Result<Progress, ProtocolError> {
        match self.state {
            // No request, no response.
            State::Idle | State::Over => {
                self.state = State::Over;
                Ok(Progress::Forward(0))
            }
            State::Body(_) => Ok(Progress::Forward(bytes.len())),
            State::Head { seen } => {
                self.begun = true;
                // A head ends with a line, so most of a dribbled one needs no look.
                let news = &bytes[seen.min(bytes.len())..];
                if seen >= 7 && bytes.len() < MAX_RESPONSE_HEAD_BYTES && !news.contains(&b'\n') {
                    self.state = State::Head { seen: bytes.len() };
                    return Ok(Progress::NeedMore);
                }
                match response_head::read(bytes, self.request, &mut self.parsed_head)? {
                    None => {
                        self.state = State::Head { seen: bytes.len() };
                        Ok(Progress::NeedMore)
                    }
                    Some(Head::Interim { length }) => {
                        self.interim += 1;
                        if self.interim > MAX_INTERIM {
                            return Err(ProtocolError::ManyInterim);
                        }
                        self.state = State::Head { seen: 0 };
                        Ok(Progress::SkipInterim(length))
                    }
                    Some(Head::Final {
                        length,
                        body,
                        reusable,
                    }) => {
                        self.reusable = reusable;
                        if body == Body::Framed(BodyDecoder::Length(0)) {
                            self.complete(bytes.len() == length);
                            return Ok(Progress::Forward(length));
                        }
                        self.state = State::Body(body);
                        Ok(Progress::Forward(bytes.len()))
                    }
                }
            }
        }
    }

    /// The last byte of a response has passed; whether none is behind it.
    fn complete(&mut self, is_last: bool) {
        self.state = match is_last && self.reusable {
            true => State::Idle,
            false => State::Over,
        };
    }

    /// Takes the body's next data from the bytes that have been forwarded; none after the last,
    /// pending while more are needed. [`BodyDecoder::decode`] says more.
    //
    // Inlined: for most bodies it is one comparison and one split.
    #[inline]
    pub fn decode(
        &mut self,
        buffer: &mut BytesMut,
        trailers: &mut Vec<u8>,
    ) -> Result<Poll<Option<Bytes>>, ProtocolError> {
        let body = match &mut self.state {
            State::Body(Body::Framed(body)) => body,
            State::Body(Body::Tunnel) => {
                return Ok(BodyDecoder::UntilClose.decode(buffer, trailers)?);
            }
            _ => return Ok(Poll::Ready(None)),
        };
        let decoded = body.decode(buffer, trailers);
        if decoded.is_err() {
            self.state = State::Over;
        } else if body.is_complete() {
            self.complete(buffer.is_empty());
        }
        Ok(decoded?)
    }

    /// The connection has ended, in order or broken. An error if a response was due.
    pub fn end(&mut self, in_order: bool) -> Result<(), ProtocolError> {
        let state = std::mem::replace(&mut self.state, State::Over);
        match state {
            State::Idle | State::Over => Ok(()),
            State::Body(Body::Framed(BodyDecoder::UntilClose) | Body::Tunnel) if in_order => Ok(()),
            State::Head { .. } if !self.begun => Err(ProtocolError::NoResponse),
            State::Head { .. } => Err(ProtocolError::BrokenHead),
            State::Body(_) => Err(ProtocolError::BrokenBody),
        }
    }

    /// No further request on this connection, although its last response ended well.
    pub fn close_after(&mut self) {
        if self.state == State::Idle {
            self.state = State::Over;
        }
    }
}
