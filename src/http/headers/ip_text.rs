//! An address as text. Every request tells one, so that it is worth not to go through
//! formatting.

use std::io::{Cursor, Write};
use std::net::IpAddr;

/// Room for the longest: eight groups of four digits, or six and an IPv4 address.
const MAX_TEXT_BYTES: usize = 45;

/// An address as text.
pub struct AddressText {
    text: [u8; MAX_TEXT_BYTES],
    length: usize,
}

impl AddressText {
    /// As `Display` shows it.
    pub fn of(address: IpAddr) -> Self {
        let mut text = Cursor::new([0; MAX_TEXT_BYTES]);
        // There is room for any.
        let _ = match address {
            IpAddr::V4(address) => {
                let mut digits = itoa::Buffer::new();
                let [first, rest @ ..] = address.octets();
                let mut written = text.write_all(digits.format(first).as_bytes());
                for octet in rest {
                    written = written
                        .and_then(|()| text.write_all(b"."))
                        .and_then(|()| text.write_all(digits.format(octet).as_bytes()));
                }
                written
            }
            IpAddr::V6(address) => write!(text, "{address}"),
        };
        let length = text.position() as usize;
        Self {
            text: text.into_inner(),
            length,
        }
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        self.text.get(..self.length).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_what_everybody_writes() {
        for text in [
            "0.0.0.0",
            "127.0.0.1",
            "255.255.255.255",
            "::",
            "fd00::1",
            "2001:db8:1234:5678:9abc:def0:1234:5678",
            "::ffff:255.255.255.255",
        ] {
            let address: IpAddr = text.parse().unwrap();
            assert_eq!(AddressText::of(address).as_bytes(), text.as_bytes());
        }
    }
}
