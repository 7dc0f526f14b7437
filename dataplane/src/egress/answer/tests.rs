//! The table says what each answer means; every one of them is also read in two parts, at each place, and byte by byte. Mutated answers
//! are read by hyper's client too, and it has to find the same.

use http::Request;
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use posthorn_domain::time::Time;
use tokio::io::AsyncWriteExt as _;

use super::*;

const LIMIT: usize = 64;

/// Status, body, whether the connection may serve again.
type Read = Result<(u16, Vec<u8>, bool), &'static str>;

fn ok(status: u16, body: &str, keep: bool) -> Read {
    Ok((status, body.as_bytes().to_vec(), keep))
}

/// What is read of these parts, the connection ending after them.
fn read<'a>(parts: impl IntoIterator<Item = &'a [u8]>, limit: usize) -> Read {
    let mut parts = parts.into_iter();
    let (mut answer, mut early) = (Answer::new(limit), Vec::new());
    let name = |fault| match fault {
        Fault::Closed => "closed",
        Fault::Protocol(_) => "protocol",
        _ => "other",
    };
    for part in parts.by_ref() {
        early.extend_from_slice(part);
        let used = answer.advance(&early).map_err(name)?;
        early.drain(..used);
        if answer.is_done() {
            break;
        }
    }
    if !answer.is_done() {
        answer.end().map_err(name)?;
    }
    // What comes later is seen before the connection is used again.
    let keep = answer.keeps() && early.is_empty() && parts.all(<[u8]>::is_empty);
    let reply = answer.into_reply(Time::ZERO, posthorn_domain::clock::Clock::system().instant()).map_err(name)?;
    Ok((reply.status.as_u16(), reply.body_head.to_vec(), keep))
}

