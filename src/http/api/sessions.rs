//! Sessions of the dashboard, and the code of the link that begins one.
//!
//! A session's id is random, stands in a cookie in place of a token, and has that token's right.
//! All of it is in memory alone, bounded, and ends with the balancer.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use subtle::ConstantTimeEq;

use crate::api::AdminRight;

/// How long a session lasts.
pub const SESSION_TTL: Duration = Duration::from_hours(12);

/// How long a session lasts that is not used.
const MAX_IDLE: Duration = Duration::from_hours(1);

/// How many sessions there are at once; the one that was used longest ago ends for another.
const MAX_SESSIONS: usize = 64;

/// How long the code of a link is valid.
const CODE_TTL: Duration = Duration::from_mins(10);

/// The length of an id and of a code: they cannot be guessed.
const SECRET_LEN: usize = 32;

/// The sessions that there are. They have no `Debug`, which would show their ids.
#[derive(Default)]
pub struct Sessions(Mutex<SessionTable>);

#[derive(Default)]
struct SessionTable {
    sessions: Vec<AdminSession>,
    code: Option<(String, Instant)>,
}

struct AdminSession {
    id: String,
    right: AdminRight,
    began: Instant,
    used: Instant,
}

impl AdminSession {
    fn is_alive(&self, now: Instant) -> bool {
        now.duration_since(self.began) < SESSION_TTL && now.duration_since(self.used) < MAX_IDLE
    }
}

impl Sessions {
    /// Begins a session, and returns its id.
    ///
    /// # Errors
    ///
    /// The system gives no random bytes.
    pub fn begin(&self, right: AdminRight, now: Instant) -> Result<String, getrandom::Error> {
        let id = secret()?;
        let mut table = self.table();
        table.sessions.retain(|session| session.is_alive(now));
        if table.sessions.len() >= MAX_SESSIONS {
            let used = table.sessions.iter().enumerate();
            let oldest = used.min_by_key(|(_, session)| session.used);
            if let Some((oldest, _)) = oldest {
                table.sessions.swap_remove(oldest);
            }
        }
        table.sessions.push(AdminSession {
            id: id.clone(),
            right,
            began: now,
            used: now,
        });
        Ok(id)
    }

    /// The right of the session with this id, which is used now. Takes as long for every id.
    pub fn right_of(&self, id: &[u8], now: Instant) -> Option<AdminRight> {
        let mut table = self.table();
        table.sessions.retain(|session| session.is_alive(now));
        let mut found = None;
        for session in &mut table.sessions {
            if is_same(&session.id, id) {
                session.used = now;
                found = Some(session.right);
            }
        }
        found
    }

    /// Ends the session with this id, if there is one.
    pub fn end(&self, id: &[u8]) {
        let mut table = self.table();
        table.sessions.retain(|session| !is_same(&session.id, id));
    }

    /// A code that begins one session with all rights; an earlier one is no longer valid.
    ///
    /// # Errors
    ///
    /// The system gives no random bytes.
    pub fn issue_code(&self, now: Instant) -> Result<String, getrandom::Error> {
        let code = secret()?;
        self.table().code = Some((code.clone(), now));
        Ok(code)
    }

    /// Whether this is the code that was issued, which is then used up.
    pub fn redeem_code(&self, code: &[u8], now: Instant) -> bool {
        let issued = &mut self.table().code;
        let is_valid = issued.as_ref().is_some_and(|(issued, at)| {
            is_same(issued, code) && now.duration_since(*at) < CODE_TTL
        });
        if is_valid {
            *issued = None;
        }
        is_valid
    }

    fn table(&self) -> MutexGuard<'_, SessionTable> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_same(own: &str, other: &[u8]) -> bool {
    own.as_bytes().ct_eq(other).into()
}

fn secret() -> Result<String, getrandom::Error> {
    let mut bytes = [0; SECRET_LEN];
    getrandom::fill(&mut bytes)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_mins(1);

    #[test]
    fn session_has_the_right_of_its_token_until_it_ends() {
        let (sessions, now) = (Sessions::default(), Instant::now());
        let read = sessions.begin(AdminRight::Read, now).unwrap();
        let admin = sessions.begin(AdminRight::Admin, now).unwrap();
        assert_ne!(read, admin);
        assert_eq!(read.len(), 43);
        let right_of = |id: &str| sessions.right_of(id.as_bytes(), now);
        assert_eq!(right_of(&read), Some(AdminRight::Read));
        assert_eq!(right_of(&admin), Some(AdminRight::Admin));
        assert_eq!(right_of(&admin[1..]), None);
        assert_eq!(right_of(""), None);
        sessions.end(admin.as_bytes());
        assert_eq!(right_of(&admin), None);
        assert_eq!(right_of(&read), Some(AdminRight::Read));
    }

    #[test]
    fn session_ends_when_it_is_idle_or_old() {
        let (sessions, begun) = (Sessions::default(), Instant::now());
        let begin = || sessions.begin(AdminRight::Admin, begun).unwrap();
        let (used, idle) = (begin(), begin());
        let mut now = begun;
        while now < begun + SESSION_TTL {
            assert!(sessions.right_of(used.as_bytes(), now).is_some());
            now += 59 * MINUTE;
        }
        assert!(sessions.right_of(used.as_bytes(), now).is_none());
        assert!(sessions.right_of(idle.as_bytes(), begun).is_none());
        let idle = sessions.begin(AdminRight::Admin, begun).unwrap();
        assert!(
            sessions
                .right_of(idle.as_bytes(), begun + 60 * MINUTE)
                .is_none()
        );
    }

    #[test]
    fn session_that_was_used_longest_ago_ends_for_another() {
        let (sessions, begun) = (Sessions::default(), Instant::now());
        let begin = |n| {
            sessions
                .begin(AdminRight::Admin, begun + n * MINUTE / 100)
                .unwrap()
        };
        let ids: Vec<_> = (0..MAX_SESSIONS as u32).map(begin).collect();
        let now = begun + MINUTE;
        assert!(sessions.right_of(ids[0].as_bytes(), now).is_some());
        let one_more = sessions.begin(AdminRight::Admin, now).unwrap();
        for (n, id) in ids.iter().chain([&one_more]).enumerate() {
            assert_eq!(
                sessions.right_of(id.as_bytes(), now).is_some(),
                n != 1,
                "{n}"
            );
        }
    }

    #[test]
    fn code_is_valid_once_and_for_ten_minutes() {
        let (sessions, now) = (Sessions::default(), Instant::now());
        assert!(!sessions.redeem_code(b"", now));
        let code = sessions.issue_code(now).unwrap();
        assert!(!sessions.redeem_code(&code.as_bytes()[1..], now));
        assert!(sessions.redeem_code(code.as_bytes(), now + 9 * MINUTE));
        assert!(!sessions.redeem_code(code.as_bytes(), now));
        let code = sessions.issue_code(now).unwrap();
        assert!(!sessions.redeem_code(code.as_bytes(), now + 10 * MINUTE));
        let earlier = sessions.issue_code(now).unwrap();
        let code = sessions.issue_code(now).unwrap();
        assert!(!sessions.redeem_code(earlier.as_bytes(), now));
        assert!(sessions.redeem_code(code.as_bytes(), now));
    }
}
