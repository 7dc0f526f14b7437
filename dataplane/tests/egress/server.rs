//! An endpoint that answers by script, byte by byte.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

type Script = Cow<'static, [u8]>;

#[derive(Clone)]
enum After {
    KeepOpen,
    Close { reset: bool },
    Repeat { head: &'static [u8], bytes: usize },
}

pub(crate) struct Server {
    port: u16,
    connections: Arc<AtomicUsize>,
    closed: Arc<Notify>,
}

impl Server {
    /// Writes `bytes` for each request and leaves the connection open. Requests to `/hang` get no answer.
    pub(crate) async fn answers(bytes: impl Into<Script>) -> Self {
        Self::start(bytes.into(), After::KeepOpen).await
    }

    /// Writes `bytes`, then closes (or resets) the connection.
    pub(crate) async fn closes(bytes: &'static [u8], reset: bool) -> Self {
        Self::start(bytes.into(), After::Close { reset }).await
    }

    /// As [`Server::closes`]; [`Server::closed`] tells when.
    pub(crate) async fn once_each(bytes: &'static [u8]) -> Self {
        Self::closes(bytes, false).await
    }

    /// Writes `bytes`, then chunks without end.
    pub(crate) async fn endless(bytes: &'static [u8], head: &'static [u8], size: usize) -> Self {
        Self::start(bytes.into(), After::Repeat { head, bytes: size }).await
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/hook", self.port)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// Waits until a connection was closed by the script.
    pub(crate) async fn closed(&self) {
        self.closed.notified().await;
    }

    async fn start(script: Script, after: After) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (connections, closed) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
        let server = Self { port: listener.local_addr().unwrap().port(), connections: connections.clone(), closed: closed.clone() };
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                connections.fetch_add(1, Ordering::SeqCst);
                let (script, after, closed) = (script.clone(), after.clone(), closed.clone());
                tokio::spawn(async move { serve(stream, &script, after, &closed).await });
            }
        });
        server
    }
}

async fn serve(mut stream: TcpStream, script: &[u8], after: After, closed: &Notify) -> Option<()> {
    loop {
        if request(&mut stream).await?.starts_with("post /hang") {
            std::future::pending::<()>().await;
        }
        stream.write_all(script).await.ok()?;
        match after {
            After::KeepOpen => {}
            After::Close { reset } => {
                if reset {
                    socket2::SockRef::from(&stream).set_linger(Some(std::time::Duration::ZERO)).unwrap();
                }
                drop(stream);
                closed.notify_one();
                return None;
            }
            After::Repeat { head, bytes } => loop {
                let chunk = [head, &vec![b'x'; bytes], b"\r\n"].concat();
                stream.write_all(&chunk).await.ok()?;
            },
        }
    }
}

/// Reads one request, which ends in the body that all tests send, in lower case.
async fn request(stream: &mut TcpStream) -> Option<String> {
    let mut seen = Vec::new();
    while !seen.ends_with(b"\r\n\r\n{\"a\":1}") {
        if stream.read_buf(&mut seen).await.ok()? == 0 {
            return None;
        }
    }
    let text = String::from_utf8(seen).unwrap().to_ascii_lowercase();
    assert!(text.starts_with("post /") && text.contains("\r\ncontent-length: 7\r\n") && text.contains("\r\nhost: "), "{text}");
    Some(text)
}
