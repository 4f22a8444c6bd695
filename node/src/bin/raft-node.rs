//! A member of a cluster.

fn main() {}
