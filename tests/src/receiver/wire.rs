//! HTTP/1.1 by hand: reads requests properly, answers as told.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::state::State;
use super::{Behaviour, Received};

const LARGEST_HEAD: usize = 64 * 1024;
const LARGEST_BODY: usize = 16 << 20;
const MOST_CONNECTIONS: usize = 4_096;

pub(super) async fn accept(listener: TcpListener, state: Arc<State>) {
    // Dropped with this task, and the connections with it.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Some(_) = connections.join_next() => {}
            accepted = listener.accept(), if connections.len() < MOST_CONNECTIONS => {
                if let Ok((socket, _)) = accepted {
                    let (number, state) = (state.connected(), Arc::clone(&state));
                    connections.spawn(async move {
                        // A broken connection is the sender's business.
                        drop(serve(socket, number, &state).await);
                        state.disconnected();
                    });
                }
            }
        }
    }
}

/// Serves one connection until it ends.
async fn serve(mut socket: TcpStream, connection: u64, state: &State) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let mut buffer = BytesMut::new();
    while let Some(request) = read_request(&mut socket, &mut buffer, connection).await? {
        let mut behaviour = state.record(&request);
        while let Behaviour::Delay(wait, next) = behaviour {
            sleep(wait).await;
            behaviour = *next;
        }
        // Whoever has the whole answer may send the next request before this goes on.
        let at_once = is_at_once(&behaviour);
        if at_once {
            state.ends(&request);
        }
        let answered = answer(&mut socket, behaviour, state).await;
        if !at_once {
            state.ends(&request);
        }
        state.answered(&request);
        match answered? {
            Then::KeepOpen => {}
            Then::Close => return socket.shutdown().await,
            Then::Reset => return socket.set_zero_linger(),
        }
    }
    Ok(())
}

enum Then {
    KeepOpen,
    Close,
    Reset,
}

/// Whether the answer goes out in one write.
fn is_at_once(behaviour: &Behaviour) -> bool {
    use Behaviour::{Body, EndlessBody, EndlessHeaders, Hang, Interim, SlowBody, SlowHeaders};
    !matches!(behaviour, Hang | SlowHeaders(_) | SlowBody(_) | Body(_) | EndlessBody | EndlessHeaders | Interim(_))
}

async fn answer(socket: &mut TcpStream, behaviour: Behaviour, state: &State) -> io::Result<Then> {
    match behaviour {
        Behaviour::Hang => {
            std::future::pending::<()>().await;
        }
        Behaviour::Reset => return Ok(Then::Reset),
        Behaviour::Close => return Ok(Then::Close),
        Behaviour::Garbage => {
            socket.write_all(b"\x00\xff\x16\x03 this is no HTTP\r\n\r\n").await?;
            return Ok(Then::Close);
        }
        Behaviour::SlowHeaders(pause) => drip(socket, &plain(200, &[], ""), pause).await?,
        Behaviour::SlowBody(pause) => {
            socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n").await?;
            drip(socket, &[b'.'; 1000], pause).await?;
        }
        Behaviour::Body(bytes) => {
            socket.write_all(format!("HTTP/1.1 200 OK\r\ncontent-length: {bytes}\r\n\r\n").as_bytes()).await?;
            let mut left = bytes;
            while left > 0 {
                let piece = left.min(16 * 1024) as usize;
                socket.write_all(&[b'.'; 16 * 1024][..piece]).await?;
                state.sent(piece);
                left -= piece as u64;
            }
        }
        Behaviour::EndlessBody => {
            socket.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n").await?;
            endless(socket, &[b'.'; 16 * 1024], state).await?;
        }
        Behaviour::EndlessHeaders => {
            socket.write_all(b"HTTP/1.1 200 OK\r\n").await?;
            endless(socket, b"x-more: and more and more\r\n", state).await?;
        }
        Behaviour::Interim(count) => {
            for _ in 0..count {
                socket.write_all(b"HTTP/1.1 103 Early Hints\r\n\r\n").await?;
            }
            socket.write_all(&plain(200, &[], "")).await?;
        }
        Behaviour::OkThenClose => {
            socket.write_all(&plain(200, &[("connection".into(), "close".into())], "")).await?;
            return Ok(Then::Close);
        }
        simple => socket.write_all(&simple_answer(simple)).await?,
    }
    Ok(Then::KeepOpen)
}

