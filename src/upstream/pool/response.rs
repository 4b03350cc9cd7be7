//! A replica's response: its head as it came, and the body that follows.

use std::rc::Rc;
use std::time::Duration;

use super::connection::Connection;
use super::connection_pool::ConnectionPool;
use super::raw_head::RawResponseHead;
use super::response_body::UpstreamBody;
use crate::upstream::framed_connection::{ProtocolError, Trailers};

/// A response whose head has come.
pub struct UpstreamResponse {
    /// Its head.
    pub head: RawResponseHead,
    /// Its body, unless there is none or it is empty.
    pub body: Option<UpstreamBody>,
    /// The trailer section behind the body, once that has come to its end; none: the client does
    /// not take any.
    pub trailers: Option<Trailers>,
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
        if head.body_length() == Some(0) {
            pool.release(connection);
            return Ok(Box::new(Self {
                head,
                body: None,
                trailers: None,
                connect,
            }));
        }
        let trailers = head.relays_trailers().then(Trailers::default);
        let body = UpstreamBody::new(connection, Rc::clone(pool), trailers.clone());
        Ok(Box::new(Self {
            head,
            body: Some(body),
            trailers,
            connect,
        }))
    }
}
