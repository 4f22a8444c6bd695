//! Ids: hashes of what an operator types, so that equal flags give equal ids.

use std::collections::BTreeSet;

use node_protocol::{ClusterId, MemberId};
use sha1::{Digest, Sha1};

/// The id of a member with these peer URLs.
///
/// `added_at_unix_seconds` is `None` for a cluster's first members, so that all of them compute
/// the same id, and the wall clock's seconds for one added later, so that a member which once
/// had these URLs is not confused with it.
pub fn member_id(
    peer_urls: &[String],
    token: &str,
    added_at_unix_seconds: Option<u64>,
) -> MemberId {
    let mut sorted: Vec<&str> = peer_urls.iter().map(String::as_str).collect();
    sorted.sort_unstable();
    let mut hash = Sha1::new();
    for url in sorted {
        hash.update(url);
    }
    hash.update(token);
    if let Some(seconds) = added_at_unix_seconds {
        hash.update(seconds.to_string());
    }
    MemberId(first_eight(hash))
}

/// The id of a cluster whose first members have these ids, in any order.
pub fn cluster_id(ids: impl IntoIterator<Item = MemberId>) -> ClusterId {
    let mut hash = Sha1::new();
    for id in ids.into_iter().collect::<BTreeSet<_>>() {
        hash.update(id.0.to_be_bytes());
    }
    ClusterId(first_eight(hash))
}

fn first_eight(hash: Sha1) -> u64 {
    let digest = hash.finalize();
    u64::from_be_bytes(digest[..8].try_into().expect("a SHA-1 digest has twenty bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_etcds() {
        let id = member_id(&["http://localhost:2380".into()], "etcd-cluster", None);
        assert_eq!(id.to_string(), "8e9e05c52164694d");
        assert_eq!(cluster_id([id]).to_string(), "cdf818194e3a8c32");
        let both = ["http://b:1".to_owned(), "http://a:1".to_owned()];
        let swapped = [both[1].clone(), both[0].clone()];
        assert_eq!(member_id(&both, "t", None), member_id(&swapped, "t", None));
        assert_ne!(member_id(&both, "t", None), member_id(&both, "t", Some(1)));
        assert_eq!(cluster_id([MemberId(2), MemberId(1)]), cluster_id([MemberId(1), MemberId(2)]));
    }
}
