//! Options of TCP connections that a server accepts.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::sockopt;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Bounds what the kernel holds for a connection: `send` and `receive` are bytes of each
/// queue (the kernel doubles them for its own bookkeeping), `unacknowledged` is how long sent
/// data may wait for the peer, also behind a closed window and after the program has closed
/// the connection.
///
/// # Errors
/// The kernel refuses an option.
pub fn bound(
    socket: &impl AsFd,
    send: usize,
    receive: usize,
    unacknowledged: Duration,
) -> io::Result<()> {
    sockopt::set_socket_send_buffer_size(socket, send)?;
    sockopt::set_socket_recv_buffer_size(socket, receive)?;
    let milliseconds = u32::try_from(unacknowledged.as_millis()).unwrap_or(u32::MAX);
    sockopt::set_tcp_user_timeout(socket, milliseconds)?;
    Ok(())
}

/// Lets as many connections wait for a listener as the system allows: those that find no
/// place are tried again a second later, which is long for an honest client.
///
/// # Errors
/// The kernel refuses.
pub fn deepen_backlog(listener: &impl AsFd) -> io::Result<()> {
    // A second call changes the length of the queue; the system cuts it down to its own limit.
    Ok(rustix::net::listen(listener, 4096)?)
}

/// Has the close of a connection drop what was not sent yet, instead of keeping it in the
/// kernel until the peer takes it.
///
/// # Errors
/// The kernel refuses the option.
pub fn abort_on_close(socket: &impl AsFd) -> io::Result<()> {
    Ok(sockopt::set_socket_linger(socket, Some(Duration::ZERO))?)
}

/// Lets this process open `wanted` descriptors, or as many as the system allows it.
///
/// # Errors
/// The kernel refuses.
pub fn raise_descriptor_limit(wanted: u64) -> io::Result<()> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    // `None` is no limit.
    let wanted = maximum.map_or(wanted, |maximum| maximum.min(wanted));
    if current.is_none_or(|current| current >= wanted) {
        return Ok(());
    }
    let current = Some(wanted);
    Ok(setrlimit(Resource::Nofile, Rlimit { current, maximum })?)
}

/// How many descriptors this process may have open.
#[must_use]
pub fn descriptor_limit() -> usize {
    let limit = getrlimit(Resource::Nofile).current;
    limit.map_or(usize::MAX, |limit| {
        usize::try_from(limit).unwrap_or(usize::MAX)
    })
}

/// Makes both queues of a connection larger.
///
/// # Errors
/// The kernel refuses an option.
pub fn grow(socket: &impl AsFd, bytes: usize) -> io::Result<()> {
    sockopt::set_socket_send_buffer_size(socket, bytes)?;
    sockopt::set_socket_recv_buffer_size(socket, bytes)?;
    Ok(())
}

/// Whether a connection could not be accepted because the system, and not the peer, is at
/// its end: no descriptor, no memory.
#[must_use]
pub fn is_exhaustion(error: &io::Error) -> bool {
    let reasons = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM];
    Errno::from_io_error(error).is_some_and(|errno| reasons.contains(&errno))
}
