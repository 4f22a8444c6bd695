//! What every request must pass before it is looked at: pure decisions, and the layer around them.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::serve::Door;
use super::session::Proof;

/// The names under which the lab answers: loopback's, with the lab's own port.
#[derive(Clone, Debug)]
pub struct AllowedHosts {
    hosts: [String; 3],
    origins: [String; 3],
}

impl AllowedHosts {
    /// Loopback's names with this port.
    pub fn loopback(port: u16) -> Self {
        let hosts = ["localhost", "127.0.0.1", "[::1]"].map(|name| format!("{name}:{port}"));
        let origins = hosts.clone().map(|host| format!("http://{host}"));
        Self { hosts, origins }
    }

    /// Whether a request names us, and nobody else. A `Host` header, the authority of an absolute
    /// target or of HTTP/2: each that is there must be ours, and one must be there.
    pub fn names_us(&self, headers: &HeaderMap, uri: &Uri) -> bool {
        let mut hosts = headers.get_all(header::HOST).iter();
        let host = hosts.next();
        if hosts.next().is_some() {
            return false;
        }
        let authority = uri.authority().map(|authority| authority.as_str().as_bytes());
        let ours = |name: &[u8]| self.hosts.iter().any(|own| own.as_bytes() == name);
        match (host.map(HeaderValue::as_bytes), authority) {
            (Some(host), Some(authority)) => ours(host) && ours(authority),
            (Some(name), None) | (None, Some(name)) => ours(name),
            (None, None) => false,
        }
    }

    /// Where a request says it was made.
    pub(super) fn origin(&self, headers: &HeaderMap) -> Origin {
        let mut origins = headers.get_all(header::ORIGIN).iter();
        match (origins.next(), origins.next()) {
            (None, _) => Origin::Unsaid,
            (Some(origin), None) => {
                let ours = self.origins.iter().any(|own| own.as_bytes() == origin.as_bytes());
                if ours { Origin::Ours } else { Origin::Foreign }
            }
            (Some(_), Some(_)) => Origin::Foreign,
        }
    }
}

/// Where a request says it was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// In a page of ours.
    Ours,
    /// Elsewhere, or in a place without a name (`null`).
    Foreign,
    /// It does not say: a program, or a browser's plain GET.
    Unsaid,
}

