//! What a line of the access log says.

use std::borrow::Cow;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use crate::fleet::InstanceId;

/// One request. Its fields, in this order, are those of the JSON.
#[derive(Debug)]
pub struct AccessLine<'r> {
    /// When its head had come.
    pub time: SystemTime,
    /// Its X-Request-ID, its own or the one that it was given.
    pub request_id: Cow<'r, str>,
    /// Its client, as a trusted proxy names it.
    pub client: Option<IpAddr>,
    /// The fleet that it was for.
    pub fleet: &'r str,
    /// Its method.
    pub method: &'r str,
    /// Its path and query.
    pub target: Cow<'r, str>,
    /// `HTTP/1.1` or `HTTP/1.0`; `-`, as the method and the target, if no head could be read.
    pub protocol: &'static str,
    /// Its Host.
    pub host: Option<Cow<'r, str>>,
    /// What became of it.
    pub record: &'r RequestRecord,
    /// From its head to the end of its response.
    pub total: Duration,
    /// Its Referer.
    pub referer: Option<Cow<'r, str>>,
    /// Its User-Agent.
    pub user_agent: Option<Cow<'r, str>>,
    /// Its W3C trace context.
    pub traceparent: Option<Cow<'r, str>>,
}

/// What became of a request; filled while it is served.
#[derive(Debug, Default)]
pub struct RequestRecord {
    /// The number of its key, in hexadecimal.
    pub key_hash: Option<u64>,
    /// The slot that its key hashes to.
    pub slot: Option<u32>,
    /// Every attempt to send it to a replica; the last one's replica is the line's.
    pub attempts: Vec<AttemptRecord>,
    /// How long it waited for a replica, over all attempts.
    pub waited: Duration,
    /// How long connecting took for the last attempt; none: on a connection that was open.
    pub connect: Option<Duration>,
    /// From its head to the head of the replica's response.
    pub first_byte: Option<Duration>,
    /// Bytes of its body.
    pub bytes_in: u64,
    /// Bytes of the response's body.
    pub bytes_out: u64,
    /// The status of the response; 499 if the client left before it.
    pub status: u16,
    /// Why it ended: `complete`, or what went wrong.
    pub ended: &'static str,
}

/// One attempt to send a request to a replica.
#[derive(Debug)]
pub struct AttemptRecord {
    /// Which instance it was.
    pub instance: InstanceId,
    /// `response`, or what went wrong.
    pub outcome: &'static str,
    /// From its beginning to the outcome.
    pub took: Duration,
}
