//! When a request may be sent to another replica: the rules, in one place.
//!
//! * Not sent: any request may go on to the next replica. The replica that it was meant for has
//!   not seen it.
//! * Sent, and no byte of a response has come: only an idempotent request (RFC 9110,
//!   section 9.2.2) whose whole body is still kept ([`ReplayBody`](super::ReplayBody)), only once, and only within
//!   the [`RetryBudget`].
//! * Otherwise: never.
//!
//! What an attempt's error is, and whether it allows another attempt, is a property of the
//! [`AttemptError`]; [`RetryState`] adds what is known of the request.

mod budget;
mod error;
mod policy;

pub use budget::RetryBudget;
pub use error::{AttemptError, Exclude};
pub use policy::{RetryDecision, RetryState};
