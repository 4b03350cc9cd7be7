//! Why a heartbeat was not answered well, in words that say what to do.

use std::time::Duration;

use super::health::ProbeOutcome;
use crate::human::duration;

/// What came of a heartbeat that did not get a good answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProbeFailure {
    /// Nothing listens on this port.
    Refused(u16),
    /// It answered with a status that is not expected.
    Status(u16),
    /// It answered without what has to be in the body.
    Body(String),
    /// It did not answer in time.
    TimedOut(Duration),
    /// It takes no connection, and its machine, asked beside the fleet's network, does not answer either.
    MachineSilent,
    /// The connection broke, or the answer is not HTTP.
    Broken(String),
}

impl ProbeFailure {
    /// Whether the instance is alive all the same.
    pub fn outcome(&self) -> ProbeOutcome {
        match self {
            Self::Status(_) | Self::Body(_) => ProbeOutcome::Bad,
            Self::Refused(_) | Self::TimedOut(_) | Self::MachineSilent | Self::Broken(_) => {
                ProbeOutcome::Missed
            }
        }
    }

    /// Whether the instance has said nothing at all, not even that it takes no connections.
    pub fn is_silence(&self) -> bool {
        matches!(self, Self::TimedOut(_) | Self::MachineSilent)
    }

    /// The failure in words. `asked` is the heartbeat, as in `GET /heartbeat`; `sets_host` says
    /// whether it has a Host header of the operator's.
    pub fn describe(&self, asked: &str, sets_host: bool) -> String {
        match self {
            Self::Refused(port) => format!("nothing listens on {port}"),
            // Frameworks that check the host answer so to one that they do not know.
            Self::Status(400) if !sets_host => {
                "status 400: --heartbeat-header 'Host: ...' sets the host".to_owned()
            }
            Self::Status(status) => {
                let hint = match status {
                    301 | 302 | 303 | 307 | 308 | 404 => "; --heartbeat-path sets the path",
                    401 | 403 => "; --heartbeat-header adds a header",
                    405 | 501 => "; --heartbeat-method sets the method",
                    _ => "",
                };
                format!("{asked} answers {status}{hint}")
            }
            Self::Body(wrong) => format!("{asked} answers with {wrong}"),
            Self::TimedOut(timeout) => {
                format!("{asked} has no answer within {}", duration(*timeout))
            }
            Self::MachineSilent => format!("{asked} has no answer, nor does its machine"),
            Self::Broken(error) => format!("{asked} fails: {error}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_received_is_no_silence() {
        for (failure, silent) in [
            (ProbeFailure::TimedOut(Duration::from_secs(1)), true),
            (ProbeFailure::MachineSilent, true),
            (ProbeFailure::Refused(5000), false),
            (ProbeFailure::Status(503), false),
            (ProbeFailure::Body("nothing".to_owned()), false),
            (ProbeFailure::Broken("reset".to_owned()), false),
        ] {
            assert_eq!(failure.is_silence(), silent, "{failure:?}");
        }
    }

    #[test]
    fn a_failure_says_what_to_do_about_it() {
        let second = Duration::from_secs(1);
        let broken = || ProbeFailure::Broken("reset".to_owned());
        for (failure, sets_host, expected) in [
            (
                ProbeFailure::Refused(5000),
                false,
                "nothing listens on 5000",
            ),
            (
                ProbeFailure::Status(404),
                false,
                "GET /heartbeat answers 404; --heartbeat-path sets the path",
            ),
            (
                ProbeFailure::Status(503),
                false,
                "GET /heartbeat answers 503",
            ),
            (
                ProbeFailure::Status(400),
                false,
                "status 400: --heartbeat-header 'Host: ...' sets the host",
            ),
            (
                ProbeFailure::Status(400),
                true,
                "GET /heartbeat answers 400",
            ),
            (
                ProbeFailure::TimedOut(second),
                false,
                "GET /heartbeat has no answer within 1 s",
            ),
            (
                ProbeFailure::MachineSilent,
                false,
                "GET /heartbeat has no answer, nor does its machine",
            ),
            (broken(), false, "GET /heartbeat fails: reset"),
        ] {
            assert_eq!(failure.describe("GET /heartbeat", sets_host), expected);
        }
    }

    #[test]
    fn status_says_which_part_of_the_heartbeat_to_set() {
        let path = "; --heartbeat-path sets the path";
        let header = "; --heartbeat-header adds a header";
        let method = "; --heartbeat-method sets the method";
        for (hint, statuses) in [
            (path, &[301, 302, 303, 307, 308, 404][..]),
            (header, &[401, 403]),
            (method, &[405, 501]),
            ("", &[204, 300, 304, 402, 406, 500, 502]),
        ] {
            for status in statuses {
                for sets_host in [false, true] {
                    let words = ProbeFailure::Status(*status).describe("GET /up", sets_host);
                    assert_eq!(words, format!("GET /up answers {status}{hint}"));
                }
            }
        }
        let wrong = ProbeFailure::Body("no \"ok\"".to_owned());
        assert_eq!(
            wrong.describe("GET /up", false),
            "GET /up answers with no \"ok\""
        );
    }

    #[test]
    fn only_an_answer_is_a_sign_of_life() {
        for (failure, outcome) in [
            (ProbeFailure::Status(503), ProbeOutcome::Bad),
            (ProbeFailure::Body("nothing".to_owned()), ProbeOutcome::Bad),
            (ProbeFailure::Refused(1), ProbeOutcome::Missed),
            (ProbeFailure::TimedOut(Duration::ZERO), ProbeOutcome::Missed),
            (ProbeFailure::MachineSilent, ProbeOutcome::Missed),
            (
                ProbeFailure::Broken("reset".to_owned()),
                ProbeOutcome::Missed,
            ),
        ] {
            assert_eq!(failure.outcome(), outcome);
        }
    }
}
