//! Processes of the shipped program, alone and as clusters.

mod damaged_files;
mod member;
mod removed;
