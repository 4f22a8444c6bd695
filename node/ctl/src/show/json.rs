//! JSON as Go's `encoding/json` writes etcd's messages: fields in the order of their numbers,
//! zero ones left out, bytes in base64, enums and 64-bit numbers as numbers.

use std::fmt::Display;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use etcd_api::etcdserverpb::ResponseHeader;
use etcd_api::mvccpb::KeyValue;

/// An object, written field by field.
#[derive(Debug, Default)]
pub(crate) struct Object(String);

impl Object {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// A field whose value is JSON already, or a number.
    pub(crate) fn raw(mut self, name: &str, value: impl Display) -> Self {
        let comma = if self.0.is_empty() { "" } else { "," };
        self.0.push_str(&format!("{comma}\"{name}\":{value}"));
        self
    }

    /// A number, left out if it is zero.
    pub(crate) fn number<T: Display + Default + PartialEq>(self, name: &str, value: T) -> Self {
        if value == T::default() { self } else { self.raw(name, value) }
    }

    /// A truth, left out if it is none.
    pub(crate) fn truth(self, name: &str, value: bool) -> Self {
        if value { self.raw(name, true) } else { self }
    }

    /// A text, left out if it is empty.
    pub(crate) fn text(self, name: &str, value: &str) -> Self {
        if value.is_empty() { self } else { self.raw(name, string(value)) }
    }

    /// Bytes, left out if there are none.
    pub(crate) fn bytes(self, name: &str, value: &[u8]) -> Self {
        if value.is_empty() { self } else { self.raw(name, base64(value)) }
    }

    /// A list, left out if it is empty.
    pub(crate) fn list<T>(self, name: &str, values: &[T], one: impl Fn(&T) -> String) -> Self {
        if values.is_empty() { self } else { self.raw(name, array(values, one)) }
    }

    /// An object that may not be there.
    pub(crate) fn maybe<T>(
        self,
        name: &str,
        value: Option<&T>,
        one: impl Fn(&T) -> String,
    ) -> Self {
        match value {
            Some(value) => self.raw(name, one(value)),
            None => self,
        }
    }

    /// The fields of a header, among the object's own.
    pub(crate) fn inlined(self, header: Option<&ResponseHeader>) -> Self {
        let Some(header) = header else { return self };
        let ResponseHeader { cluster_id, member_id, revision, raft_term } = header;
        self.number("cluster_id", *cluster_id)
            .number("member_id", *member_id)
            .number("revision", *revision)
            .number("raft_term", *raft_term)
    }

    /// A header as a field of its own.
    pub(crate) fn header(self, header: Option<&ResponseHeader>) -> Self {
        self.maybe("header", header, |header| Self::new().inlined(Some(header)).end())
    }

    pub(crate) fn end(self) -> String {
        format!("{{{}}}", self.0)
    }
}

/// A list, even if it is empty.
pub(crate) fn array<T>(values: &[T], one: impl Fn(&T) -> String) -> String {
    let values: Vec<_> = values.iter().map(one).collect();
    format!("[{}]", values.join(","))
}

/// A text in quotes; what HTML minds is escaped, as Go does.
pub(crate) fn string(text: &str) -> String {
    let plain = serde_json::Value::from(text).to_string();
    [('<', "\\u003c"), ('>', "\\u003e"), ('&', "\\u0026"), ('\u{2028}', "\\u2028")]
        .iter()
        .chain(&[('\u{2029}', "\\u2029")])
        .fold(plain, |text, (letter, escaped)| text.replace(*letter, escaped))
}

pub(crate) fn base64(bytes: &[u8]) -> String {
    format!("\"{}\"", STANDARD.encode(bytes))
}

pub(crate) fn key_value(kv: &KeyValue) -> String {
    let KeyValue { key, create_revision, mod_revision, version, value, lease } = kv;
    Object::new()
        .bytes("key", key)
        .number("create_revision", *create_revision)
        .number("mod_revision", *mod_revision)
        .number("version", *version)
        .bytes("value", value)
        .number("lease", *lease)
        .end()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_fields_are_left_out_and_bytes_encoded() {
        let kv = KeyValue { key: "a".into(), value: "1".into(), version: 2, ..Default::default() };
        assert_eq!(key_value(&kv), r#"{"key":"YQ==","version":2,"value":"MQ=="}"#);
        assert_eq!(Object::new().header(None).end(), "{}");
    }

    #[test]
    fn text_is_escaped_as_in_go() {
        assert_eq!(string("a\"<&>\u{2028}"), "\"a\\\"\\u003c\\u0026\\u003e\\u2028\"");
    }
}
