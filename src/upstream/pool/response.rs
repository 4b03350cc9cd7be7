//! A replica's response: its head as it came, and the body that follows.

use std::rc::Rc;
use std::time::Duration;

use super::connection::Connection;
use super::connection_pool::ConnectionPool;
use super::raw_head::RawResponseHead;
use super::response_body::UpstreamBody;
use crate::h1::{BodyDecoder, BodyLength, Rules};
use crate::upstream::framed_connection::ProtocolError;

/// A response whose head has come.
pub struct UpstreamResponse {
    /// Its head.
    pub head: RawResponseHead,
    /// Its body, unless there is none or it is empty.
    pub body: Option<UpstreamBody>,
    /// How long connecting took; none: the connection was open.
    pub connect: Option<Duration>,
}

impl UpstreamResponse {
    /// Takes a whole head from what has been read. Without a body the connection goes back into
    /// the pool. In a box: a result this large would be copied by each future on its way.
    pub(super) fn take_from(
        mut connection: Box<Connection>,
        pool: &Rc<ConnectionPool>,
        connect: Option<Duration>,
    ) -> Result<Box<Self>, ProtocolError> {
        let head = RawResponseHead::take_from(&mut connection)?;
        let decoder = match head.body_length() {
            Some(0) => {
                pool.release(connection);
                return Ok(Box::new(Self {
                    head,
                    body: None,
                    connect,
                }));
            }
            Some(length) => BodyDecoder::Length(length),
            None if connection.parsed_head().is_chunked => {
                BodyDecoder::new(BodyLength::Chunked, Rules::Response)
            }
            None => BodyDecoder::UntilClose,
        };
        let body = UpstreamBody::new(connection, decoder, Rc::clone(pool));
        let body = Some(body);
        Ok(Box::new(Self {
            head,
            body,
            connect,
        }))
    }
}
