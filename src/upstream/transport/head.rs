//! A response's head, as awc hands it out.

use std::cell::Cell;
use std::rc::Rc;

use actix_http::{HttpMessage, Payload, ResponseHead, StatusCode};
use awc::error::SendRequestError;
use awc::test::TestResponse;
use awc::{ClientResponse, ConnectResponse};

use super::body::Body;
use super::fields::{FieldSlot, Fields};
use super::link::Link;
use super::pool::Pool;
use crate::h1::{BodyDecoder, BodyLength, Rules};
use crate::upstream::guard::Fault;

/// Whether the head of the response has been read. The guard lets nothing of it through
/// before it has seen the whole, and may then give it in pieces.
pub fn is_whole(link: &Link) -> bool {
    !link.unread.is_empty() && link.unread.len() >= link.index().length
}

/// The response whose head has been read. Its fields are left in the slot, if there is one.
pub fn respond(
    mut link: Box<Link>,
    pool: &Rc<Pool>,
    slot: Option<&FieldSlot>,
) -> Result<ConnectResponse, SendRequestError> {
    let mut spare = SPARE.take();
    let response = spare.pop();
    SPARE.set(spare);
    // Only awc's builder for tests makes a response from its parts.
    let response: ClientResponse = response.unwrap_or_else(|| TestResponse::default().finish());
    let mut read = Ok(());
    let response = response.map_body(|head, _| match take_head(&mut link, head, slot) {
        Ok(()) => payload(link, pool),
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
    let mut spare = SPARE.take();
    if spare.len() < MOST_SPARE {
        spare.push(response);
    }
    SPARE.set(spare);
}

/// Takes the head from what has been read, at the places that the guard has found.
fn take_head(
    link: &mut Link,
    head: &mut ResponseHead,
    slot: Option<&FieldSlot>,
) -> Result<(), SendRequestError> {
    head.status = StatusCode::from_u16(link.index().status).map_err(|_| bad_head())?;
    let fields = Fields::split_from(link);
    if let Some(slot) = slot {
        slot.set(fields);
        return Ok(());
    }
    fields.fill(&mut head.headers).map_err(|_| bad_head())
}

fn bad_head() -> SendRequestError {
    SendRequestError::Response(actix_http::error::ParseError::Io(Fault::BadHead.into()))
}

/// What follows a head that has been taken.
fn payload(link: Box<Link>, pool: &Rc<Pool>) -> Payload {
    let pool = Rc::clone(pool);
    let index = link.index();
    let decoder = match index.body {
        Some(0) => {
            pool.release(link);
            return Payload::None;
        }
        Some(length) => BodyDecoder::Length(length),
        None if index.is_chunked => BodyDecoder::new(BodyLength::Chunked, Rules::Response),
        None => BodyDecoder::UntilClose,
    };
    let body = Body::new(link, decoder, pool);
    Payload::Stream {
        payload: Box::pin(body),
    }
}

/// Responses are made and taken apart one after the other.
const MOST_SPARE: usize = 16;

thread_local! {
    static SPARE: Cell<Vec<ClientResponse>> = Cell::default();
}
