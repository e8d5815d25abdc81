//! Pure rules of sharding: no server, no I/O.

pub mod copies;
pub mod deadlock;
pub mod gate;
pub mod proof;
pub mod ranges;
