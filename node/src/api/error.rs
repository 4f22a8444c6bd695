//! The one table of errors that clients see: a gRPC code and etcd's exact text for each.
//!
//! Clients compare both: clientv3 retries by code, switches endpoints on `no leader`, and maps
//! the texts back to its own errors. So nothing is ever added to a text.
//!
//! Source: etcd-io/etcd `api/v3rpc/rpctypes/error.go`.

use tonic::{Code, Status};

use crate::cluster::ChangeError;
use crate::handle::Refusal;
use crate::kv::KvError;

/// Why a client's request is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// The replica, or the state machine behind it, refused.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The request is longer than `--max-request-bytes`.
    #[error("request is too large")]
    TooLarge,
    /// A learner answers only serializable reads and its status.
    #[error("rpc not supported for learner")]
    Learner,
    /// The member cannot read its own state; it is about to stop.
    #[error("the member's state cannot be read")]
    Broken,
}

impl From<KvError> for ClientError {
    fn from(error: KvError) -> Self {
        Self::Refused(Refusal::Kv(error))
    }
}

impl ClientError {
    /// The code and the text.
    pub fn client_error(&self) -> (Code, &'static str) {
        match self {
            Self::Refused(refusal) => refusal_error(refusal),
            Self::TooLarge => (Code::InvalidArgument, "etcdserver: request is too large"),
            Self::Learner => (Code::Unavailable, "etcdserver: rpc not supported for learner"),
            Self::Broken => (Code::Unavailable, "etcdserver: server stopped"),
        }
    }
}

fn refusal_error(refusal: &Refusal) -> (Code, &'static str) {
    match refusal {
        Refusal::Kv(error) => {
            let (code, text) = error.client_error();
            (Code::from_i32(code), text)
        }
        Refusal::Cluster(error) => change_error(*error),
        Refusal::NoLeader => (Code::Unavailable, "etcdserver: no leader"),
        Refusal::LeaderChanged => (Code::Unavailable, "etcdserver: leader changed"),
        Refusal::NotLeader => (Code::FailedPrecondition, "etcdserver: not leader"),
        Refusal::BadTransferee => (Code::FailedPrecondition, "etcdserver: bad leader transferee"),
        Refusal::TimedOut => (Code::Unavailable, "etcdserver: request timed out"),
        Refusal::TimedOutLeaderLost => (
            Code::Unavailable,
            "etcdserver: request timed out, possibly due to previous leader failure",
        ),
        // The one text without a prefix: in etcd it is Go's own.
        Refusal::DeadlineExceeded => (Code::DeadlineExceeded, "context deadline exceeded"),
        Refusal::TooManyRequests => (Code::ResourceExhausted, "etcdserver: too many requests"),
        Refusal::Stopped => (Code::Unavailable, "etcdserver: server stopped"),
    }
}

fn change_error(error: ChangeError) -> (Code, &'static str) {
    match error {
        ChangeError::NotFound | ChangeError::Removed => {
            (Code::NotFound, "etcdserver: member not found")
        }
        ChangeError::IdExists => (Code::FailedPrecondition, "etcdserver: member ID already exist"),
        ChangeError::PeerUrlExists => {
            (Code::FailedPrecondition, "etcdserver: Peer URLs already exists")
        }
        ChangeError::BadUrls => {
            (Code::InvalidArgument, "etcdserver: given member URLs are invalid")
        }
        ChangeError::TooManyLearners => {
            (Code::FailedPrecondition, "etcdserver: too many learner members in cluster")
        }
        ChangeError::NotLearner => {
            (Code::FailedPrecondition, "etcdserver: can only promote a learner member")
        }
        ChangeError::LearnerNotReady => (
            Code::FailedPrecondition,
            "etcdserver: can only promote a learner member which is in sync with leader",
        ),
        ChangeError::NotEnoughStarted => (
            Code::FailedPrecondition,
            "etcdserver: re-configuration failed due to not enough started members",
        ),
        ChangeError::Unhealthy => (Code::Unavailable, "etcdserver: unhealthy cluster"),
    }
}