fn table() -> Vec<(String, Read)> {
    let cases: &[(&str, Read)] = &[
        // Lengths.
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", ok(200, "ok", true)),
        ("HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", ok(200, "", true)),
        ("\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", ok(200, "ok", true)),
        ("HTTP/1.1 200 OK\ncontent-length: 2\n\nok", ok(200, "ok", true)),
        ("HTTP/1.1 200 OK\r\ncontent-length: 2, 2\r\ncontent-length: 2\r\n\r\nok", ok(200, "ok", true)),
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\no", Err("closed")),
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nok", Err("protocol")),
        ("HTTP/1.1 200 OK\r\ncontent-length: 2, 3\r\n\r\nok", Err("protocol")),
        ("HTTP/1.1 200 OK\r\ncontent-length: +2\r\n\r\nok", Err("protocol")),
        ("HTTP/1.1 200 OK\r\ncontent-length: -2\r\n\r\nok", Err("protocol")),
        ("HTTP/1.1 200 OK\r\ncontent-length:\r\n\r\nok", Err("protocol")),
        ("HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999\r\n\r\nok", Err("protocol")),
        // No body, whatever the head says.
        ("HTTP/1.1 204 No Content\r\n\r\n", ok(204, "", true)),
        ("HTTP/1.1 204 No Content\r\ncontent-length: 5\r\n\r\n", ok(204, "", true)),
        ("HTTP/1.1 304 Not Modified\r\ntransfer-encoding: chunked\r\n\r\n", ok(304, "", true)),
        // Chunks.
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", ok(200, "ok", true)),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, Chunked\r\n\r\n00A \t;x=\"y\"\r\n0123456789\r\n1;\r\na\r\n000\r\n\r\n", {
            ok(200, "0123456789a", true)
        }),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\nx: y\r\nz: w\r\n\r\n", ok(200, "a", true)),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 3\r\n\r\n2\r\nok\r\n0\r\n\r\n", ok(200, "ok", false)),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: x\r\n\r\n2\r\nok\r\n0\r\n\r\n", ok(200, "ok", false)),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n", Err("closed")),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nokk\r\n0\r\n\r\n", Err("protocol")),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nx\r\n", Err("protocol")),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n\r\n", Err("protocol")),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n-1\r\n", Err("protocol")),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\nok\r\n0\r\n\r\n", Err("protocol")),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2;a\nb\r\nok\r\n0\r\n\r\n", Err("protocol")),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n10000000000000000\r\n", Err("protocol")),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\nno trailer\r\n\r\n", Err("protocol")),
        // Until the end, and so never again.
        ("HTTP/1.1 200 OK\r\n\r\nall of it", ok(200, "all of it", false)),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked, gzip\r\n\r\nall", ok(200, "all", false)),
        ("HTTP/1.1 200 OK\r\n\r\n", ok(200, "", false)),
        // Whether the connection lasts.
        ("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok", ok(200, "ok", false)),
        ("HTTP/1.1 200 OK\r\nconnection: x, Close\r\ncontent-length: 2\r\n\r\nok", ok(200, "ok", false)),
        ("HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok", ok(200, "ok", false)),
        ("HTTP/1.0 200 OK\r\nconnection: Keep-Alive\r\ncontent-length: 2\r\n\r\nok", ok(200, "ok", true)),
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 200 OK", ok(200, "ok", false)),
        ("HTTP/1.1 204 No Content\r\n\r\nx", ok(204, "", false)),
        ("HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", Err("protocol")),
        // Interim answers.
        (
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nlink: x\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\na",
            ok(200, "a", true),
        ),
        ("HTTP/1.1 103 Early\r\n\r\n", Err("closed")),
        ("HTTP/1.1 101 Switching\r\n\r\n", Err("protocol")),
        // No HTTP.
        ("", Err("closed")),
        ("HTTP/1.1 20", Err("closed")),
        ("HTTP/1.1 200 OK\r\nx: y\r\n", Err("closed")),
        ("HTTP/1.1 099 Low\r\n\r\n", Err("protocol")),
        ("HTTP/2.0 200 OK\r\n\r\n", Err("protocol")),
        ("HTTP/1.1 799 Odd\r\ncontent-length: 0\r\n\r\n", ok(799, "", true)),
        ("HTTP/1.1 200 OK\r\na b: c\r\n\r\n", Err("protocol")),
        ("HTTP/1.1 200 OK\r\na: b\0\r\n\r\n", Err("protocol")),
        ("SSH-2.0-OpenSSH_9.2\r\n\r\n", Err("protocol")),
        ("\0\0\0\r\n\r\n", Err("protocol")),
        // Limits.
        ("HTTP/1.1 200 OK\r\ncontent-length: 64\r\n\r\n0123456701234567012345670123456701234567012345670123456701234567", {
            ok(200, &"01234567".repeat(8), true)
        }),
    ];
    let mut table: Vec<_> = cases.iter().map(|(text, read)| ((*text).to_owned(), read.clone())).collect();
    let many = |count: usize| format!("HTTP/1.1 200 OK\r\n{}content-length: 0\r\n\r\n", "a: b\r\n".repeat(count));
    table.push((many(99), ok(200, "", true)));
    table.push((many(100), Err("protocol")));
    table
}

#[test]
fn answers_mean_what_the_table_says_in_whatever_pieces_they_come() {
    for (text, wanted) in table() {
        let bytes = text.as_bytes();
        assert_eq!(read([bytes], LIMIT), wanted, "{text:?}");
        assert_eq!(read(bytes.chunks(1), LIMIT), wanted, "byte by byte: {text:?}");
        for at in 0..bytes.len() {
            let (first, second) = bytes.split_at(at);
            assert_eq!(read([first, second], LIMIT), wanted, "at {at}: {text:?}");
        }
    }
}

