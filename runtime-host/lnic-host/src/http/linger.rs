//! Closing a connection whose last request was refused before all of its body came.
//!
//! A TCP socket that is closed with unread input sends a reset, and a reset makes the peer's kernel
//! throw away what it has not read yet: the very response that says why. So such a connection is
//! closed in steps (RFC 9112 section 9.6): our side is shut, what still comes is read and thrown
//! away for a while, then the socket is closed.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;

/// Longest wait for the rest of a refused request.
const LIMIT: Duration = Duration::from_secs(2);
/// Bytes read at a time and thrown away.
const CHUNK: usize = 8192;

/// Tells a connection that it is to linger: a request of its was refused with its body unread.
pub(super) type Refused = Arc<AtomicBool>;

/// A connection that lingers at its end if something of it was refused.
pub(super) struct Lingering {
    stream: TcpStream,
    refused: Refused,
    /// Runs from the end of our side on.
    limit: Option<Pin<Box<Sleep>>>,
}

impl Lingering {
    pub(super) fn new(stream: TcpStream) -> (Self, Refused) {
        let refused = Refused::default();
        let lingering = Self {
            stream,
            refused: Arc::clone(&refused),
            limit: None,
        };
        (lingering, refused)
    }

    /// Reads and forgets until the peer's end of the stream.
    fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut chunk = [0; CHUNK];
        loop {
            let mut rest = ReadBuf::new(&mut chunk);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut rest))?;
            if rest.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl AsyncRead for Lingering {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, into)
    }
}

impl AsyncWrite for Lingering {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, from)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        from: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, from)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.limit.is_none() {
            ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
            if !self.refused.load(Relaxed) {
                return Poll::Ready(Ok(()));
            }
        }
        let limit = self
            .limit
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(LIMIT)));
        if limit.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Ok(()));
        }
        self.poll_discard(cx)
    }
}