fn simple_answer(behaviour: Behaviour) -> Vec<u8> {
    match behaviour {
        Behaviour::Status(status) => plain(status, &[], ""),
        Behaviour::Answer { status, headers, body } => plain(status, &headers, &body),
        Behaviour::Redirect(to) => plain(302, &[("location".into(), to)], ""),
        Behaviour::RetryAfter { status, value } => plain(status, &[("retry-after".into(), value)], ""),
        Behaviour::Gone => plain(410, &[], ""),
        // Counts were resolved when the request was recorded, the rest is answered above.
        _ => plain(200, &[], ""),
    }
}

fn plain(status: u16, headers: &[(String, String)], body: &str) -> Vec<u8> {
    let mut answer = format!("HTTP/1.1 {status} As-Told\r\n");
    for (name, value) in headers {
        answer.push_str(&format!("{name}: {value}\r\n"));
    }
    if status == 204 || status == 304 {
        answer.push_str("\r\n");
    } else {
        answer.push_str(&format!("content-length: {}\r\n\r\n{body}", body.len()));
    }
    answer.into_bytes()
}

async fn drip(socket: &mut TcpStream, bytes: &[u8], pause: Duration) -> io::Result<()> {
    for byte in bytes {
        socket.write_all(&[*byte]).await?;
        sleep(pause).await;
    }
    Ok(())
}

async fn endless(socket: &mut TcpStream, bytes: &[u8], state: &State) -> io::Result<()> {
    // Ends when the other side closes: the write fails.
    loop {
        socket.write_all(bytes).await?;
        state.sent(bytes.len());
    }
}

async fn read_request(socket: &mut TcpStream, buffer: &mut BytesMut, connection: u64) -> io::Result<Option<Received>> {
    let end = loop {
        if let Some(end) = find(buffer, b"\r\n\r\n") {
            break end;
        }
        if buffer.len() > LARGEST_HEAD {
            return Err(malformed("head too large"));
        }
        if socket.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    };
    let head = buffer.split_to(end + 4);
    let text = std::str::from_utf8(&head[..end]).map_err(|_| malformed("head is not text"))?;
    let mut lines = text.split("\r\n");
    let mut words = lines.next().unwrap_or_default().split(' ');
    let (Some(method), Some(target)) = (words.next(), words.next()) else { return Err(malformed("request line")) };
    let headers = parse_headers(lines)?;
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let (method, path, query) = (method.to_owned(), path.to_owned(), query.to_owned());
    let body = read_body(socket, buffer, &headers).await?;
    Ok(Some(Received { method, path, query, headers, body, at: Instant::now(), connection }))
}

fn parse_headers<'a>(lines: impl Iterator<Item = &'a str>) -> io::Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    for line in lines {
        let (name, value) = line.split_once(':').ok_or_else(|| malformed("header line"))?;
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| malformed("header name"))?;
        headers.append(name, HeaderValue::from_str(value.trim()).map_err(|_| malformed("header value"))?);
    }
    Ok(headers)
}

async fn read_body(socket: &mut TcpStream, buffer: &mut BytesMut, headers: &HeaderMap) -> io::Result<Bytes> {
    let text = |name| headers.get(name).and_then(|v: &HeaderValue| v.to_str().ok());
    if text("transfer-encoding").is_some_and(|v| v.eq_ignore_ascii_case("chunked")) {
        return read_chunks(socket, buffer).await;
    }
    let length = text("content-length").map_or(Ok(0), str::parse::<usize>).map_err(|_| malformed("content-length"))?;
    take(socket, buffer, length).await
}

async fn read_chunks(socket: &mut TcpStream, buffer: &mut BytesMut) -> io::Result<Bytes> {
    let mut body = BytesMut::new();
    loop {
        let end = loop {
            if let Some(end) = find(buffer, b"\r\n") {
                break end;
            }
            fill(socket, buffer).await?;
        };
        let size = std::str::from_utf8(&buffer[..end]).ok().and_then(|s| usize::from_str_radix(s.split(';').next()?.trim(), 16).ok());
        let size = size.filter(|s| body.len() + s <= LARGEST_BODY).ok_or_else(|| malformed("chunk size"))?;
        buffer.advance(end + 2);
        body.extend_from_slice(&take(socket, buffer, size).await?);
        take(socket, buffer, 2).await?;
        if size == 0 {
            return Ok(body.freeze());
        }
    }
}

async fn take(socket: &mut TcpStream, buffer: &mut BytesMut, length: usize) -> io::Result<Bytes> {
    if length > LARGEST_BODY {
        return Err(malformed("body too large"));
    }
    while buffer.len() < length {
        fill(socket, buffer).await?;
    }
    Ok(buffer.split_to(length).freeze())
}

async fn fill(socket: &mut TcpStream, buffer: &mut BytesMut) -> io::Result<()> {
    if socket.read_buf(buffer).await? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(())
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|w| w == needle)
}

fn malformed(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
