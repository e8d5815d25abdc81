//! Settings as this module needs them.

use crate::settings::{self, LogLevel};
use pgrx::pg_sys;
use std::time::Duration;

/// Least level of a node's notice that is shown, as one of PostgreSQL's levels.
pub(super) fn worker_min_messages() -> u32 {
    match settings::worker_min_messages() {
        LogLevel::Off => u32::MAX,
        LogLevel::Debug5 => pg_sys::DEBUG5,
        LogLevel::Debug4 => pg_sys::DEBUG4,
        LogLevel::Debug3 => pg_sys::DEBUG3,
        LogLevel::Debug2 => pg_sys::DEBUG2,
        LogLevel::Debug1 => pg_sys::DEBUG1,
        LogLevel::Log => pg_sys::LOG,
        LogLevel::Notice => pg_sys::NOTICE,
        LogLevel::Warning => pg_sys::WARNING,
        LogLevel::Error => 21,
    }
}

/// Time that connecting may take.
pub(super) fn connect_timeout() -> Duration {
    Duration::from_millis(settings::node_connection_timeout().max(10) as u64)
}

/// Sessions to a node that are kept between transactions.
pub(super) fn max_cached() -> usize {
    settings::max_cached_conns_per_worker().max(0) as usize
}

/// Time that a connection is kept for another session; `None` when it is not.
pub(super) fn kept_time() -> Option<Duration> {
    let time = u64::try_from(settings::kept_connection_time()).ok().filter(|t| *t > 0)?;
    (max_cached() > 0).then(|| Duration::from_millis(time))
}

/// Age from which a kept session is closed.
pub(super) fn max_lifetime() -> Option<Duration> {
    u64::try_from(settings::max_cached_connection_lifetime()).ok().map(Duration::from_millis)
}
