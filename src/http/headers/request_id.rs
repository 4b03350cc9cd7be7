//! The header that a request's id stands in.

/// Its name, in lower case.
pub const REQUEST_ID: &str = "x-request-id";