#[test]
fn what_passes_a_limit_is_cut_or_refused() {
    let long = "HTTP/1.1 200 OK\r\ncontent-length: 65\r\n\r\n".to_owned() + &"x".repeat(65);
    assert_eq!(read([long.as_bytes()], LIMIT), ok(200, &"x".repeat(65), false));
    let kept = read([b"HTTP/1.1 200 OK\r\n\r\n".as_slice(), &[b'x'; 5000]], 10_000).unwrap();
    assert_eq!((kept.1.len(), kept.2), (KEPT, false));
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    for (start, filler) in [
        ("HTTP/1.1 200 OK\r\nx: ", "y".repeat(MAX_HEAD)),
        ("", "HTTP/1.1 103 Early Hints\r\n\r\n".repeat(MAX_HEAD / 20)),
        (chunked, "0".repeat(20_000)),
        (chunked, format!("1;{}", "x".repeat(20_000))),
        (chunked, "1; \r\na\r\n".repeat(20_000)),
        (chunked, format!("0\r\n{}", "x: y\r\n".repeat(20_000))),
    ] {
        let whole = format!("{start}{filler}");
        let read = read(whole.as_bytes().chunks(1000), 10 << 20);
        assert_eq!(read, Err("protocol"), "{}", &whole[..whole.len().min(60)]);
    }
}

#[test]
fn what_will_not_be_read_to_its_end_is_read_as_far_as_it_is_kept() {
    let mut answer = Answer::new(64 << 10);
    let mut advance = |bytes: &[u8]| {
        answer.advance(bytes).unwrap();
        (answer.is_done(), answer.keeps())
    };
    assert_eq!(advance(b"HTTP/1.1 500 Oops\r\ncontent-length: 1073741824\r\n\r\n"), (false, false));
    assert_eq!(advance(&[b'x'; KEPT]), (false, false));
    assert_eq!(advance(b"x"), (true, false));
}

#[test]
fn hyper_reads_mutated_answers_the_same() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (table, mut dice) = (table(), Dice(0x5eed));
    let mut accepted = 0;
    for number in 0..4000 {
        let mut bytes = table[dice.below(table.len())].0.clone().into_bytes();
        for _ in 0..=dice.below(3) {
            mutate(&mut bytes, &mut dice);
        }
        let ours = read(bytes.chunks(1 + dice.below(40)), 1 << 20).map(|(status, body, _)| (status, body)).ok();
        let theirs = runtime.block_on(hyper_reads(&bytes)).filter(|(status, _)| *status != 101);
        assert_eq!(ours, theirs, "{number}: {:?}", String::from_utf8_lossy(&bytes));
        accepted += usize::from(ours.is_some());
    }
    assert!((400..3600).contains(&accepted), "{accepted} of 4000 were answers");
}

/// Status and body as hyper's client finds them; `None` when it finds fault.
async fn hyper_reads(bytes: &[u8]) -> Option<(u16, Vec<u8>)> {
    let (near, mut far) = tokio::io::duplex(1 << 16);
    let (mut sender, connection) = http1::handshake(TokioIo::new(near)).await.unwrap();
    let driver = tokio::spawn(connection);
    let request = Request::post("/").header("host", "a").body(Empty::<Bytes>::new()).unwrap();
    let answering = async {
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            tokio::io::AsyncReadExt::read_buf(&mut far, &mut request).await.unwrap();
        }
        // hyper may have hung up by now.
        drop(far.write_all(bytes).await);
        drop(far.shutdown().await);
    };
    let (response, ()) = tokio::join!(sender.send_request(request), answering);
    let response = response.ok()?;
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.ok()?.to_bytes().to_vec();
    driver.abort();
    Some((status, body))
}

fn mutate(bytes: &mut Vec<u8>, dice: &mut Dice) {
    const TOKENS: [&[u8]; 14] =
        [b"\r\n", b"\n", b"\r", b"0", b"1", b" ", b":", b";", b",", b"\0", b"\xff", b"content-length: 1\r\n", b"chunked", b"HTTP/1.0 "];
    let at = dice.below(bytes.len() + 1);
    let until = (at + 1 + dice.below(8)).min(bytes.len());
    match dice.below(4) {
        0 => drop(bytes.drain(at.min(until)..until)),
        1 => drop(bytes.splice(at..at, TOKENS[dice.below(TOKENS.len())].iter().copied())),
        2 if at < bytes.len() => bytes[at] ^= 1 << dice.below(8),
        _ => {
            let again = bytes[at.min(until)..until].to_vec();
            drop(bytes.splice(at..at, again));
        }
    }
}

/// Splitmix, seeded, so that a failure can be repeated.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % end as u64).unwrap()
    }
}
