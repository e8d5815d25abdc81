//! Pure rules of sharding: no server, no I/O.

pub mod deadlock;
pub mod gate;
pub mod proof;
pub mod ranges;
