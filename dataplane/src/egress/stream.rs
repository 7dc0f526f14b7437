//! A connection's bytes, with or without TLS.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

/// An open connection.
pub(super) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    /// Writes as much as goes out at once.
    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        match self {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_write_vectored(cx, slices),
        }
    }

    /// Sends what TLS holds back.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(_) => Poll::Ready(Ok(())),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_flush(cx),
        }
    }

    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_read(cx, buf),
        }
    }

    /// Whether bytes that were accepted are only the kernel's, so that a refused write means that nothing went out.
    pub(super) fn is_plain(&self) -> bool {
        matches!(self, Self::Plain(_))
    }

    /// Whether the other side has neither closed nor said anything. What the runtime has seen costs nothing to ask; `thorough` asks
    /// the kernel too.
    pub(super) fn is_quiet(&mut self, thorough: bool) -> bool {
        let mut byte = [0; 1];
        let seen = self.poll_read(&mut Context::from_waker(Waker::noop()), &mut ReadBuf::new(&mut byte));
        match self {
            Self::Plain(stream) if thorough && seen.is_pending() => {
                let peeked = SockRef::from(&*stream).peek(&mut [MaybeUninit::uninit(); 1]);
                peeked.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
            }
            _ => seen.is_pending(),
        }
    }
}
