//! Who may ask: the run's token, and the cookie a browser gets for it.

use std::fmt::{self, Write};

use axum::http::{HeaderMap, header};
use rand::TryRngCore;
use rand::rngs::OsRng;

/// 256 bits that open the lab for the time of one run, in hex.
///
/// It never shows up in debug output.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// A new one, from the system's random source.
    ///
    /// Panics when the system has no randomness: nothing could be protected then.
    pub fn new() -> Self {
        let mut bytes = [0; 32];
        OsRng.try_fill_bytes(&mut bytes).expect("the system has a random source");
        let mut hex = String::with_capacity(64);
        for byte in bytes {
            write!(hex, "{byte:02x}").expect("a string takes everything");
        }
        Self(hex)
    }

    /// The text itself, for the URL's fragment and for the file only its owner can read.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Compares in a time that does not tell how much of it was right.
    pub fn is(&self, offered: &str) -> bool {
        let (own, offered) = (self.0.as_bytes(), offered.as_bytes());
        let differ = own.iter().zip(offered).fold(0, |differ, (a, b)| differ | (a ^ b));
        own.len() == offered.len() && std::hint::black_box(differ) == 0
    }
}

impl Default for Token {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// The session of a run: what is asked for, and what a browser keeps instead of the token.
#[derive(Clone, Debug)]
pub(super) struct Session {
    token: Token,
    /// Another secret: who reads a cookie does not learn the token.
    cookie: Token,
    /// Carries the port, because cookies do not: two labs side by side keep apart.
    cookie_name: String,
}

impl Session {
    pub(super) fn new(token: Token, port: u16) -> Self {
        Self { token, cookie: Token::new(), cookie_name: format!("raftlab-{port}") }
    }

    /// Whether the token is right.
    pub(super) fn opens(&self, token: &str) -> bool {
        self.token.is(token)
    }

    /// The header that gives a browser its cookie.
    pub(super) fn set_cookie(&self) -> String {
        let (name, value) = (&self.cookie_name, self.cookie.reveal());
        format!("{name}={value}; HttpOnly; SameSite=Strict; Path=/")
    }

    /// How a request shows that it may ask.
    pub(super) fn proof(&self, headers: &HeaderMap) -> Proof {
        let mut bearers = headers.get_all(header::AUTHORIZATION).iter();
        if let (Some(first), None) = (bearers.next(), bearers.next()) {
            let offered = first.to_str().ok().and_then(|text| text.strip_prefix("Bearer "));
            return match offered {
                Some(offered) if self.token.is(offered) => Proof::Bearer,
                Some(_) | None => Proof::Nothing,
            };
        }
        let cookies = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
        let mut values = cookies
            .flat_map(|line| line.split(';'))
            .filter_map(|pair| pair.trim().split_once('='))
            .filter(|(name, _)| *name == self.cookie_name);
        if values.any(|(_, value)| self.cookie.is(value)) { Proof::Cookie } else { Proof::Nothing }
    }
}

/// How a request shows that it may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Proof {
    /// By the token itself: a program.
    Bearer,
    /// By the cookie: a browser, which sends it whoever made it ask.
    Cookie,
    /// Not at all.
    Nothing,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_differ_and_are_long() {
        let (one, two) = (Token::new(), Token::new());
        assert_ne!(one, two);
        assert_eq!(one.reveal().len(), 64);
        assert_eq!(format!("{one:?}"), "Token(…)");
        assert!(one.is(one.reveal()) && !one.is(two.reveal()));
        assert!(!one.is("") && !one.is(&one.reveal()[..63]));
    }

    #[test]
    fn a_request_shows_who_it_is() {
        let token = Token::new();
        let session = Session::new(token.clone(), 7070);
        let bearer = format!("Bearer {}", token.reveal());
        let cookie = format!("raftlab-7070={}", session.cookie.reveal());
        let other_port = format!("raftlab-7071={}", session.cookie.reveal());
        let token_as_cookie = format!("raftlab-7070={}", token.reveal());
        for (name, value, expected) in [
            ("authorization", bearer.as_str(), Proof::Bearer),
            ("authorization", token.reveal(), Proof::Nothing),
            ("authorization", "Bearer wrong", Proof::Nothing),
            ("cookie", cookie.as_str(), Proof::Cookie),
            ("cookie", &format!("a=b; {cookie}; c"), Proof::Cookie),
            ("cookie", &other_port, Proof::Nothing),
            ("cookie", &token_as_cookie, Proof::Nothing),
            ("cookie", "raftlab-7070=", Proof::Nothing),
            ("x-token", token.reveal(), Proof::Nothing),
        ] {
            let mut headers = HeaderMap::new();
            let name: axum::http::HeaderName = name.parse().expect("a name");
            headers.append(name, value.parse().expect("a value"));
            assert_eq!(session.proof(&headers), expected);
        }
    }
}
