//! Points in time.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, Schema, SchemaFormat, Type};
use utoipa::{PartialSchema, ToSchema};

/// A point in time: `2026-11-21T00:19:47.123456Z` in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp(SystemTime);

impl Timestamp {
    /// The beginning of 1970.
    #[cfg(test)]
    pub(crate) const EPOCH: Self = Self(SystemTime::UNIX_EPOCH);

    /// The present, by the system's clock.
    pub fn now() -> Self {
        Self(SystemTime::now())
    }

    /// Seconds since 1970.
    pub fn unix_seconds(self) -> f64 {
        self.millis_since(Self(SystemTime::UNIX_EPOCH)) / 1e3
    }

    /// Milliseconds since `earlier`; negative if this came before it.
    pub fn millis_since(self, earlier: Self) -> f64 {
        match self.0.duration_since(earlier.0) {
            Ok(time) => time.as_secs_f64() * 1e3,
            Err(reverse) => -reverse.duration().as_secs_f64() * 1e3,
        }
    }
}

impl Add<Duration> for Timestamp {
    type Output = Self;

    fn add(self, time: Duration) -> Self {
        Self(self.0 + time)
    }
}

impl Sub<Duration> for Timestamp {
    type Output = Self;

    fn sub(self, time: Duration) -> Self {
        Self(self.0 - time)
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        Self(time)
    }
}

impl PartialSchema for Timestamp {
    fn schema() -> RefOr<Schema> {
        let format = SchemaFormat::KnownFormat(KnownFormat::DateTime);
        let text = ObjectBuilder::new().schema_type(Type::String);
        text.format(Some(format)).into()
    }
}

impl ToSchema for Timestamp {}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_rfc3339_micros(self.0).fmt(f)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        let time = humantime::parse_rfc3339(&text);
        time.map(Self).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamp_is_iso_8601_to_the_microsecond_and_reads_back() {
        let time = Timestamp::from(SystemTime::UNIX_EPOCH + Duration::from_micros(1_500_001));
        let json = serde_json::to_string(&time).unwrap();
        assert_eq!(json, r#""1970-01-01T00:00:01.500001Z""#);
        assert_eq!(serde_json::from_str::<Timestamp>(&json).unwrap(), time);
        let start = Timestamp::from(SystemTime::UNIX_EPOCH);
        assert_eq!(time.millis_since(start).round(), 1_500.0);
        assert_eq!(start.millis_since(time).round(), -1_500.0);
    }
}
