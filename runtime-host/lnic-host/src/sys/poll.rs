//! Waiting: epoll over a thread's sockets, and the eventfd by which other threads wake it.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// What became ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Token {
    /// The λ wire's socket.
    Wire,
    /// Another thread has something for us.
    Wake,
    /// A socket of a service client.
    Service {
        /// Which client.
        client: u32,
        /// Which of its sockets.
        socket: u16,
    },
}

impl Token {
    fn encode(self) -> u64 {
        match self {
            Token::Wire => 0,
            Token::Wake => 1,
            Token::Service { client, socket } => (u64::from(client) + 1) << 32 | u64::from(socket),
        }
    }

    fn decode(data: u64) -> Token {
        match (data >> 32, data) {
            (0, 0) => Token::Wire,
            (0, _) => Token::Wake,
            (client, _) => Token::Service {
                client: (client - 1) as u32,
                socket: data as u16,
            },
        }
    }
}

/// An epoll instance with room for one batch of events.
pub(crate) struct Epoll {
    fd: OwnedFd,
    events: Vec<libc::epoll_event>,
}

impl Epoll {
    pub(crate) fn new() -> io::Result<Epoll> {
        // SAFETY: no pointers; a descriptor that is not negative is open and ours alone.
        let fd = unsafe {
            match libc::epoll_create1(libc::EPOLL_CLOEXEC) {
                -1 => return Err(io::Error::last_os_error()),
                fd => OwnedFd::from_raw_fd(fd),
            }
        };
        Ok(Epoll {
            fd,
            events: vec![libc::epoll_event { events: 0, u64: 0 }; 64],
        })
    }

    /// Watches `source` for input until it is closed.
    pub(crate) fn add(&self, source: &impl AsRawFd, token: Token) -> io::Result<()> {
        let mut event = libc::epoll_event {
            events: libc::EPOLLIN as u32,
            u64: token.encode(),
        };
        // SAFETY: both descriptors are open, `event` lives through the call.
        let status = unsafe {
            libc::epoll_ctl(
                self.fd.as_raw_fd(),
                libc::EPOLL_CTL_ADD,
                source.as_raw_fd(),
                &mut event,
            )
        };
        if status != 0 {
            Err(io::Error::last_os_error())
        } else {
            Ok(())
        }
    }

    /// Watches `source` no more.
    pub(crate) fn remove(&self, source: &impl AsRawFd) -> io::Result<()> {
        // SAFETY: both descriptors are open; removal takes no event.
        let status = unsafe {
            libc::epoll_ctl(
                self.fd.as_raw_fd(),
                libc::EPOLL_CTL_DEL,
                source.as_raw_fd(),
                std::ptr::null_mut(),
            )
        };
        if status != 0 {
            Err(io::Error::last_os_error())
        } else {
            Ok(())
        }
    }

    /// Waits for up to `timeout_ms`, -1 for ever; an interruption gives no events.
    pub(crate) fn wait(&mut self, timeout_ms: i32) -> io::Result<usize> {
        // SAFETY: the kernel writes at most `events.len()` entries into the live vector.
        let count = unsafe {
            libc::epoll_wait(
                self.fd.as_raw_fd(),
                self.events.as_mut_ptr(),
                self.events.len() as i32,
                timeout_ms,
            )
        };
        match count {
            -1 => match io::Error::last_os_error() {
                e if e.kind() == io::ErrorKind::Interrupted => Ok(0),
                e => Err(e),
            },
            count => Ok(count as usize),
        }
    }

    /// What the last wait found at `at`.
    pub(crate) fn event(&self, at: usize) -> Token {
        Token::decode(self.events[at].u64)
    }
}

/// Wakes a thread that waits in [`Epoll::wait`].
pub(crate) struct EventFd(OwnedFd);

impl EventFd {
    pub(crate) fn new() -> io::Result<EventFd> {
        // SAFETY: no pointers; a descriptor that is not negative is open and ours alone.
        unsafe {
            match libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) {
                -1 => Err(io::Error::last_os_error()),
                fd => Ok(EventFd(OwnedFd::from_raw_fd(fd))),
            }
        }
    }

    /// Makes it ready. A full counter is ready already, so nothing can go wrong that matters.
    pub(crate) fn notify(&self) {
        let one = 1u64;
        // SAFETY: writes the 8 bytes of a live u64 to an open descriptor.
        unsafe { libc::write(self.0.as_raw_fd(), (&raw const one).cast(), 8) };
    }

    /// Makes it not ready.
    pub(crate) fn clear(&self) {
        let mut count = 0u64;
        // SAFETY: reads at most 8 bytes into a live u64.
        unsafe { libc::read(self.0.as_raw_fd(), (&raw mut count).cast(), 8) };
    }
}

impl AsRawFd for EventFd {
    fn as_raw_fd(&self) -> i32 {
        self.0.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_survive_the_kernel() {
        let service = |client, socket| Token::Service { client, socket };
        for token in [
            Token::Wire,
            Token::Wake,
            service(0, 0),
            service(70_000, 15),
            service(1, 65_535),
        ] {
            assert_eq!(Token::decode(token.encode()), token);
        }
    }

    #[test]
    fn a_notified_eventfd_is_ready_until_cleared() {
        let (mut epoll, event) = (Epoll::new().unwrap(), EventFd::new().unwrap());
        epoll.add(&event, Token::Wake).unwrap();
        assert_eq!(epoll.wait(0).unwrap(), 0);
        event.notify();
        assert_eq!((epoll.wait(0).unwrap(), epoll.event(0)), (1, Token::Wake));
        event.clear();
        assert_eq!(epoll.wait(0).unwrap(), 0);
    }
}
