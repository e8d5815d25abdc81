//! The C library's memory, which Rust's collections use.

/// Gives free memory back to the system. It takes some ten microseconds, so it is for moments
/// after something large.
pub fn trim() {
    #[cfg(target_env = "gnu")]
    // SAFETY: has no preconditions; the allocator is the C library's.
    unsafe {
        libc::malloc_trim(0);
    }
}
