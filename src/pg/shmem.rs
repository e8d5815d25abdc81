//! Shared memory: tables of 64-bit words with a lock each, made at server start.
//!
//! Words are atomics that start as zero, so that using them is safe code whatever other processes
//! do. What has to change together is changed under the table's lock.

use super::guard;
use pgrx::pg_sys;
use std::ffi::CStr;
use std::sync::atomic::{AtomicPtr, AtomicU64, AtomicUsize, Ordering};

/// A row of a table in shared memory.
pub type Slot<const N: usize> = [AtomicU64; N];

/// A table of rows of `N` words.
pub struct Table<const N: usize> {
    name: &'static CStr,
    rows: fn() -> usize,
    start: AtomicPtr<Slot<N>>,
    len: AtomicUsize,
    lock: AtomicPtr<pg_sys::LWLock>,
}

/// What the hooks at server start need of a table.
pub trait Shared: Sync {
    /// Asks for the memory; for the request hook only.
    fn request(&self);
    /// Finds or makes the memory; for the start-up hook only, see [`with_init_lock`].
    fn attach(&self);
}

impl<const N: usize> Table<N> {
    /// A table with as many rows as `rows` tells at server start.
    pub const fn new(name: &'static CStr, rows: fn() -> usize) -> Self {
        Table {
            name,
            rows,
            start: AtomicPtr::new(std::ptr::null_mut()),
            len: AtomicUsize::new(0),
            lock: AtomicPtr::new(std::ptr::null_mut()),
        }
    }

    /// All rows; none when there is no shared memory.
    pub fn slots(&self) -> &'static [Slot<N>] {
        let start = self.start.load(Ordering::Relaxed);
        if start.is_null() {
            return &[];
        }
        // SAFETY: the memory lives as long as the process, has been zeroed, and every pattern of
        // bits is a valid row.
        unsafe { std::slice::from_raw_parts(start, self.len.load(Ordering::Relaxed)) }
    }

    /// Runs `f` under the table's lock, `None` when there is no shared memory. `f` has to be
    /// short, since cancel and termination wait, and must not call the server.
    pub fn locked<R>(&self, exclusive: bool, f: impl FnOnce() -> R) -> Option<R> {
        let lock = self.lock.load(Ordering::Relaxed);
        if lock.is_null() {
            return None;
        }
        struct Release(*mut pg_sys::LWLock);
        impl Drop for Release {
            fn drop(&mut self) {
                // SAFETY: acquired below by this process.
                unsafe { pg_sys::LWLockRelease(self.0) }
            }
        }
        let mode = if exclusive {
            pg_sys::LWLockMode::LW_EXCLUSIVE
        } else {
            pg_sys::LWLockMode::LW_SHARED
        };
        // SAFETY: the lock belongs to the table and is released when `f` ends.
        unsafe { guard::call(|| pg_sys::LWLockAcquire(lock, mode)) };
        let _release = Release(lock);
        Some(f())
    }

    fn size(&self) -> usize {
        (self.rows)().saturating_mul(std::mem::size_of::<Slot<N>>())
    }
}

impl<const N: usize> Shared for Table<N> {
    fn request(&self) {
        // SAFETY: the server is in its request phase.
        unsafe {
            pg_sys::RequestAddinShmemSpace(self.size());
            pg_sys::RequestNamedLWLockTranche(self.name.as_ptr(), 1);
        }
    }

    fn attach(&self) {
        let (name, size) = (self.name.as_ptr(), self.size());
        let mut found = false;
        // SAFETY: name and size are those that were asked for; shared memory is aligned for words.
        unsafe {
            let start = guard::call(|| pg_sys::ShmemInitStruct(name, size, &mut found));
            if !found {
                std::ptr::write_bytes(start.cast::<u8>(), 0, size);
            }
            let lock = guard::call(|| pg_sys::GetNamedLWLockTranche(name));
            self.len.store((self.rows)(), Ordering::Relaxed);
            self.lock.store(std::ptr::addr_of_mut!((*lock).lock), Ordering::Relaxed);
            self.start.store(start.cast(), Ordering::Relaxed);
        }
    }
}

/// Place of AddinShmemInitLock in the server's main array of locks (lwlocknames.h).
const ADDIN_SHMEM_INIT_LOCK: usize = 21;

/// Runs `f` under the lock that start-up hooks share.
pub fn with_init_lock(f: impl FnOnce()) {
    // SAFETY: the main array exists when start-up hooks run; an error in `f` ends the start.
    unsafe {
        let lock =
            std::ptr::addr_of_mut!((*pg_sys::MainLWLockArray.add(ADDIN_SHMEM_INIT_LOCK)).lock);
        guard::call(|| pg_sys::LWLockAcquire(lock, pg_sys::LWLockMode::LW_EXCLUSIVE));
        f();
        pg_sys::LWLockRelease(lock);
    }
}
