//! The times of lines as text. A second is formatted once, for all lines of it.

use std::io::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The length of `2026-01-31T12:00:00`.
const ISO: usize = 19;

/// The second of the last line.
#[derive(Default)]
pub struct TimeText {
    second: Option<u64>,
    /// `2026-01-31T12:00:00`.
    iso: Vec<u8>,
    /// `31/Jan/2026:12:00:00 +0000`.
    combined: Vec<u8>,
}

impl TimeText {
    /// `31/Jan/2026:12:00:00 +0000`.
    pub fn write_combined(&mut self, at: SystemTime, to: &mut Vec<u8>) {
        self.set(at);
        to.extend_from_slice(&self.combined);
    }

    /// `2026-01-31T12:00:00.250Z`.
    pub fn write_rfc3339(&mut self, at: SystemTime, to: &mut Vec<u8>) {
        let millis = self.set(at);
        to.extend_from_slice(&self.iso);
        to.push(b'.');
        write_three_digits(millis, to);
        to.push(b'Z');
    }

    /// Formats the second, if it is another than before; returns the milliseconds in it.
    fn set(&mut self, at: SystemTime) -> u32 {
        // A clock before 1970 is off by more than that.
        let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
        if self.second.replace(since.as_secs()) != Some(since.as_secs()) {
            let second = UNIX_EPOCH + Duration::from_secs(since.as_secs());
            self.iso.clear();
            // What is written to a vector cannot fail; years of five digits are none of ours.
            let _ = write!(self.iso, "{}", humantime::format_rfc3339_seconds(second));
            self.iso.truncate(ISO);
            self.set_combined();
        }
        since.subsec_millis()
    }

    fn set_combined(&mut self) {
        const MONTHS: [&str; 12] = [
            "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
        ];
        self.combined.clear();
        let part = |from: usize, to: usize| self.iso.get(from..to).unwrap_or(b"-");
        let month = std::str::from_utf8(part(5, 7)).ok();
        let month = month.and_then(|text| text.parse::<usize>().ok());
        let month = month.and_then(|number| MONTHS.get(number.wrapping_sub(1)));
        for part in [
            part(8, 10),
            b"/",
            month.unwrap_or(&"-").as_bytes(),
            b"/",
            part(0, 4),
            b":",
            part(11, ISO),
            b" +0000",
        ] {
            self.combined.extend_from_slice(part);
        }
    }
}

/// A number below a thousand, with leading zeros.
pub fn write_three_digits(number: u32, to: &mut Vec<u8>) {
    let digit = |value: u32| b'0' + (value % 10) as u8;
    to.extend_from_slice(&[digit(number / 100), digit(number / 10), digit(number)]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_second_is_formatted_anew() {
        let mut time = TimeText::default();
        for (millis, rfc3339, combined) in [
            (0, "1970-01-01T00:00:00.000Z", "01/Jan/1970:00:00:00 +0000"),
            (
                1_706_702_400_250,
                "2024-01-31T12:00:00.250Z",
                "31/Jan/2024:12:00:00 +0000",
            ),
            (
                1_706_702_400_999,
                "2024-01-31T12:00:00.999Z",
                "31/Jan/2024:12:00:00 +0000",
            ),
            (
                1_706_702_401_007,
                "2024-01-31T12:00:01.007Z",
                "31/Jan/2024:12:00:01 +0000",
            ),
        ] {
            let at = UNIX_EPOCH + Duration::from_millis(millis);
            let (mut iso, mut other) = (Vec::new(), Vec::new());
            time.write_rfc3339(at, &mut iso);
            time.write_combined(at, &mut other);
            assert_eq!(String::from_utf8(iso).unwrap(), rfc3339);
            assert_eq!(String::from_utf8(other).unwrap(), combined);
        }
    }
}
