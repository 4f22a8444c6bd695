//! Strings and numbers as Go quotes and reads them, and how etcdctl takes a line apart.

use std::fmt::Write as _;
use std::num::{IntErrorKind, ParseIntError};

/// Bytes between double quotes as Go's `%q` writes them.
pub(crate) fn quote(bytes: &[u8]) -> String {
    let mut text = String::from("\"");
    for chunk in bytes.utf8_chunks() {
        chunk.valid().chars().for_each(|letter| escape(letter, &mut text));
        for byte in chunk.invalid() {
            write!(text, "\\x{byte:02x}").ok();
        }
    }
    text.push('"');
    text
}

fn escape(letter: char, into: &mut String) {
    let short = match letter {
        '\u{7}' => "\\a",
        '\u{8}' => "\\b",
        '\u{c}' => "\\f",
        '\n' => "\\n",
        '\r' => "\\r",
        '\t' => "\\t",
        '\u{b}' => "\\v",
        '\\' => "\\\\",
        '"' => "\\\"",
        _ => "",
    };
    let number = u32::from(letter);
    // Written to a string, which cannot fail.
    match letter {
        _ if !short.is_empty() => into.push_str(short),
        _ if letter != ' ' && (letter.is_whitespace() || letter.is_control()) => match number {
            0..0x80 => write!(into, "\\x{number:02x}").unwrap_or_default(),
            0x80..0x1_0000 => write!(into, "\\u{number:04x}").unwrap_or_default(),
            _ => write!(into, "\\U{number:08x}").unwrap_or_default(),
        },
        _ => into.push(letter),
    }
}

/// Reads a quoted string at the start of `text`, in double quotes or in backquotes.
///
/// Returns its bytes and what follows it; nothing if there is none, or an escape is not Go's.
pub(crate) fn unquote(text: &str) -> Option<(Vec<u8>, &str)> {
    if let Some(raw) = text.strip_prefix('`') {
        let (inside, rest) = raw.split_once('`')?;
        return Some((inside.as_bytes().to_vec(), rest));
    }
    let mut rest = text.strip_prefix('"')?;
    let mut bytes = Vec::new();
    loop {
        let mut letters = rest.chars();
        let letter = letters.next()?;
        rest = letters.as_str();
        match letter {
            '"' => return Some((bytes, rest)),
            '\n' => return None,
            '\\' => rest = unescape(rest, &mut bytes)?,
            _ => bytes.extend(letter.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
}

/// Reads what follows a backslash; returns what follows that.
fn unescape<'a>(text: &'a str, into: &mut Vec<u8>) -> Option<&'a str> {
    let mut letters = text.chars();
    let letter = letters.next()?;
    let number = |from: usize, digits: usize, radix: u32| -> Option<(u32, &'a str)> {
        let digits = text.get(from..from + digits)?;
        let value = u32::from_str_radix(digits, radix).ok()?;
        Some((value, &text[from + digits.len()..]))
    };
    let plain = match letter {
        'a' => 0x07,
        'b' => 0x08,
        'f' => 0x0c,
        'n' => b'\n',
        'r' => b'\r',
        't' => b'\t',
        'v' => 0x0b,
        '\\' => b'\\',
        '"' => b'"',
        'x' | '0'..='7' => {
            let (value, rest) = if letter == 'x' { number(1, 2, 16)? } else { number(0, 3, 8)? };
            into.push(u8::try_from(value).ok()?);
            return Some(rest);
        }
        'u' | 'U' => {
            let (value, rest) = number(1, if letter == 'u' { 4 } else { 8 }, 16)?;
            into.extend(char::from_u32(value)?.encode_utf8(&mut [0; 4]).as_bytes());
            return Some(rest);
        }
        _ => return None,
    };
    into.push(plain);
    Some(letters.as_str())
}

/// Takes a line apart at its blanks; quotes of either kind keep a word together.
///
/// A word in double quotes may hold Go's escapes; an escape that is none is the error. Words are
/// text, so bytes that are not are lost here.
pub(crate) fn words(line: &str) -> Result<Vec<String>, String> {
    let mut found = Vec::new();
    let mut rest = line.trim_start();
    while let Some(first) = rest.chars().next() {
        match first {
            '"' => match closing(rest) {
                Some(end) => {
                    let (bytes, _) = unquote(rest).ok_or("bad quoted string")?;
                    found.push(String::from_utf8_lossy(&bytes).into_owned());
                    rest = &rest[end..];
                }
                // A quote that never closes is not part of any word.
                None => rest = &rest[1..],
            },
            '\'' => match rest[1..].split_once('\'') {
                Some((word, after)) => {
                    found.push(word.to_owned());
                    rest = after;
                }
                None => rest = &rest[1..],
            },
            _ => {
                let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
                found.push(rest[..end].to_owned());
                rest = &rest[end..];
            }
        }
        rest = rest.trim_start();
    }
    Ok(found)
}

/// Where the string in double quotes at the start of `text` ends, its last quote included.
fn closing(text: &str) -> Option<usize> {
    let mut escaped = false;
    for (at, letter) in text.char_indices().skip(1) {
        match letter {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return Some(at + 1),
            _ => {}
        }
    }
    None
}

/// Reads a signed number; errors are in Go's words.
pub(crate) fn int(text: &str, radix: u32) -> Result<i64, String> {
    i64::from_str_radix(text, radix).map_err(|error| number_error("ParseInt", text, &error))
}

/// Reads an unsigned number; errors are in Go's words.
pub(crate) fn uint(text: &str, radix: u32) -> Result<u64, String> {
    if text.starts_with('+') {
        return Err(format!("strconv.ParseUint: parsing {text:?}: invalid syntax"));
    }
    u64::from_str_radix(text, radix).map_err(|error| number_error("ParseUint", text, &error))
}

fn number_error(function: &str, text: &str, error: &ParseIntError) -> String {
    let why = match error.kind() {
        IntErrorKind::PosOverflow | IntErrorKind::NegOverflow => "value out of range",
        _ => "invalid syntax",
    };
    format!("strconv.{function}: parsing {}: {why}", quote(text.as_bytes()))
}

/// The end of the range of all keys that begin with `prefix`; `\0` where there is no end.
pub(crate) fn prefix_end(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < 0xff {
            end.push(last + 1);
            return end;
        }
    }
    vec![0]
}

