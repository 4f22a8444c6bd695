//! The rows of the bucket `members`, and the keys of `members_removed`.

use std::str;

use serde::{Deserialize, Deserializer, Serialize};

/// A member as etcd keeps it, in JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Member {
    /// Its id.
    pub id: u64,
    /// Where its peers reach it.
    #[serde(rename = "peerURLs", deserialize_with = "list")]
    pub peer_urls: Vec<String>,
    /// Whether it has no vote; from 3.4 on.
    #[serde(rename = "isLearner", skip_serializing_if = "is_false")]
    pub is_learner: bool,
    /// Its name; empty until it has started.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Where clients reach it; empty until it has started.
    #[serde(
        rename = "clientURLs",
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "list"
    )]
    pub client_urls: Vec<String>,
}

/// A row is not as etcd writes it.
#[derive(Debug, thiserror::Error)]
pub enum MemberError {
    /// The key is no id.
    #[error("the key {} is no member", .0.escape_ascii())]
    Key(Vec<u8>),
    /// The value is no member.
    #[error("member {id:x} cannot be read")]
    Value {
        /// The member of the key.
        id: u64,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// The value is of another member than the key.
    #[error("the row of member {key:x} says {value:x}")]
    Other {
        /// The member of the key.
        key: u64,
        /// The member of the value.
        value: u64,
    },
}

/// The key of a member's row: its id in lower-case hex, without zeros in front.
#[must_use]
pub fn member_key(id: u64) -> Vec<u8> {
    format!("{id:x}").into_bytes()
}

/// Reads the key of a member's row, or of a removed member's.
///
/// # Errors
/// A key that is no number in hex, or too large.
pub fn member_id(key: &[u8]) -> Result<u64, MemberError> {
    let digits = str::from_utf8(key).ok().filter(|text| !text.starts_with('+'));
    digits
        .and_then(|text| u64::from_str_radix(text, 16).ok())
        .ok_or_else(|| MemberError::Key(key.to_vec()))
}

impl Member {
    /// The row's value.
    ///
    /// # Panics
    /// Never: numbers, texts and lists of texts are always JSON.
    #[must_use]
    pub fn value(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("numbers, texts and lists of texts are always JSON")
    }

    /// Reads a row.
    ///
    /// # Errors
    /// A row of another form.
    pub fn from_row(key: &[u8], value: &[u8]) -> Result<Self, MemberError> {
        let id = member_id(key)?;
        let member: Self =
            serde_json::from_slice(value).map_err(|source| MemberError::Value { id, source })?;
        if member.id != id {
            return Err(MemberError::Other { key: id, value: member.id });
        }
        Ok(member)
    }
}

/// A list; an empty one of Go's may be `null`.
fn list<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

fn is_false(value: &bool) -> bool {
    !value
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(member: &Member, json: &str) {
        assert_eq!(String::from_utf8(member.value()).unwrap(), json);
        let read = Member::from_row(&member_key(member.id), json.as_bytes()).unwrap();
        assert_eq!(read, *member);
    }

    #[test]
    fn a_row_has_the_bytes_of_etcd() {
        let member = Member {
            id: 0xfedc_ba98_7654_3210,
            peer_urls: vec!["http://127.0.0.1:2380".to_owned()],
            is_learner: false,
            name: "m1".to_owned(),
            client_urls: vec!["http://127.0.0.1:2379".to_owned()],
        };
        check(
            &member,
            r#"{"id":18364758544493064720,"peerURLs":["http://127.0.0.1:2380"],"name":"m1","clientURLs":["http://127.0.0.1:2379"]}"#,
        );
        let fresh =
            Member { is_learner: true, name: String::new(), client_urls: Vec::new(), ..member };
        check(
            &fresh,
            r#"{"id":18364758544493064720,"peerURLs":["http://127.0.0.1:2380"],"isLearner":true}"#,
        );
    }

    #[test]
    fn a_list_may_be_null() {
        let member = Member::from_row(b"1", br#"{"id":1,"peerURLs":null}"#).unwrap();
        assert_eq!(member.peer_urls, Vec::<String>::new());
    }

    #[test]
    fn keys_are_hex_of_any_length() {
        assert_eq!(member_key(0xab), b"ab");
        for (key, id) in [(&b"ab"[..], Some(0xab)), (b"00000000000000ab", Some(0xab)), (b"", None)]
        {
            assert_eq!(member_id(key).ok(), id);
        }
        for key in [&b"+ab"[..], b"0xab", b"\xff", b"10000000000000000"] {
            assert!(member_id(key).is_err(), "{key:?}");
        }
    }

    #[test]
    fn other_rows_are_refused() {
        for (key, value) in [(&b"2"[..], &br#"{"id":1}"#[..]), (b"1", b"{"), (b"x", b"{}")] {
            assert!(Member::from_row(key, value).is_err(), "{key:?} {value:?}");
        }
    }
}
