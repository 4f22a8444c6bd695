//! What a member keeps, as shipped: the log, the state machine and redb, on a disk that loses its
//! power at any write or whose bits rot. No consensus and no threads: commands are logged, synced,
//! applied, flushed and compacted by hand, and compared with a model in RAM.

mod bit_rot;
mod member;
mod power_loss;
