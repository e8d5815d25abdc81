//! Stream sockets whose calls do not wait, but for one that waits a little. The standard library
//! cannot start a connection without waiting for it, so the few system calls needed are made here.

use pgrx::pg_sys;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

/// Where to connect to.
#[derive(Clone, Debug)]
pub enum Address {
    /// TCP.
    Inet(SocketAddr),
    /// Path of a unix socket.
    Unix(std::path::PathBuf),
}

/// When a peer that does not answer any more is given up. The defaults notice within a minute
/// that a node has vanished without a word, which the system's own would take hours for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KeepAlive {
    /// Whether to ask at all.
    pub enabled: bool,
    /// Seconds of silence before the first question.
    pub idle: i32,
    /// Seconds between questions.
    pub interval: i32,
    /// Questions without an answer.
    pub count: i32,
    /// Milliseconds that sent data may stay unacknowledged; 0 leaves it to the system.
    pub user_timeout: i32,
}

impl Default for KeepAlive {
    fn default() -> Self {
        KeepAlive { enabled: true, idle: 20, interval: 5, count: 5, user_timeout: 45_000 }
    }
}

/// A socket whose file descriptor is counted by PostgreSQL's own limit.
#[derive(Debug)]
pub struct Socket {
    fd: OwnedFd,
    _slot: FdSlot,
}

/// A reservation of a file descriptor.
#[derive(Debug)]
struct FdSlot(());

impl FdSlot {
    fn acquire() -> io::Result<Self> {
        // SAFETY: counts only.
        if unsafe { pg_sys::AcquireExternalFD() } {
            Ok(FdSlot(()))
        } else {
            Err(io::Error::from_raw_os_error(libc::EMFILE))
        }
    }
}

impl Drop for FdSlot {
    fn drop(&mut self) {
        // SAFETY: undoes the reservation made by `acquire`.
        unsafe { pg_sys::ReleaseExternalFD() }
    }
}

fn check(rc: libc::c_int) -> io::Result<libc::c_int> {
    if rc < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(rc)
    }
}

impl Socket {
    /// Starts a connection. It is established when the socket becomes writable and
    /// [`Socket::take_error`] has nothing to say.
    pub fn connect(address: &Address, keep: KeepAlive) -> io::Result<Socket> {
        let family = match address {
            Address::Inet(SocketAddr::V4(_)) => libc::AF_INET,
            Address::Inet(SocketAddr::V6(_)) => libc::AF_INET6,
            Address::Unix(_) => libc::AF_UNIX,
        };
        let slot = FdSlot::acquire()?;
        let kind = libc::SOCK_STREAM | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
        // SAFETY: a new descriptor is owned by nobody else.
        let fd = unsafe { OwnedFd::from_raw_fd(check(libc::socket(family, kind, 0))?) };
        let socket = Socket { fd, _slot: slot };
        if family != libc::AF_UNIX {
            socket.option(libc::IPPROTO_TCP, libc::TCP_NODELAY, 1)?;
            socket.keep_alive(keep)?;
        }
        match socket.start(address) {
            Err(e) if e.raw_os_error() == Some(libc::EINPROGRESS) => Ok(socket),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => Ok(socket),
            Err(e) => Err(e),
            Ok(()) => Ok(socket),
        }
    }

    /// A socket that another process has connected.
    pub fn adopt(fd: OwnedFd) -> io::Result<Socket> {
        Ok(Socket { fd, _slot: FdSlot::acquire()? })
    }

    fn keep_alive(&self, keep: KeepAlive) -> io::Result<()> {
        if keep.user_timeout > 0 {
            self.option(libc::IPPROTO_TCP, libc::TCP_USER_TIMEOUT, keep.user_timeout)?;
        }
        if !keep.enabled {
            return Ok(());
        }
        self.option(libc::SOL_SOCKET, libc::SO_KEEPALIVE, 1)?;
        self.option(libc::IPPROTO_TCP, libc::TCP_KEEPIDLE, keep.idle)?;
        self.option(libc::IPPROTO_TCP, libc::TCP_KEEPINTVL, keep.interval)?;
        self.option(libc::IPPROTO_TCP, libc::TCP_KEEPCNT, keep.count)
    }

