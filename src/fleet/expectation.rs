//! What a good answer to a heartbeat is.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use super::probe_failure::ProbeFailure;

/// A set of HTTP statuses: `200-299`, or a list such as `200,204,300-399`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusSet(Vec<RangeInclusive<u16>>);

/// Why a text is no [`StatusSet`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a status or a range of them")]
pub struct InvalidStatusSet(String);

impl StatusSet {
    /// Whether a status is one of them.
    pub fn contains(&self, status: u16) -> bool {
        self.0.iter().any(|range| range.contains(&status))
    }
}

impl FromStr for StatusSet {
    type Err = InvalidStatusSet;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let status = |text: &str| {
            let digits = text.len() == 3 && text.bytes().all(|b| b.is_ascii_digit());
            let status: u16 = text.parse().ok().filter(|_| digits)?;
            // A 1xx is not an answer.
            (200..=599).contains(&status).then_some(status)
        };
        let ranges = text.split(',').map(|item| {
            let item = item.trim();
            let (first, last) = item.split_once('-').unwrap_or((item, item));
            let range = status(first).zip(status(last));
            let range = range.filter(|(first, last)| first <= last);
            let (first, last) = range.ok_or_else(|| InvalidStatusSet(item.to_owned()))?;
            Ok(first..=last)
        });
        ranges.collect::<Result<_, _>>().map(Self)
    }
}

impl fmt::Display for StatusSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, range) in self.0.iter().enumerate() {
            let comma = if place == 0 { "" } else { "," };
            if range.start() == range.end() {
                write!(f, "{comma}{}", range.start())?;
            } else {
                write!(f, "{comma}{}-{}", range.start(), range.end())?;
            }
        }
        Ok(())
    }
}

/// What a good answer looks like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expectation {
    /// Its status is one of these.
    pub statuses: StatusSet,
    /// This stands in its body.
    pub body: Option<String>,
}

impl Expectation {
    /// What is wrong with a status.
    pub fn check_status(&self, status: u16) -> Result<(), ProbeFailure> {
        if self.statuses.contains(status) {
            Ok(())
        } else {
            Err(ProbeFailure::Status(status))
        }
    }

    /// What is wrong with a body, or with its beginning if there is more of it.
    pub fn check_body(&self, body: &[u8]) -> Result<(), ProbeFailure> {
        let Some(expected) = self.body.as_deref().filter(|text| !text.is_empty()) else {
            return Ok(());
        };
        if body
            .windows(expected.len())
            .any(|w| w == expected.as_bytes())
        {
            Ok(())
        } else {
            Err(ProbeFailure::Body(format!("no {expected:?} in its body")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_ranges_and_lists() {
        for (text, good, bad) in [
            ("200-299", vec![200, 204, 299], vec![199, 300, 503]),
            ("200,204, 401", vec![200, 204, 401], vec![201, 400]),
            ("200,300-399", vec![200, 300, 399], vec![201, 400]),
        ] {
            let set: StatusSet = text.parse().unwrap();
            assert!(good.iter().all(|status| set.contains(*status)), "{text}");
            assert!(!bad.iter().any(|status| set.contains(*status)), "{text}");
            assert_eq!(set.to_string(), text.replace(' ', ""));
        }
        for (text, wrong) in [
            ("", ""),
            ("ok", "ok"),
            ("200,", ""),
            ("299-200", "299-200"),
            ("100", "100"),
            ("600", "600"),
            ("+20", "+20"),
            ("200-", "200-"),
        ] {
            let wrong = InvalidStatusSet(wrong.to_owned());
            assert_eq!(text.parse::<StatusSet>(), Err(wrong), "{text}");
        }
    }

    #[test]
    fn status_that_is_not_expected_fails_the_heartbeat() {
        let expectation = Expectation {
            statuses: "200-299".parse().unwrap(),
            body: None,
        };
        assert_eq!(expectation.check_status(204), Ok(()));
        let wrong = Err(ProbeFailure::Status(503));
        assert_eq!(expectation.check_status(503), wrong);
    }

    #[test]
    fn a_body_has_to_contain_what_is_expected() {
        let expectation = |body: Option<&str>| Expectation {
            statuses: "200".parse().unwrap(),
            body: body.map(str::to_owned),
        };
        assert_eq!(expectation(None).check_body(b"anything"), Ok(()));
        assert_eq!(expectation(Some("UP")).check_body(b"{status:UP}"), Ok(()));
        let wrong = expectation(Some("UP")).check_body(b"{status:DOWN}");
        let expected = ProbeFailure::Body("no \"UP\" in its body".to_owned());
        assert_eq!(wrong, Err(expected));
        assert!(expectation(Some("UP")).check_body(b"").is_err());
        assert_eq!(expectation(Some("")).check_body(b""), Ok(()));
    }
}
