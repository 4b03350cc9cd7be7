//! The Via header that requests and responses get on their way (RFC 9110, section 7.6.3): the
//! protocol as the message was received, and a name.

use actix_web::http::header::{HeaderValue, InvalidHeaderValue};

/// Via, ready to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Via {
    line: &'static [u8],
    http10_line: &'static [u8],
}

impl Via {
    /// With this name. The lines are kept for as long as the process lives: to be made once.
    ///
    /// # Errors
    ///
    /// If the name cannot stand in a header.
    pub fn new(name: &str) -> Result<Self, InvalidHeaderValue> {
        let line = |version| &*format!("via: {version} {name}\r\n").into_bytes().leak();
        HeaderValue::from_str(name)?;
        Ok(Self {
            line: line("1.1"),
            http10_line: line("1.0"),
        })
    }

    /// The line for a message, which may have come in HTTP/1.0.
    pub fn line(&self, is_http10: bool) -> &'static [u8] {
        if is_http10 {
            self.http10_line
        } else {
            self.line
        }
    }
}
