//! Tests of watch streams.
