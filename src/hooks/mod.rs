//! PostgreSQL's hooks; the only writers of hook pointers.

pub mod analysis;
pub mod copy;
pub mod database;
pub mod execution;
pub mod nesting;
pub mod planner;
pub mod shmem;
pub mod utility;
