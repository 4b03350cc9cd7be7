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
        let mut written = Self {
            text: [0; MAX_TEXT_BYTES],
            length: 0,
        };
        match address {
            IpAddr::V4(address) => {
                let [first, rest @ ..] = address.octets();
                written.push_number(first);
                for octet in rest {
                    written.push(b'.');
                    written.push_number(octet);
                }
            }
            IpAddr::V6(address) => {
                let mut text = Cursor::new(&mut written.text[..]);
                // There is room for any.
                let _ = write!(text, "{address}");
                written.length = text.position() as usize;
            }
        }
        written
    }

    fn push_number(&mut self, number: u8) {
        if number >= 100 {
            self.push(b'0' + number / 100);
        }
        if number >= 10 {
            self.push(b'0' + number / 10 % 10);
        }
        self.push(b'0' + number % 10);
    }

    fn push(&mut self, byte: u8) {
        if let Some(place) = self.text.get_mut(self.length) {
            *place = byte;
            self.length += 1;
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