/// Why a request is turned away.
type Refusal = (StatusCode, &'static str);

/// Decides about a request to `/api`.
fn api_refusal(door: &Door, request: &Request) -> Option<Refusal> {
    let headers = request.headers();
    let proof = door.session.proof(headers);
    let origin = door.hosts.origin(headers);
    let unsafe_method = match *request.method() {
        Method::GET | Method::HEAD => false,
        Method::POST => true,
        _ => return Some((StatusCode::METHOD_NOT_ALLOWED, "only GET, HEAD and POST are known")),
    };
    let upgrade =
        headers.contains_key(header::UPGRADE) || headers.contains_key(header::SEC_WEBSOCKET_KEY);
    // A browser's plain GET says no origin; what could change something, and a websocket (which
    // no origin policy of the browser's holds back), must say ours, or show the token itself.
    let origin_enough = match origin {
        Origin::Ours => true,
        Origin::Foreign => false,
        Origin::Unsaid => !(unsafe_method || upgrade) || proof == Proof::Bearer,
    };
    if !origin_enough {
        return Some((StatusCode::FORBIDDEN, "this may only be asked by the lab's own page"));
    }
    let site = headers.get("sec-fetch-site").map(HeaderValue::as_bytes);
    if !matches!(site, None | Some(b"same-origin" | b"none")) {
        return Some((StatusCode::FORBIDDEN, "this may only be asked by the lab's own page"));
    }
    if unsafe_method && !is_json(headers) {
        return Some((StatusCode::UNSUPPORTED_MEDIA_TYPE, "send Content-Type: application/json"));
    }
    // A browser that has only the token gets its cookie here.
    let signing_in = unsafe_method && request.uri().path() == "/api/session";
    if proof == Proof::Nothing && !signing_in {
        let how = "open the URL that raft-lab printed, or send its token as a bearer";
        return Some((StatusCode::UNAUTHORIZED, how));
    }
    None
}

fn is_json(headers: &HeaderMap) -> bool {
    let mut types = headers.get_all(header::CONTENT_TYPE).iter();
    let (Some(only), None) = (types.next(), types.next()) else { return false };
    only.to_str().is_ok_and(|text| {
        let kind = text.split(';').next().unwrap_or("").trim();
        kind.eq_ignore_ascii_case("application/json")
    })
}

/// The layer around every route.
pub(super) async fn guard(State(door): State<Arc<Door>>, request: Request, next: Next) -> Response {
    let refusal = if !door.hosts.names_us(request.headers(), request.uri()) {
        Some((StatusCode::MISDIRECTED_REQUEST, "this lab does not answer to that name"))
    } else if request.uri().path().starts_with("/api/") || request.uri().path() == "/api" {
        api_refusal(&door, &request)
    } else if matches!(*request.method(), Method::GET | Method::HEAD) {
        None
    } else {
        Some((StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are known here"))
    };
    let mut response = match refusal {
        Some((status, why)) => (status, format!("{why}\n")).into_response(),
        None => next.run(request).await,
    };
    let headers = response.headers_mut();
    for (name, value) in SECURITY_HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// On every answer. The book may show the lab in a frame; nobody else may.
const SECURITY_HEADERS: [(HeaderName, &str); 5] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'self'; connect-src 'self'; script-src 'self' 'wasm-unsafe-eval'; \
         style-src 'self'; img-src 'self' data:; object-src 'none'; form-action 'none'; frame-ancestors 'self'; \
         base-uri 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// Why the lab does not listen at an address.
pub(super) fn loopback_only(host: &str) -> Result<IpAddr, String> {
    let address = match host {
        "localhost" => IpAddr::from([127, 0, 0, 1]),
        text => text
            .trim_start_matches('[')
            .trim_end_matches(']')
            .parse()
            .map_err(|_| format!("`{host}` is not an address; leave --host away"))?,
    };
    let known = [IpAddr::from([127, 0, 0, 1]), IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1])];
    if known.contains(&address) {
        Ok(address)
    } else {
        Err(format!(
            "`{host}` can be reached from other machines, and whoever reaches the lab can run and \
             end processes here; use 127.0.0.1 or ::1, and an SSH tunnel from elsewhere"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_exact_names_are_ours() {
        let hosts = AllowedHosts::loopback(7070);
        for (host, ours) in [
            ("localhost:7070", true),
            ("127.0.0.1:7070", true),
            ("[::1]:7070", true),
            ("localhost", false),
            ("localhost:", false),
            ("localhost:7071", false),
            ("localhost:70700", false),
            ("localhost:07070", false),
            ("LOCALHOST:7070", false),
            ("localhost.:7070", false),
            ("localhost.evil.example:7070", false),
            ("evil.example", false),
            ("evil.example:7070", false),
            ("127.0.0.1", false),
            ("127.0.0.1.:7070", false),
            ("127.0.0.2:7070", false),
            ("127.1:7070", false),
            ("2130706433:7070", false),
            ("0x7f.0.0.1:7070", false),
            ("0.0.0.0:7070", false),
            ("[::]:7070", false),
            ("::1:7070", false),
            ("[::ffff:127.0.0.1]:7070", false),
            ("[0:0:0:0:0:0:0:1]:7070", false),
            ("user@localhost:7070", false),
            ("localhost:7070, evil.example", false),
            ("", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, host.parse().expect("a value"));
            assert_eq!(hosts.names_us(&headers, &Uri::from_static("/")), ours, "{host}");
            headers.append(header::HOST, "localhost:7070".parse().expect("a value"));
            assert!(!hosts.names_us(&headers, &Uri::from_static("/")), "two hosts");
        }
        let none = HeaderMap::new();
        assert!(!hosts.names_us(&none, &Uri::from_static("/")), "no host at all");
        assert!(hosts.names_us(&none, &Uri::from_static("http://localhost:7070/")));
        assert!(!hosts.names_us(&none, &Uri::from_static("http://evil.example/")));
    }

    #[test]
    fn only_exact_origins_are_ours() {
        let hosts = AllowedHosts::loopback(7070);
        assert_eq!(hosts.origin(&HeaderMap::new()), Origin::Unsaid);
        for (origin, expected) in [
            ("http://localhost:7070", Origin::Ours),
            ("http://127.0.0.1:7070", Origin::Ours),
            ("http://[::1]:7070", Origin::Ours),
            ("https://localhost:7070", Origin::Foreign),
            ("http://localhost", Origin::Foreign),
            ("http://localhost:7071", Origin::Foreign),
            ("http://localhost:7070/", Origin::Foreign),
            ("http://localhost:7070.evil.example", Origin::Foreign),
            ("http://user@localhost:7070", Origin::Foreign),
            ("http://192.168.1.5:7070", Origin::Foreign),
            ("http://10.0.0.1", Origin::Foreign),
            ("http://127.0.0.2:7070", Origin::Foreign),
            ("null", Origin::Foreign),
            ("", Origin::Foreign),
            ("file://", Origin::Foreign),
            ("HTTP://LOCALHOST:7070", Origin::Foreign),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::ORIGIN, origin.parse().expect("a value"));
            assert_eq!(hosts.origin(&headers), expected, "{origin}");
            headers.append(header::ORIGIN, "http://localhost:7070".parse().expect("a value"));
            assert_eq!(hosts.origin(&headers), Origin::Foreign, "two origins");
        }
    }

    #[test]
    fn only_loopback_is_listened_at() {
        for host in ["127.0.0.1", "localhost", "::1", "[::1]"] {
            assert!(loopback_only(host).is_ok(), "{host}");
        }
        for host in ["0.0.0.0", "::", "192.168.1.5", "127.0.0.2", "example.org", ""] {
            assert!(loopback_only(host).is_err(), "{host}");
        }
    }
}
