//! `GET /rep`, `POST /add`, `DELETE /rm`, and the envelope of their responses and of all errors.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The body of every response that Ringmaster itself gives on the client port, and of every
/// error: `{"message":...,"status":"successful"}`.
#[derive(Debug, Serialize, Deserialize)]
pub struct Envelope<M> {
    /// The result, or what is wrong.
    pub message: M,
    /// Whether the call succeeded.
    pub status: CallStatus,
}

/// Whether a call succeeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallStatus {
    /// It did.
    Successful,
    /// It did not, and has changed nothing.
    Failure,
}

impl<M> Envelope<M> {
    /// The result of a call that succeeded.
    pub fn successful(message: M) -> Self {
        let status = CallStatus::Successful;
        Self { message, status }
    }

    /// What is wrong with a call.
    pub fn failure(message: M) -> Self {
        let status = CallStatus::Failure;
        Self { message, status }
    }
}

/// The body of `POST /add`: `{"n":2,"hostnames":["S4","S5"],"weights":{"S4":2}}`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AddReplicas {
    /// How many replicas to add.
    pub n: usize,
    /// Names of the first of them; the others get random ones.
    #[serde(default)]
    pub hostnames: Vec<String>,
    /// Weights other than 1, by name.
    #[serde(default)]
    pub weights: BTreeMap<String, u32>,
}

/// The body of `DELETE /rm`: `{"n":1,"hostnames":["S4"]}`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RemoveReplicas {
    /// How many replicas to remove.
    pub n: usize,
    /// Names of some of them; the others are chosen at random.
    #[serde(default)]
    pub hostnames: Vec<String>,
}

/// The desired replicas: `{"N":3,"replicas":["Server1","Server2","Server3"]}`.
#[derive(Debug, Serialize, Deserialize)]
pub struct ReplicaList {
    /// How many there are.
    #[serde(rename = "N")]
    pub count: usize,
    /// Their names.
    pub replicas: Vec<String>,
}
