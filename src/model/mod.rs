//! Pure rules of sharding: no server, no I/O.

pub mod ranges;