impl From<ClientError> for Status {
    fn from(error: ClientError) -> Self {
        let (code, text) = error.client_error();
        Self::new(code, text)
    }
}

/// The status of a refusal.
pub fn status(error: impl Into<ClientError>) -> Status {
    error.into().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Copied from the table of codes and texts that clients know, not from the code above.
    #[test]
    fn every_error_has_etcds_code_and_text() {
        let cluster = |error| ClientError::Refused(Refusal::Cluster(error));
        let refused = ClientError::Refused;
        for (error, code, text) in [
            (KvError::KeyNotProvided.into(), 3, "key is not provided"),
            (KvError::KeyNotFound.into(), 3, "key not found"),
            (KvError::ValueProvided.into(), 3, "value is provided"),
            (KvError::LeaseProvided.into(), 3, "lease is provided"),
            (KvError::TooManyOps.into(), 3, "too many operations in txn request"),
            (KvError::DuplicateKey.into(), 3, "duplicate key given in txn request"),
            (KvError::LeaseNotFound.into(), 5, "requested lease not found"),
            (KvError::LeaseExists.into(), 9, "lease already exists"),
            (KvError::LeaseTtlTooLarge.into(), 11, "too large lease TTL"),
            (KvError::Compacted.into(), 11, "mvcc: required revision has been compacted"),
            (KvError::FutureRevision.into(), 11, "mvcc: required revision is a future revision"),
            (ClientError::TooLarge, 3, "request is too large"),
            (ClientError::Learner, 14, "rpc not supported for learner"),
            (cluster(ChangeError::NotFound), 5, "member not found"),
            (cluster(ChangeError::Removed), 5, "member not found"),
            (cluster(ChangeError::IdExists), 9, "member ID already exist"),
            (cluster(ChangeError::PeerUrlExists), 9, "Peer URLs already exists"),
            (cluster(ChangeError::BadUrls), 3, "given member URLs are invalid"),
            (cluster(ChangeError::TooManyLearners), 9, "too many learner members in cluster"),
            (cluster(ChangeError::NotLearner), 9, "can only promote a learner member"),
            (
                cluster(ChangeError::LearnerNotReady),
                9,
                "can only promote a learner member which is in sync with leader",
            ),
            (
                cluster(ChangeError::NotEnoughStarted),
                9,
                "re-configuration failed due to not enough started members",
            ),
            (cluster(ChangeError::Unhealthy), 14, "unhealthy cluster"),
            (refused(Refusal::NoLeader), 14, "no leader"),
            (refused(Refusal::LeaderChanged), 14, "leader changed"),
            (refused(Refusal::NotLeader), 9, "not leader"),
            (refused(Refusal::BadTransferee), 9, "bad leader transferee"),
            (refused(Refusal::TimedOut), 14, "request timed out"),
            (
                refused(Refusal::TimedOutLeaderLost),
                14,
                "request timed out, possibly due to previous leader failure",
            ),
            (refused(Refusal::TooManyRequests), 8, "too many requests"),
            (KvError::NoSpace.into(), 8, "mvcc: database space exceeded"),
            (KvError::Corrupt.into(), 15, "corrupt cluster"),
            (KvError::SortUnknown.into(), 3, "invalid sort option"),
            (refused(Refusal::Stopped), 14, "server stopped"),
            (ClientError::Broken, 14, "server stopped"),
        ] {
            let status = Status::from(error);
            assert_eq!(status.code() as i32, code, "{text}");
            assert_eq!(status.message(), format!("etcdserver: {text}"));
        }
        let late = status(Refusal::DeadlineExceeded);
        assert_eq!(
            (late.code(), late.message()),
            (Code::DeadlineExceeded, "context deadline exceeded")
        );
    }
}
