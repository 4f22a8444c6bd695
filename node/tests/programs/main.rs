//! Processes of the shipped program, alone and as clusters.

mod bad_bytes;
mod corruption;
mod damaged_files;
mod member;
mod removed;
mod wrong_url;
