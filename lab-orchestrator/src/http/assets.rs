//! The page and the book, as they were embedded when this program was built.

use std::fmt::Write;

use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Redirect, Response};
use rust_embed::{EmbeddedFile, RustEmbed};

/// `lab-orchestrator/page`: what `xtask` built, or the placeholder of `build.rs`.
#[derive(RustEmbed)]
#[folder = "page/"]
struct Page;

/// Answers with a file of the page; `/book/` is a folder of it.
pub(super) async fn asset(uri: Uri, headers: HeaderMap) -> Response {
    let path = uri.path();
    if path == "/book" {
        return Redirect::permanent("/book/").into_response();
    }
    let name = path.trim_start_matches('/');
    let name = match name {
        "" => "index.html".to_owned(),
        name if name.ends_with('/') => format!("{name}index.html"),
        name => name.to_owned(),
    };
    // Names that could leave the folder, and the packed files under their own names, are no names
    // of ours.
    let odd = |part: &str| part.is_empty() || part.starts_with('.') || part.contains(['\\', '\0']);
    if name.split('/').any(odd) || name.ends_with(".br") {
        return not_found(path);
    }
    if accepts_brotli(&headers)
        && let Some(packed) = Page::get(&format!("{name}.br"))
    {
        return file(&name, &packed, true, &headers);
    }
    match Page::get(&name) {
        Some(plain) => file(&name, &plain, false, &headers),
        None => not_found(path),
    }
}

fn not_found(path: &str) -> Response {
    let text = if path.starts_with("/book/") {
        "there is no such page in the book; it is built by: cargo book\n"
    } else {
        "there is nothing here; the lab's page is at /\n"
    };
    (StatusCode::NOT_FOUND, text).into_response()
}

fn accepts_brotli(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::ACCEPT_ENCODING)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .any(|coding| {
            let mut parts = coding.split(';').map(str::trim);
            let refused = |weight: &str| weight.replace(' ', "").trim_end_matches('0') == "q=";
            parts.next() == Some("br")
                && !parts.any(|weight| {
                    refused(weight) || refused(weight.trim_end_matches('0').trim_end_matches('.'))
                })
        })
}

fn file(name: &str, file: &EmbeddedFile, brotli: bool, asked: &HeaderMap) -> Response {
    let mut etag = String::from("\"");
    for byte in &file.metadata.sha256_hash()[..12] {
        write!(etag, "{byte:02x}").expect("a string takes everything");
    }
    etag.push('"');
    let fresh = asked
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .any(|tag| tag.trim().trim_start_matches("W/") == etag);
    let mut response = if fresh {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        file.data.clone().into_owned().into_response()
    };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind(name)));
    // Kept, but asked for again each time: another build is seen at once.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    if let Ok(etag) = HeaderValue::from_str(&etag) {
        headers.insert(header::ETAG, etag);
    }
    if brotli {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("br"));
    }
    response
}

fn kind(name: &str) -> &'static str {
    match name.rsplit('.').next().unwrap_or("") {
        "html" => "text/html; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "wasm" => "application/wasm",
        "css" => "text/css; charset=utf-8",
        "json" | "map" => "application/json",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "ico" => "image/x-icon",
        "woff2" => "font/woff2",
        "woff" => "font/woff",
        "txt" | "md" | "toml" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brotli_is_sent_to_who_takes_it() {
        for (line, takes) in [
            ("gzip, deflate, br, zstd", true),
            ("br", true),
            ("br;q=1.0", true),
            ("br;q=0.5", true),
            ("gzip", false),
            ("br;q=0", false),
            ("br; q=0.0", false),
            ("br; q=0.000", false),
            ("brotli", false),
            ("", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT_ENCODING, line.parse().expect("a value"));
            assert_eq!(accepts_brotli(&headers), takes, "{line}");
        }
    }

    #[tokio::test]
    async fn names_stay_inside_the_page() {
        for (path, status) in [
            ("/", StatusCode::OK),
            ("/index.html", StatusCode::OK),
            ("/../Cargo.toml", StatusCode::NOT_FOUND),
            ("/..%2fCargo.toml", StatusCode::NOT_FOUND),
            ("//etc/passwd", StatusCode::NOT_FOUND),
            ("/./index.html", StatusCode::NOT_FOUND),
            ("/index.html.br", StatusCode::NOT_FOUND),
            ("/.hidden", StatusCode::NOT_FOUND),
            ("/nothing", StatusCode::NOT_FOUND),
        ] {
            let uri: Uri = path.parse().expect("a path");
            assert_eq!(asset(uri, HeaderMap::new()).await.status(), status, "{path}");
        }
    }

    #[tokio::test]
    async fn what_the_browser_has_is_not_sent_again() {
        let first = asset(Uri::from_static("/"), HeaderMap::new()).await;
        let mut headers = HeaderMap::new();
        headers.insert(header::IF_NONE_MATCH, first.headers()[header::ETAG].clone());
        let second = asset(Uri::from_static("/"), headers).await;
        assert_eq!(second.status(), StatusCode::NOT_MODIFIED);
        assert_eq!(first.headers()[header::CACHE_CONTROL], "no-cache");
    }
}
