//! URLs as etcd takes them: a scheme, a host, a port, and nothing else.
//!
//! Ids are hashes of these very texts, so a URL is kept as it was typed and never normalised.
//!
//! Source: etcd-io/etcd `client/pkg/types/urls.go`.

use std::fmt;

/// `http://host:port`, as typed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Url {
    text: String,
    /// Where the host starts in `text`.
    host_at: usize,
    /// Where the colon before the port is.
    colon_at: usize,
    port: u16,
}

/// Why a text is not such a URL; each message says what is expected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// Not `http` (or, once TLS is there, `https`).
    #[error("URL scheme must be http, https, unix, or unixs: {0}")]
    Scheme(String),
    /// A scheme etcd knows and this version does not serve yet.
    #[error("URL scheme is not served by this version, use http: {0}")]
    NotServed(String),
    /// No port, or no host.
    #[error("URL address does not have the form \"host:port\": {0}")]
    Address(String),
    /// The port is no number below 65536.
    #[error("URL port must be a number from 0 to 65535: {0}")]
    Port(String),
    /// Something follows the port.
    #[error("URL must not contain a path: {0}")]
    Path(String),
}

impl Url {
    /// Reads one URL. Surrounding blanks are ignored.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        let text = text.trim();
        let whole = || text.to_owned();
        let (scheme, rest) = text.split_once("://").ok_or_else(|| UrlError::Scheme(whole()))?;
        match scheme {
            "http" => {}
            "https" | "unix" | "unixs" => return Err(UrlError::NotServed(whole())),
            _ => return Err(UrlError::Scheme(whole())),
        }
        let address = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let (host, port) = address.rsplit_once(':').ok_or_else(|| UrlError::Address(whole()))?;
        let bracketed = host.starts_with('[') && host.ends_with(']') && host.len() > 2;
        let plain = !host.contains([':', '[', ']', '@', ' ']);
        if port.is_empty() || !(bracketed || plain) {
            return Err(UrlError::Address(whole()));
        }
        if address.len() != rest.len() {
            return Err(UrlError::Path(whole()));
        }
        let digits = port.bytes().all(|byte| byte.is_ascii_digit());
        let port: u16 =
            port.parse().ok().filter(|_| digits).ok_or_else(|| UrlError::Port(whole()))?;
        let host_at = scheme.len() + 3;
        Ok(Self { text: text.to_owned(), host_at, colon_at: host_at + host.len(), port })
    }

    /// Reads a comma-separated list, in the order given.
    pub fn parse_list(text: &str) -> Result<Vec<Self>, UrlError> {
        text.split(',').map(Self::parse).collect()
    }

    /// The URL as typed.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The host without brackets; may be empty, which means every address.
    pub fn host(&self) -> &str {
        self.text[self.host_at..self.colon_at].trim_start_matches('[').trim_end_matches(']')
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether only this machine can reach it.
    pub fn is_loopback(&self) -> bool {
        self.host() == "localhost"
            || self.host().parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The URLs as one comma-separated text.
pub fn join(urls: &[Url]) -> String {
    urls.iter().map(Url::as_str).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_keeps_its_text_and_knows_its_parts() {
        for (text, host, port, loopback) in [
            ("http://localhost:2379", "localhost", 2379, true),
            ("http://127.0.0.1:1", "127.0.0.1", 1, true),
            ("http://[::1]:2380", "::1", 2380, true),
            ("http://10.0.0.5:2380", "10.0.0.5", 2380, false),
            ("http://m1.test:2380", "m1.test", 2380, false),
            ("http://:2379", "", 2379, false),
        ] {
            let url = Url::parse(text).expect(text);
            let seen = (url.as_str(), url.host(), url.port(), url.is_loopback());
            assert_eq!(seen, (text, host, port, loopback));
        }
    }

    #[test]
    fn what_is_no_url_is_told_why() {
        type Why = fn(String) -> UrlError;
        let cases: [(&str, Why); 10] = [
            ("", UrlError::Scheme),
            ("localhost:2379", UrlError::Scheme),
            ("ftp://h:1", UrlError::Scheme),
            ("https://h:1", UrlError::NotServed),
            ("http://h", UrlError::Address),
            ("http://h:", UrlError::Address),
            ("http://::1:80", UrlError::Address),
            ("http://h:80/", UrlError::Path),
            ("http://h:99999", UrlError::Port),
            ("http://h:+80", UrlError::Port),
        ];
        for (text, expected) in cases {
            assert_eq!(Url::parse(text), Err(expected(text.to_owned())), "{text}");
        }
        assert!(Url::parse_list("http://a:1,http://b:2").is_ok());
        assert!(Url::parse_list("http://a:1,").is_err());
    }
}
