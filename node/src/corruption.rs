//! Whether a member's keys are those of its peers: asked at its start, before it serves anybody
//! (`--experimental-initial-corrupt-check`).
//!
//! Checksums find what a disk has changed. This finds what they cannot: rows that were written whole
//! and are not what the others have. Source: `etcd-io/etcd server/etcdserver/corrupt.go`.

use futures_util::future::join_all;
use node_protocol::MemberId;

use crate::cluster::Membership;
use crate::kv::HashKv;
use crate::transport::bulk::{self, BulkError};
use crate::transport::handshake::{Dial, Identity};

/// What a peer has, beside what this member has.
#[derive(Debug, PartialEq, Eq)]
enum Compared {
    /// The same keys.
    Same,
    /// The same revision, compacted at the same one, and other keys.
    Other,
    /// Compacted elsewhere, so that nothing follows.
    Apart,
}

fn compared(own: HashKv, theirs: HashKv) -> Compared {
    if own.compact_revision != theirs.compact_revision || own.hash_revision != theirs.hash_revision
    {
        return Compared::Apart;
    }
    if own.hash == theirs.hash { Compared::Same } else { Compared::Other }
}

/// Asks every other member for the hash of its keys at the revision of `own`. Returns those whose
/// keys are others; who cannot be asked, or cannot tell, is passed over with a warning, as in etcd.
pub async fn differing(
    identity: &Identity,
    own: HashKv,
    dial: impl Fn(&[String]) -> Dial,
) -> Vec<MemberId> {
    let (member, revision) = (identity.member, own.hash_revision);
    let peers = others(&identity.membership.read(), member, dial);
    let asked = peers.iter().map(|(peer, dial)| bulk::fetch_hash(identity, *peer, dial, revision));
    let answers = join_all(asked).await;
    let judged = peers.iter().zip(answers).filter(|((peer, _), answer)| judge(own, *peer, answer));
    judged.map(|((peer, _), _)| *peer).collect()
}

fn others(
    members: &Membership,
    own: MemberId,
    dial: impl Fn(&[String]) -> Dial,
) -> Vec<(MemberId, Dial)> {
    let others = members.members().filter(|member| member.id != own);
    others.map(|member| (member.id, dial(&member.peer_urls))).collect()
}

/// Whether a peer has other keys.
fn judge(own: HashKv, peer: MemberId, answer: &Result<HashKv, BulkError>) -> bool {
    let revision = own.hash_revision;
    let theirs = match answer {
        Ok(theirs) => *theirs,
        Err(error) => {
            tracing::warn!(%peer, %revision, %error, "cannot compare keys with a peer");
            return false;
        }
    };
    match compared(own, theirs) {
        Compared::Same => tracing::info!(%peer, %revision, "has the same keys"),
        Compared::Apart => tracing::warn!(
            %peer, %revision, compacted = %own.compact_revision,
            their_compacted = %theirs.compact_revision,
            "cannot compare keys with a peer that is compacted at another revision"
        ),
        Compared::Other => {
            tracing::error!(%peer, %revision, hash = own.hash, their_hash = theirs.hash,
                "found different hash values from remote peer");
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use node_protocol::Revision;

    use super::*;

    #[test]
    fn only_the_same_revision_compacted_at_the_same_one_can_differ() {
        let of = |hash, compacted, at| HashKv {
            hash,
            compact_revision: Revision(compacted),
            hash_revision: Revision(at),
        };
        let own = of(1, 5, 9);
        for (theirs, expected) in [
            (of(1, 5, 9), Compared::Same),
            (of(2, 5, 9), Compared::Other),
            (of(2, 6, 9), Compared::Apart),
            (of(2, -1, 9), Compared::Apart),
            (of(2, 5, 8), Compared::Apart),
        ] {
            assert_eq!(compared(own, theirs), expected, "{theirs:?}");
        }
    }
}