    fn start(&self, address: &Address) -> io::Result<()> {
        let fd = self.as_raw_fd();
        let rc = match address {
            Address::Inet(SocketAddr::V4(a)) => {
                let addr = libc::sockaddr_in {
                    sin_family: libc::AF_INET as libc::sa_family_t,
                    sin_port: a.port().to_be(),
                    sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(a.ip().octets()) },
                    sin_zero: [0; 8],
                };
                // SAFETY: the address lives over the call and its size is right.
                unsafe { connect_raw(fd, &addr) }
            }
            Address::Inet(SocketAddr::V6(a)) => {
                let addr = libc::sockaddr_in6 {
                    sin6_family: libc::AF_INET6 as libc::sa_family_t,
                    sin6_port: a.port().to_be(),
                    sin6_flowinfo: a.flowinfo(),
                    sin6_addr: libc::in6_addr { s6_addr: a.ip().octets() },
                    sin6_scope_id: a.scope_id(),
                };
                // SAFETY: as above.
                unsafe { connect_raw(fd, &addr) }
            }
            Address::Unix(path) => {
                let addr = unix_address(path)?;
                // SAFETY: as above.
                unsafe { connect_raw(fd, &addr) }
            }
        };
        check(rc).map(drop)
    }

    fn option(&self, level: libc::c_int, name: libc::c_int, value: libc::c_int) -> io::Result<()> {
        self.set(level, name, &value)
    }

    fn set<V>(&self, level: libc::c_int, name: libc::c_int, value: &V) -> io::Result<()> {
        // SAFETY: the value lives over the call and its size is right.
        check(unsafe {
            libc::setsockopt(
                self.as_raw_fd(),
                level,
                name,
                std::ptr::from_ref(value).cast(),
                size_of::<V>() as libc::socklen_t,
            )
        })
        .map(drop)
    }

    /// The pending error of the socket, if any.
    pub fn take_error(&self) -> Option<io::Error> {
        let mut value: libc::c_int = 0;
        let mut len = size_of::<libc::c_int>() as libc::socklen_t;
        // SAFETY: value and length live over the call.
        let rc = unsafe {
            libc::getsockopt(
                self.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_ERROR,
                (&raw mut value).cast(),
                &mut len,
            )
        };
        if rc < 0 {
            return Some(io::Error::last_os_error());
        }
        (value != 0).then(|| io::Error::from_raw_os_error(value))
    }

    /// Reads what is there; `WouldBlock` when nothing is.
    pub fn read(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.receive(buf, libc::MSG_DONTWAIT)
    }

    /// Lets [`Socket::read_soon`] wait; the other calls never do.
    pub fn be_patient(&self, time: Duration) -> io::Result<()> {
        let value = libc::timeval {
            tv_sec: time.as_secs() as libc::time_t,
            tv_usec: libc::suseconds_t::from(time.subsec_micros() as i32),
        };
        self.set(libc::SOL_SOCKET, libc::SO_RCVTIMEO, &value)?;
        // SAFETY: flags of our own descriptor.
        unsafe {
            let flags = check(libc::fcntl(self.as_raw_fd(), libc::F_GETFL))?;
            check(libc::fcntl(self.as_raw_fd(), libc::F_SETFL, flags & !libc::O_NONBLOCK))?;
        }
        Ok(())
    }

    /// Reads, and waits a little when nothing is there; `WouldBlock` after that, or when a signal
    /// came.
    pub fn read_soon(&self, buf: &mut [u8]) -> io::Result<usize> {
        // SAFETY: the buffer is valid for its length.
        let n = unsafe { libc::recv(self.as_raw_fd(), buf.as_mut_ptr().cast(), buf.len(), 0) };
        if n >= 0 {
            return Ok(n as usize);
        }
        let e = io::Error::last_os_error();
        match e.kind() {
            io::ErrorKind::Interrupted => Err(io::ErrorKind::WouldBlock.into()),
            _ => Err(e),
        }
    }

    /// Looks at what is there without taking it.
    pub fn peek(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.receive(buf, libc::MSG_PEEK | libc::MSG_DONTWAIT)
    }

    fn receive(&self, buf: &mut [u8], flags: libc::c_int) -> io::Result<usize> {
        loop {
            // SAFETY: the buffer is valid for its length.
            let n =
                unsafe { libc::recv(self.as_raw_fd(), buf.as_mut_ptr().cast(), buf.len(), flags) };
            if n >= 0 {
                return Ok(n as usize);
            }
            let e = io::Error::last_os_error();
            if e.kind() != io::ErrorKind::Interrupted {
                return Err(e);
            }
        }
    }

    /// Writes what the socket takes; `WouldBlock` when it takes nothing.
    pub fn write(&self, buf: &[u8]) -> io::Result<usize> {
        loop {
            // SAFETY: the buffer is valid for its length. MSG_NOSIGNAL: no SIGPIPE.
            let n = unsafe {
                libc::send(
                    self.as_raw_fd(),
                    buf.as_ptr().cast(),
                    buf.len(),
                    libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT,
                )
            };
            if n >= 0 {
                return Ok(n as usize);
            }
            let e = io::Error::last_os_error();
            if e.kind() != io::ErrorKind::Interrupted {
                return Err(e);
            }
        }
    }
}

