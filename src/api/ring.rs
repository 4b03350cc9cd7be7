//! How the ring is built, and changes of it.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

use super::schema;

/// How the ring is built.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RingStatus {
    /// The strategy's name on the command line.
    pub strategy: String,
    /// Number of slots.
    pub slots: u32,
    /// Virtual servers a replica; null if the strategy has none.
    pub virtual_servers: Option<u32>,
    /// How far above its share a replica may be loaded; null: there is no bound.
    pub balance_factor: Option<f64>,
}

/// The response to `GET /api/v1/fleets/{fleet}/ring`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RingDetails {
    /// Counts the changes of the ring, readiness included.
    pub epoch: u64,
    /// How it is built.
    #[serde(flatten)]
    pub ring: RingStatus,
    /// Its members, ready or not.
    pub replicas: Vec<RingMember>,
    /// Who owns each of as many evenly spaced slots as `samples` asks for: places in `replicas`.
    pub owners: Vec<usize>,
}

/// A member of the ring.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RingMember {
    /// Its name.
    pub name: String,
    /// Its share of the ring relative to the others.
    pub weight: u32,
    /// How many slots it owns.
    pub slots: u64,
}

/// The body of `PATCH /api/v1/fleets/{fleet}/ring`. What is absent stays as it is, but another strategy begins with
/// its own slots and virtual servers.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RingPatch {
    /// The strategy's name on the command line.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = schema::strategy)]
    pub strategy: Option<String>,
    /// Number of slots.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 1_048_576)]
    pub slots: Option<u32>,
    /// Virtual servers a replica.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 10_000)]
    pub virtual_servers: Option<u32>,
    /// A number; or null or `"none"`, `Some(None)` here, which lifts the bound.
    #[serde(
        deserialize_with = "number_or_none",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(schema_with = schema::balance_factor)]
    pub balance_factor: Option<Option<f64>>,
    /// Weights to change, by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(schema_with = schema::weights)]
    pub weights: BTreeMap<String, u32>,
}

/// The result of a change of the ring.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct RingChange {
    /// Whether it was only computed.
    pub dry_run: bool,
    /// How the ring is built after it.
    pub ring: RingStatus,
    /// The share of keys, 0 to 1, that belong to another replica after it.
    pub moved_share: f64,
    /// Every replica's share of the keys.
    pub ownership: Vec<ReplicaOwnership>,
}

/// One replica's share of the keys, 0 to 1.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ReplicaOwnership {
    /// Its name.
    pub replica: String,
    /// Before the change.
    pub before: f64,
    /// After it.
    pub after: f64,
}

/// A value that is there, null included; an absent one is `None` by the default.
pub(super) fn number_or_none<'de, D: Deserializer<'de>>(
    from: D,
) -> Result<Option<Option<f64>>, D::Error> {
    from.deserialize_any(NumberOrNone).map(Some)
}

struct NumberOrNone;

impl Visitor<'_> for NumberOrNone {
    type Value = Option<f64>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number, null or \"none\"")
    }

    fn visit_f64<E>(self, number: f64) -> Result<Option<f64>, E> {
        Ok(Some(number))
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "such factors are out of range, rounded or not"
    )]
    fn visit_u64<E>(self, number: u64) -> Result<Option<f64>, E> {
        Ok(Some(number as f64))
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "such factors are out of range, rounded or not"
    )]
    fn visit_i64<E>(self, number: i64) -> Result<Option<f64>, E> {
        Ok(Some(number as f64))
    }

    fn visit_unit<E>(self) -> Result<Option<f64>, E> {
        Ok(None)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Option<f64>, E> {
        // As --balance-factor has it.
        let is_none = |none: &&str| text.trim().eq_ignore_ascii_case(none);
        match ["none", "null"].iter().any(is_none) {
            true => Ok(None),
            false => Err(E::invalid_value(Unexpected::Str(text), &self)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn balance_factor_null_and_none_lift_the_bound_and_absence_keeps_it() {
        for (json, factor) in [
            ("{}", None),
            (r#"{"balance_factor":null}"#, Some(None)),
            (r#"{"balance_factor":"none"}"#, Some(None)),
            (r#"{"balance_factor":2}"#, Some(Some(2.0))),
        ] {
            let patch: RingPatch = serde_json::from_str(json).unwrap();
            assert_eq!(patch.balance_factor, factor, "{json}");
            let again = serde_json::to_string(&patch).unwrap();
            assert_eq!(serde_json::from_str::<RingPatch>(&again).unwrap(), patch);
        }
        assert!(serde_json::from_str::<RingPatch>(r#"{"balance_factor":"all"}"#).is_err());
    }
}
