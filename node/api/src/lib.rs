//! etcd's v3 wire API: its messages, and clients and servers for its gRPC services.
//!
//! One module for each protobuf package, with the package's name, because generated code finds
//! its neighbours that way:
//!
//! ```text
//!   v3lockpb   v3electionpb            health
//!        │        │     │         (stands alone)
//!        ▼        ▼     │
//!       etcdserverpb    │
//!        │        │     │
//!        ▼        ▼     ▼
//!      authpb     mvccpb
//! ```
//!
//! The source is `proto/`, written for this project and wire compatible with etcd 3.5, plus the
//! few fields 3.6 adds. What is generated from it is committed under `src/gen/`, so that a build
//! needs no protobuf compiler; the test `generated` compares the two and, run with `UPDATE=1`,
//! writes `src/gen/` anew.
//!
//! Every `bytes` field is a [`bytes::Bytes`], cheap to clone. Fields are encoded in the order of
//! their numbers and zero fields are left out, so equal messages have equal bytes; `HashKV`
//! relies on it.
//!
//! Left out: gRPC reflection, the JSON gateway (only its names are in `proto/`), lease
//! checkpoints and the messages etcd's members send each other.

#![expect(
    missing_docs,
    clippy::allow_attributes,
    reason = "all code here is generated, and `proto/` comments only on what a name leaves open"
)]

/// Keys as they are stored, and the events that change them.
pub mod mvccpb {
    include!("gen/mvccpb.rs");
}

/// Users, roles and permissions.
pub mod authpb {
    include!("gen/authpb.rs");
}

/// The services every client uses: keys, watches, leases, members, maintenance, users.
pub mod etcdserverpb {
    include!("gen/etcdserverpb.rs");
}

/// Locks held by leases, arranged by the server.
pub mod v3lockpb {
    include!("gen/v3lockpb.rs");
}

/// Elections among clients, arranged by the server. Not the cluster's own.
pub mod v3electionpb {
    include!("gen/v3electionpb.rs");
}

/// gRPC's own health protocol, package `grpc.health.v1`.
pub mod health {
    include!("gen/grpc.health.v1.rs");
}