impl AsRawFd for Socket {
    fn as_raw_fd(&self) -> i32 {
        self.fd.as_raw_fd()
    }
}

/// # Safety
/// `A` must be a socket address structure of the socket's family.
unsafe fn connect_raw<A>(fd: i32, addr: &A) -> libc::c_int {
    // SAFETY: a valid reference with its size.
    unsafe { libc::connect(fd, (addr as *const A).cast(), size_of::<A>() as libc::socklen_t) }
}

fn unix_address(path: &Path) -> io::Result<libc::sockaddr_un> {
    let bytes = path.as_os_str().as_encoded_bytes();
    let mut addr = libc::sockaddr_un { sun_family: libc::AF_UNIX as u16, sun_path: [0; 108] };
    if bytes.len() >= addr.sun_path.len() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "socket path is too long"));
    }
    for (to, from) in addr.sun_path.iter_mut().zip(bytes) {
        *to = *from as libc::c_char;
    }
    Ok(addr)
}

/// What to wait for on a descriptor; `ready` is set by [`poll`].
#[derive(Clone, Copy, Debug)]
pub struct Interest {
    /// The descriptor.
    pub fd: i32,
    /// Also wait until it can be written.
    pub write: bool,
    /// Something happened.
    pub ready: bool,
}

/// Waits without looking at interrupts, for callbacks that must not raise. Returns at the latest
/// at `deadline`, or as soon as `stop` says so (asked every few milliseconds).
pub fn poll(interests: &mut [Interest], deadline: Instant, stop: impl Fn() -> bool) {
    const TICK: Duration = Duration::from_millis(10);
    let mut fds: Vec<libc::pollfd> = interests
        .iter()
        .map(|i| libc::pollfd {
            fd: i.fd,
            events: libc::POLLIN | if i.write { libc::POLLOUT } else { 0 },
            revents: 0,
        })
        .collect();
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() || stop() {
            return;
        }
        let wait = left.min(TICK).as_millis().max(1) as libc::c_int;
        // SAFETY: the array is valid for its length.
        let n = unsafe { libc::poll(fds.as_mut_ptr(), fds.len() as libc::nfds_t, wait) };
        if n > 0 {
            for (i, f) in interests.iter_mut().zip(&fds) {
                i.ready = f.revents != 0;
            }
            return;
        }
    }
}
