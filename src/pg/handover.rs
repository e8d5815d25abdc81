//! Descriptors that one process of the server leaves for another one.
//!
//! The postmaster makes a pair of connected sockets for each *place* before it forks. A descriptor
//! that is sent into a place stays open in the kernel, with the note that goes with it, until some
//! process takes it out; no process has to hold it, and nobody has to be asked. Only processes of
//! this server have the places: they have no name, and are closed when another program is started.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::OnceLock;

/// Length of the longest note.
pub const LONGEST_NOTE: usize = 16 * 1024;

/// A descriptor counts twice for each place, in every process of the server: places take no more
/// than this part of what a process may have.
const PART_OF_DESCRIPTORS: libc::rlim_t = 16;

/// What goes in comes out of the other one.
struct Place {
    entrance: OwnedFd,
    exit: OwnedFd,
}

static PLACES: OnceLock<Vec<Place>> = OnceLock::new();

/// Makes up to `wanted` places; in the postmaster, from `_PG_init`. There are fewer when the system
/// gives no more.
pub fn prepare(wanted: usize) {
    PLACES.get_or_init(|| {
        let most = usize::try_from(descriptors() / PART_OF_DESCRIPTORS).unwrap_or(usize::MAX);
        (0..wanted.min(most)).map_while(|_| place().ok()).collect()
    });
}

/// Descriptors that a process may have.
fn descriptors() -> libc::rlim_t {
    let mut limit = MaybeUninit::<libc::rlimit>::zeroed();
    // SAFETY: fills the structure, which is plain data.
    unsafe {
        match libc::getrlimit(libc::RLIMIT_NOFILE, limit.as_mut_ptr()) {
            0 => limit.assume_init().rlim_cur,
            _ => 0,
        }
    }
}

fn place() -> io::Result<Place> {
    let kind = libc::SOCK_DGRAM | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    let mut pair: [RawFd; 2] = [-1; 2];
    // SAFETY: the array has room for both descriptors, which nobody else owns.
    unsafe {
        if libc::socketpair(libc::AF_UNIX, kind, 0, pair.as_mut_ptr()) != 0 {
            return Err(io::Error::last_os_error());
        }
        let [entrance, exit] = pair;
        Ok(Place { entrance: OwnedFd::from_raw_fd(entrance), exit: OwnedFd::from_raw_fd(exit) })
    }
}

/// Number of places, the same in all processes.
pub fn places() -> usize {
    PLACES.get().map_or(0, Vec::len)
}

/// Room for the control message that carries one descriptor, aligned as its header.
type Control = [u64; 8];

/// Leaves a descriptor with a note; false when it could not be left. Never waits. The caller sees
/// to it that there is one descriptor in a place.
pub fn leave(place: usize, fd: RawFd, note: &[u8]) -> bool {
    let Some(place) = PLACES.get().and_then(|p| p.get(place)) else { return false };
    if note.is_empty() || note.len() > LONGEST_NOTE {
        return false;
    }
    let mut control: Control = [0; 8];
    let mut data = libc::iovec { iov_base: note.as_ptr().cast_mut().cast(), iov_len: note.len() };
    let size = size_of::<RawFd>() as libc::c_uint;
    // SAFETY: all pointers are to variables that live over the call; the control message lies
    // within its buffer, which is larger than CMSG_SPACE of one descriptor.
    unsafe {
        let mut message: libc::msghdr = std::mem::zeroed();
        message.msg_iov = &mut data;
        message.msg_iovlen = 1;
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = libc::CMSG_SPACE(size) as _;
        let header = libc::CMSG_FIRSTHDR(&message);
        if header.is_null() {
            return false;
        }
        (*header).cmsg_level = libc::SOL_SOCKET;
        (*header).cmsg_type = libc::SCM_RIGHTS;
        (*header).cmsg_len = libc::CMSG_LEN(size) as _;
        libc::CMSG_DATA(header).cast::<RawFd>().write_unaligned(fd);
        let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
        libc::sendmsg(place.entrance.as_raw_fd(), &message, flags) >= 0
    }
}

/// Takes the descriptor and its note out of a place. Never waits.
pub fn fetch(place: usize) -> Option<(OwnedFd, Vec<u8>)> {
    let place = PLACES.get()?.get(place)?;
    let mut note = vec![0u8; LONGEST_NOTE];
    let mut control: Control = [0; 8];
    let mut data = libc::iovec { iov_base: note.as_mut_ptr().cast(), iov_len: note.len() };
    // SAFETY: all pointers are to variables that live over the call; the system writes no more
    // than it is told there is room for, and a descriptor that it hands over is owned by nobody.
    unsafe {
        let mut message: libc::msghdr = std::mem::zeroed();
        message.msg_iov = &mut data;
        message.msg_iovlen = 1;
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = size_of::<Control>() as _;
        let flags = libc::MSG_DONTWAIT | libc::MSG_CMSG_CLOEXEC;
        let n = libc::recvmsg(place.exit.as_raw_fd(), &mut message, flags);
        note.truncate(usize::try_from(n).ok()?);
        let header = libc::CMSG_FIRSTHDR(&message);
        if header.is_null()
            || (*header).cmsg_level != libc::SOL_SOCKET
            || (*header).cmsg_type != libc::SCM_RIGHTS
        {
            return None;
        }
        let fd = libc::CMSG_DATA(header).cast::<RawFd>().read_unaligned();
        Some((OwnedFd::from_raw_fd(fd), note))
    }
}

/// Closes whatever lies in the places: their owners are gone with the shared memory that told of
/// them.
pub fn clear() {
    for place in 0..places() {
        while fetch(place).is_some() {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    #[test]
    fn what_is_left_is_fetched_once_and_works() -> io::Result<()> {
        prepare(4);
        assert_eq!(places(), 4);
        let (mut here, there) = UnixStream::pair()?;
        assert!(leave(1, there.as_raw_fd(), b"a note"));
        drop(there);
        assert!(fetch(0).is_none());
        let (fd, note) = fetch(1).ok_or(io::ErrorKind::NotFound)?;
        assert_eq!(note, b"a note");
        assert!(fetch(1).is_none());
        here.write_all(b"x")?;
        let mut byte = [0u8; 1];
        io::Read::read_exact(&mut UnixStream::from(fd), &mut byte)?;
        assert_eq!(&byte, b"x");
        // Closed with the place's content: the other end sees it.
        let (mut here, there) = UnixStream::pair()?;
        assert!(leave(2, there.as_raw_fd(), b"n"));
        drop(there);
        clear();
        assert_eq!(io::Read::read(&mut here, &mut byte)?, 0);
        assert!(!leave(2, here.as_raw_fd(), &vec![0; LONGEST_NOTE + 1]));
        assert!(!leave(4, here.as_raw_fd(), b"n"));
        Ok(())
    }
}