/// A size for people, in powers of 1000: `20 kB`, `1.2 MB`.
pub(crate) fn human_bytes(bytes: u64) -> String {
    if bytes < 10 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1000.0 {
        value /= 1000.0;
        unit += 1;
    }
    let name = ["B", "kB", "MB", "GB", "TB", "PB", "EB"][unit];
    let value = (value * 10.0 + 0.5).floor() / 10.0;
    if value < 10.0 { format!("{value:.1} {name}") } else { format!("{value:.0} {name}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_quoted_as_in_go() {
        let check = |bytes: &[u8], expected: &str| assert_eq!(quote(bytes), expected);
        check(b"a", r#""a""#);
        check(b"a\xff\n\"\\", r#""a\xff\n\"\\""#);
        check("ä\u{1}\u{a0}".as_bytes(), r#""ä\x01\u00a0""#);
    }

    #[test]
    fn what_is_quoted_is_read_again() {
        for bytes in [&b"a"[..], b"", b"a\xff\n\"\\\x00", "ä\u{a0}\u{1f600}".as_bytes()] {
            let text = quote(bytes);
            assert_eq!(unquote(&text), Some((bytes.to_vec(), "")), "{text}");
        }
        assert_eq!(unquote(r#""\101\x42" c"#), Some((b"AB".to_vec(), " c")));
        assert_eq!(unquote("`a\\`b"), Some((b"a\\".to_vec(), "b")));
        assert_eq!(unquote("\"open"), None);
        assert_eq!(unquote(r#""\q""#), None);
    }

    #[test]
    fn a_line_falls_into_words() {
        let check = |line: &str, expected: &[&str]| {
            assert_eq!(words(line).expect("a line"), expected, "{line}");
        };
        check("put a b", &["put", "a", "b"]);
        check("  put  'a b' \"c\\td\" ", &["put", "a b", "c\td"]);
        check("get a\"b --prefix", &["get", "a\"b", "--prefix"]);
        check("put k ''", &["put", "k", ""]);
        check("", &[]);
        assert!(words(r#"put "\q" 1"#).is_err());
    }

    #[test]
    fn numbers_and_sizes() {
        assert_eq!(int("7f", 16), Ok(127));
        assert_eq!(
            int("zz", 16),
            Err("strconv.ParseInt: parsing \"zz\": invalid syntax".to_owned())
        );
        assert_eq!(
            uint("10000000000000000", 16),
            Err("strconv.ParseUint: parsing \"10000000000000000\": value out of range".to_owned())
        );
        for (bytes, expected) in
            [(5, "5 B"), (999, "999 B"), (20_480, "20 kB"), (1_234_567, "1.2 MB"), (9_950, "10 kB")]
        {
            assert_eq!(human_bytes(bytes), expected);
        }
    }
}
