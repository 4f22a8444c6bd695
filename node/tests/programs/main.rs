//! Processes of the shipped program, alone and as clusters.

mod alone;
mod auto_compaction;
mod bad_bytes;
mod copies;
mod corruption;
mod damaged_files;
mod member;
mod offline;
mod removed;
mod wiped;
mod wrong_url;
