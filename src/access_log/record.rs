//! What a line of the access log says.

use std::borrow::Cow;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

use crate::fleet::InstanceId;

/// One request. Its fields, in this order, are those of the JSON.
#[derive(Debug, Serialize)]
pub struct AccessLine<'r> {
    /// When its head had come.
    #[serde(serialize_with = "rfc3339")]
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
    #[serde(flatten)]
    pub record: &'r RequestRecord,
    /// From its head to the end of its response.
    #[serde(rename = "total_ms", serialize_with = "milliseconds")]
    pub total: Duration,
    /// Its Referer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub referer: Option<Cow<'r, str>>,
    /// Its User-Agent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<Cow<'r, str>>,
    /// Its W3C trace context.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<Cow<'r, str>>,
}

/// What became of a request; filled while it is served.
#[derive(Debug, Default, Serialize)]
pub struct RequestRecord {
    /// The number of its key, in hexadecimal.
    #[serde(
        skip_serializing_if = "Option::is_none",
        serialize_with = "hexadecimal"
    )]
    pub key_hash: Option<u64>,
    /// The slot that its key hashes to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slot: Option<u32>,
    /// The replica that it was sent to last.
    #[serde(flatten)]
    pub instance: Option<InstanceFields>,
    /// Every attempt to send it to a replica.
    pub attempts: Vec<AttemptRecord>,
    /// How long it waited for a replica, over all attempts.
    #[serde(rename = "waited_ms", serialize_with = "milliseconds")]
    pub waited: Duration,
    /// How long connecting took for the last attempt; none: on a connection that was open.
    #[serde(
        rename = "connect_ms",
        skip_serializing_if = "Option::is_none",
        serialize_with = "some_milliseconds"
    )]
    pub connect: Option<Duration>,
    /// From its head to the head of the replica's response.
    #[serde(
        rename = "first_byte_ms",
        skip_serializing_if = "Option::is_none",
        serialize_with = "some_milliseconds"
    )]
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

/// An instance, as two fields: `replica` and `generation`.
#[derive(Debug, Clone)]
pub struct InstanceFields(InstanceId);

impl Serialize for InstanceFields {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("InstanceFields", 2)?;
        fields.serialize_field("replica", self.0.replica.as_str())?;
        fields.serialize_field("generation", &self.0.generation)?;
        fields.end()
    }
}

/// One attempt to send a request to a replica.
#[derive(Debug, Serialize)]
pub struct AttemptRecord {
    /// Which instance it was.
    #[serde(flatten)]
    pub instance: InstanceFields,
    /// `response`, or what went wrong.
    pub outcome: &'static str,
    /// From its beginning to the outcome.
    #[serde(rename = "ms", serialize_with = "milliseconds")]
    pub took: Duration,
}

impl From<&InstanceId> for InstanceFields {
    fn from(id: &InstanceId) -> Self {
        Self(id.clone())
    }
}

fn rfc3339<S: Serializer>(at: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&humantime::format_rfc3339_millis(*at))
}

fn milliseconds<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    // To the microsecond.
    serializer.serialize_f64(time.as_micros() as f64 / 1000.0)
}

fn some_milliseconds<S: Serializer>(
    time: &Option<Duration>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    milliseconds(&time.unwrap_or_default(), serializer)
}

fn hexadecimal<S: Serializer>(number: &Option<u64>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{:016x}", number.unwrap_or_default()))
}
