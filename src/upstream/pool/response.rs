//! A response's head, as awc hands it out.

use std::cell::Cell;
use std::rc::Rc;

use actix_http::{HttpMessage, Payload, ResponseHead, StatusCode};
use awc::error::SendRequestError;
use awc::test::TestResponse;
use awc::{ClientResponse, ConnectResponse};

use super::connection::Connection;
use super::idle_connections::Pool;
use super::raw_head::{FieldSlot, Fields};
use super::response_body::Body;
use crate::h1::{BodyDecoder, BodyLength, Rules};
use crate::upstream::framed_connection::ProtocolError;

/// Whether the head of the response has been read. The guard lets nothing of it through
/// before it has seen the whole, and may then give it in pieces.
pub fn is_whole(connection: &Connection) -> bool {
    !connection.unread.is_empty() && connection.unread.len() >= connection.index().length
}

/// The response whose head has been read. Its fields are left in the slot, if there is one.
pub fn respond(
    mut connection: Box<Connection>,
    pool: &Rc<Pool>,
    slot: Option<&FieldSlot>,
) -> Result<ConnectResponse, SendRequestError> {
    let mut pooled = RESPONSE_POOL.take();
    let spare = pooled.pop();
    RESPONSE_POOL.with(|pool| pool.set(pooled));
    // Only awc's builder for tests makes a response from its parts.
    let response: ClientResponse = spare.unwrap_or_else(|| TestResponse::default().finish());
    let mut read = Ok(());
    let response = response.map_body(|head, _| match take_head(&mut connection, head, slot) {
        Ok(()) => payload(connection, pool),
        Err(error) => {
            read = Err(error);
            Payload::None
        }
    });
    read.map(|()| ConnectResponse::Client(response))
}

/// Takes a response for another one: its map of header fields is 3 KiB large, and nearly as
/// dear as all the rest of a response.
pub fn recycle(mut response: ClientResponse) {
    // What nobody has taken ends here.
    drop(response.take_payload());
    if !response.headers().is_empty() {
        response = response.map_body(|head, payload| {
            head.headers.clear();
            payload
        });
    }
    // A closure that pushed it would copy it once more.
    let mut pooled = RESPONSE_POOL.take();
    if pooled.len() < MAX_POOLED {
        pooled.push(response);
    }
    RESPONSE_POOL.with(|pool| pool.set(pooled));
}

/// Takes the head from what has been read, at the places that the guard has found.
fn take_head(
    connection: &mut Connection,
    head: &mut ResponseHead,
    slot: Option<&FieldSlot>,
) -> Result<(), SendRequestError> {
    head.status = StatusCode::from_u16(connection.index().status).map_err(|_| bad_head())?;
    let fields = Fields::split_from(connection);
    if let Some(slot) = slot {
        slot.set(fields);
        return Ok(());
    }
    fields.fill(&mut head.headers).map_err(|_| bad_head())
}

fn bad_head() -> SendRequestError {
    SendRequestError::Response(actix_http::error::ParseError::Io(
        ProtocolError::BadHead.into(),
    ))
}

/// What follows a head that has been taken.
fn payload(connection: Box<Connection>, pool: &Rc<Pool>) -> Payload {
    let pool = Rc::clone(pool);
    let index = connection.index();
    let decoder = match index.body {
        Some(0) => {
            pool.release(connection);
            return Payload::None;
        }
        Some(length) => BodyDecoder::Length(length),
        None if index.is_chunked => BodyDecoder::new(BodyLength::Chunked, Rules::Response),
        None => BodyDecoder::UntilClose,
    };
    let body = Body::new(connection, decoder, pool);
    Payload::Stream {
        payload: Box::pin(body),
    }
}

/// Responses are made and taken apart one after the other.
const MAX_POOLED: usize = 16;

thread_local! {
    static RESPONSE_POOL: Cell<Vec<ClientResponse>> = const { Cell::new(Vec::new()) };
}
