//! Which requests may be sent to a second replica (`--retry`).

/// When an attempt that failed may be followed by another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RetryPolicy {
    /// Never: a client is told of every failure.
    Never,
    /// If the replica provably never got the request.
    Unsent,
    /// Also if it may have got it and the method is idempotent (RFC 9110, section 9.2.2).
    #[default]
    Idempotent,
}
