//! Which replica serves a key, and why: on a ring that does not run (`ringmaster ring explain`) and
//! on the one that does.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::ReplicaState;

/// A ring in numbers, as every report names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RingSummary {
    /// The strategy's name.
    pub strategy: String,
    /// M.
    pub slots: u32,
    /// K; null for strategies without virtual servers.
    pub virtual_servers: Option<u32>,
    /// How many replicas are on it.
    pub replicas: usize,
    /// The sum of their weights.
    pub total_weight: u64,
}

/// The way from a key to its replica.
///
/// Numbers of 64 bits are texts in JSON, since many readers would round them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Explained {
    /// The ring.
    pub ring: RingSummary,
    /// The key as given, with bytes that are not UTF-8 replaced.
    pub key: String,
    /// Its number, in decimal.
    pub number: String,
    /// True if the number is the key's XXH3 hash, false if the key is that number itself.
    pub hashed: bool,
    /// How the number gives the slot.
    pub hash: KeyHash,
    /// The slot.
    pub slot: u32,
    /// The replica that owns the slot; null if the ring has no replicas.
    pub owner: Option<String>,
    /// All replicas in the order in which they serve the key, the owner first.
    pub failover: Vec<String>,
    /// Why that replica is the owner.
    pub why: Option<Why>,
}

/// How a number gives a slot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "by", rename_all = "snake_case")]
pub enum KeyHash {
    /// The slot is `h` mod M.
    Formula {
        /// The formula, as text.
        formula: String,
        /// The number, or its remainder mod M if it is 2^31 or more.
        i: u64,
        /// H(i).
        h: String,
    },
    /// The slot is `mixed` * M / 2^64, rounded down.
    Mix {
        /// The number's bits, mixed, as `0x` and sixteen digits.
        mixed: String,
    },
}

/// Why a slot belongs to its owner.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "by", rename_all = "snake_case")]
pub enum Why {
    /// `classic`, `quadratic`, `modulo`: the owner has the nearest virtual server clockwise.
    VirtualServer {
        /// The formula that places it, in words.
        formula: String,
        /// The owner's number, i.
        i: u64,
        /// The virtual server's number, j.
        j: u32,
        /// Phi(i, j) mod M.
        wanted: u32,
        /// Its slot: the first free one from there on.
        stands_on: u32,
        /// How many slots clockwise it is.
        distance: u32,
    },
    /// `ring`: the owner has the next point clockwise.
    Point {
        /// The place of the slot on the circle of 2^64 places.
        place: String,
        /// The place of the point.
        point: String,
        /// The point's number among the owner's.
        j: u32,
        /// How far it is, in slots.
        distance: f64,
    },
    /// `maglev`: the owner claimed the slot first.
    Preferences {
        /// The place of the slot in all replicas' preference lists, the earliest first.
        preferences: Vec<PreferenceRow>,
    },
    /// `rendezvous`: the owner has the lowest score of the replicas below their capacity.
    Scores {
        /// True if another replica has a lower score, but is full of slots with still lower ones.
        bumped: bool,
        /// The scores of all replicas, the lowest first.
        scores: Vec<ScoreRow>,
    },
}

/// The place of the slot in a replica's preference list: slot = (`offset` + `nth` * `skip`) mod M.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PreferenceRow {
    /// The replica.
    pub replica: String,
    /// Its weight.
    pub weight: u32,
    /// The first slot of its list.
    pub offset: u32,
    /// The distance between the slots of its list.
    pub skip: u32,
    /// How many slots of its list come before this one.
    pub nth: u32,
}

/// A replica's score for the slot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ScoreRow {
    /// The replica.
    pub replica: String,
    /// Its weight.
    pub weight: u32,
    /// An exponential draw over the weight.
    pub score: f64,
    /// How many slots it owns.
    pub owns: u64,
    /// The most it may own.
    pub capacity: u64,
}

/// The response to `GET /api/v1/fleets/{fleet}/keys/{key}`: which replica serves a key now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct KeyExplanation {
    /// The state of the ring that was asked.
    pub epoch: u64,
    /// The replica that a new request with this key goes to, as far as that is certain: null if none
    /// is available.
    pub served_by: Option<String>,
    /// All replicas in the order in which they serve the key, the owner first.
    pub candidates: Vec<KeyCandidate>,
    /// Why they have this order.
    #[serde(flatten)]
    pub explained: Explained,
}

/// A replica as a request with the key finds it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct KeyCandidate {
    /// The replica.
    pub replica: String,
    /// Where it is in its life.
    pub state: ReplicaState,
    /// Its requests go to others for a while, because it failed several in a row.
    pub ejected: bool,
    /// It holds as many requests as the bound of the load allows.
    pub at_bound: bool,
    /// The share of its own keys, 0.1 to 1, that it serves in its slow start; null while it is not
    /// ready.
    pub slow_start_share: Option<f64>,
    /// Requests that it is working on.
    pub in_flight: u32,
    /// A request may go to it.
    pub available: bool,
}
