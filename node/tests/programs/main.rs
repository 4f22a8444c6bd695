//! Processes of the shipped program, alone and as clusters.

mod corruption;
mod damaged_files;
mod member;
mod removed;
