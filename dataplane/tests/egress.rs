//! The delivery engine's HTTP client against real sockets: every way in which an endpoint can answer, or not.
#![expect(clippy::unwrap_used, reason = "a test")]

#[path = "egress/server.rs"]
mod server;
#[path = "egress/sharing.rs"]
mod sharing;
#[path = "egress/tls.rs"]
mod tls;

use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use posthorn_dataplane::delivery::outcome::{Verdict, classify};
use posthorn_dataplane::egress::{
    Fault, Head, Phase, Pieces, Pool, PoolConfig, Reply, Resolver, ResolverConfig, SendError, Target, client_config,
};
use posthorn_domain::clock::Clock;
use posthorn_domain::guard::{Guard, TargetUrl};
use posthorn_domain::time::Time;
use server::Server;

const SOON: Duration = Duration::from_millis(300);
const AMPLE: Duration = Duration::from_secs(20);
const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

fn loopback() -> Arc<Guard> {
    Arc::new(Guard::new(vec!["127.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()], None))
}

fn pool_with(config: PoolConfig, resolver: Resolver, guard: Arc<Guard>) -> Rc<Pool> {
    Pool::new(config, resolver, guard, &client_config(&tls::ROOTS.0, None).unwrap(), Clock::system())
}

fn pool() -> Rc<Pool> {
    pool_with(PoolConfig::default(), Resolver::given(|_| vec![[127, 0, 0, 1].into()]), loopback())
}

fn target(url: &str, destination: &str) -> Target {
    Target::new(&TargetUrl::parse(url).unwrap(), &[], destination, None).unwrap()
}

fn pieces() -> Pieces {
    Pieces::from_iter([Bytes::from_static(b"{\"a\":"), Bytes::from_static(b"1"), Bytes::from_static(b"}")])
}

async fn post(pool: &Pool, url: &str, deadline: Duration) -> Result<Reply, SendError> {
    post_for(pool, url, "d1", deadline).await
}

async fn post_for(pool: &Pool, url: &str, destination: &str, deadline: Duration) -> Result<Reply, SendError> {
    let target = target(url, destination);
    let mut head = Head::new(&target);
    head.push("content-type", "application/json");
    pool.send(&target, head, pieces(), deadline, || ()).await
}

/// Runs on one thread, as a delivery shard does.
fn local(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, test);
}

async fn answered(bytes: &'static [u8]) -> Result<Reply, SendError> {
    let server = Server::answers(bytes).await;
    post(&pool(), &server.url(), AMPLE).await
}

fn fault(result: Result<Reply, SendError>) -> Fault {
    result.expect_err("a failure").fault
}

#[test]
fn statuses_come_back_as_they_are() {
    local(async {
        let reply = answered(OK).await.unwrap();
        assert_eq!((reply.status.as_u16(), &reply.body_head[..], reply.body_truncated), (200, &b"ok"[..], false));
        assert_eq!(answered(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap().status, 204);
        let gone = answered(b"HTTP/1.1 410 Gone\r\ncontent-length: 0\r\n\r\n").await;
        assert_eq!(classify(&gone), Verdict::Gone);
        let early =
            answered(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
        assert_eq!(early.unwrap().status, 200);
    });
}

#[test]
fn redirects_are_not_followed() {
    local(async {
        let other = Server::answers(OK).await;
        let location = format!("HTTP/1.1 301 Moved\r\nlocation: {}\r\ncontent-length: 0\r\n\r\n", other.url());
        let server = Server::answers(location.into_bytes()).await;
        assert_eq!(post(&pool(), &server.url(), AMPLE).await.unwrap().status, 301);
        assert_eq!(other.connections(), 0);
    });
}

#[test]
fn retry_after_is_read_in_both_forms() {
    local(async {
        let seconds = answered(b"HTTP/1.1 429 Slow Down\r\nretry-after: 7\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        assert_eq!(seconds.retry_after, Some(Duration::from_secs(7)));
        let date = b"HTTP/1.1 429 Slow Down\r\ndate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
            retry-after: Sun, 06 Nov 1994 08:49:47 GMT\r\ncontent-length: 0\r\n\r\n";
        assert_eq!(answered(date).await.unwrap().retry_after, Some(Duration::from_secs(10)));
    });
}

#[test]
fn slow_and_silent_endpoints_end_at_the_deadline() {
    local(async {
        for (bytes, phase) in [
            (&b""[..], Phase::Answer),
            (b"HTTP/1.1 200 OK\r\nx-slow", Phase::Answer),
            (b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nslow", Phase::Body),
        ] {
            let server = Server::answers(bytes).await;
            let error = post(&pool(), &server.url(), SOON).await.unwrap_err();
            assert!(matches!(error.fault, Fault::Timeout(at) if at == phase), "{error:?}");
            assert!(error.may_have_been_sent);
        }
    });
}

#[test]
fn an_endless_body_is_cut_and_its_connection_not_used_again() {
    local(async {
        let server = Server::endless(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", b"400\r\n", 1024).await;
        let pool = pool();
        for sent in 1..=2 {
            let reply = post(&pool, &server.url(), AMPLE).await.unwrap();
            assert!(reply.body_truncated && reply.body_head.len() == 1024, "{reply:?}");
            assert_eq!(server.connections(), sent);
        }
    });
}

#[test]
fn broken_answers_are_told_apart() {
    local(async {
        assert!(matches!(fault(answered(b"SSH-2.0-OpenSSH_9.2\r\n\r\n").await), Fault::Protocol(_)));
        for bytes in [&b""[..], b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf"] {
            for reset in [false, true] {
                let server = Server::closes(bytes, reset).await;
                let error = post(&pool(), &server.url(), AMPLE).await.unwrap_err();
                assert!(matches!(error.fault, Fault::Closed) && error.may_have_been_sent, "{error:?}");
            }
        }
        let port = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
        let refused = fault(post(&pool(), &format!("http://127.0.0.1:{port}/"), AMPLE).await);
        assert!(matches!(refused, Fault::Connect { kind: std::io::ErrorKind::ConnectionRefused, .. }));
    });
}

#[test]
fn connections_are_kept_and_capped() {
    local(async {
        let server = Server::answers(OK).await;
        let kept = pool();
        for _ in 0..5 {
            post(&kept, &server.url(), AMPLE).await.unwrap();
        }
        assert_eq!(server.connections(), 1);

        let server = Server::answers(OK).await;
        let config = PoolConfig { max_connections_per_endpoint: 2, ..PoolConfig::default() };
        let capped = pool_with(config, Resolver::given(|_| vec![]), loopback());
        let url = server.url();
        let all = futures_util::future::join_all((0..20).map(|_| post(&capped, &url, AMPLE))).await;
        assert!(all.iter().all(Result::is_ok));
        assert!(server.connections() <= 2);
    });
}

#[test]
fn a_full_queue_refuses() {
    local(async {
        let server = Server::answers(b"").await;
        let config = PoolConfig { max_connections_per_endpoint: 1, max_waiting_per_endpoint: 1, ..PoolConfig::default() };
        let pool = pool_with(config, Resolver::given(|_| vec![]), loopback());
        let url = server.url();
        let all = futures_util::future::join_all((0..3).map(|_| post(&pool, &url, SOON))).await;
        let full = all.iter().filter(|result| matches!(result, Err(SendError { fault: Fault::Full, may_have_been_sent: false })));
        assert_eq!(full.count(), 1);
    });
}

#[test]
fn a_kept_connection_that_died_is_replaced() {
    local(async {
        let (server, other) = (Server::once_each(OK).await, Server::answers(OK).await);
        let pool = pool();
        for _ in 0..3 {
            post(&pool, &server.url(), AMPLE).await.unwrap();
            server.closed().await;
            // An exchange elsewhere has the runtime look at its sockets, and so see that this one was closed.
            post(&pool, &other.url(), AMPLE).await.unwrap();
        }
        assert_eq!(server.connections(), 3);
    });
}

#[test]
fn an_answer_that_comes_before_the_request_was_read_counts() {
    local(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let serving = tokio::spawn(async move {
            let mut kept = Vec::new();
            for answer in [&b"HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\n\r\nno"[..], b""] {
                let (mut stream, _) = listener.accept().await.unwrap();
                tokio::io::AsyncWriteExt::write_all(&mut stream, answer).await.unwrap();
                kept.push(stream);
            }
            std::future::pending::<()>().await;
        });
        let (pool, target) = (pool(), target(&url, "d1"));
        // More than sockets hold, so that nobody's reading it shows.
        let body = || Pieces::from_iter([Bytes::from(vec![b'x'; 32 << 20])]);
        let reply = pool.send(&target, Head::new(&target), body(), AMPLE, || ()).await.unwrap();
        assert_eq!((reply.status.as_u16(), &reply.body_head[..]), (413, &b"no"[..]));
        let error = pool.send(&target, Head::new(&target), body(), SOON, || ()).await.unwrap_err();
        assert!(matches!(error.fault, Fault::Timeout(Phase::Write)) && error.may_have_been_sent, "{error:?}");
        serving.abort();
    });
}

#[test]
fn a_name_that_turns_to_a_guarded_address_is_refused() {
    local(async {
        let server = Server::answers(OK).await;
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        let turning = Resolver::given(move |_| match count.fetch_add(1, Ordering::SeqCst) {
            0 => vec![[127, 0, 0, 1].into()],
            _ => vec!["169.254.169.254".parse::<IpAddr>().unwrap(), "::ffff:10.0.0.1".parse().unwrap()],
        });
        let config = PoolConfig { idle_timeout: Duration::ZERO, ..PoolConfig::default() };
        let pool = pool_with(config, turning, loopback());
        let url = format!("http://hook.example:{}/", server.port());
        assert_eq!(post(&pool, &url, AMPLE).await.unwrap().status, 200);
        let refused = post(&pool, &url, AMPLE).await;
        assert_eq!(classify(&refused), Verdict::Forbidden);
        assert_eq!((server.connections(), asked.load(Ordering::SeqCst)), (1, 2));
    });
}

#[test]
fn a_new_guard_holds_for_kept_connections() {
    local(async {
        let server = Server::answers(OK).await;
        let pool = pool();
        post(&pool, &server.url(), AMPLE).await.unwrap();
        pool.set_guard(Arc::new(Guard::default()));
        assert_eq!(classify(&post(&pool, &server.url(), AMPLE).await), Verdict::Forbidden);
    });
}

#[test]
fn every_spelling_of_a_guarded_address_is_refused_at_connect() {
    local(async {
        let pool = pool_with(PoolConfig::default(), Resolver::system(ResolverConfig::default()).unwrap(), Arc::new(Guard::default()));
        for host in [
            "127.0.0.1",
            "127.1",
            "2130706433",
            "0x7f.1",
            "0177.0.0.1",
            "127.0.0.1.",
            "１２７.0.0.1",
            "0",
            "10.0.0.1",
            "192.168.1.1",
            "172.16.0.1",
            "169.254.169.254",
            "0xa9fea9fe",
            "2852039166",
            "100.64.0.1",
            "192.0.0.1",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "[::1]",
            "[::]",
            "[::ffff:7f00:1]",
            "[::ffff:127.0.0.1]",
            "[::7f00:1]",
            "[64:ff9b::7f00:1]",
            "[64:ff9b:1::1]",
            "[2002:7f00:1::]",
            "[2001:0:7f00:1::]",
            "[fd00::1]",
            "[fe80::1]",
            "[fec0::1]",
            "[ff02::1]",
            "localhost",
        ] {
            let result = post(&pool, &format!("http://{host}:9/"), AMPLE).await;
            assert_eq!(classify(&result), Verdict::Forbidden, "{host}: {result:?}");
        }
    });
}

#[test]
fn old_connections_are_swept() {
    local(async {
        let server = Server::answers(OK).await;
        let hours = Arc::new(AtomicUsize::new(0));
        let now = Arc::clone(&hours);
        let clock = Clock::given(move || Time::from_millis(1_000_000_000_000 + 3_600_000 * now.load(Ordering::SeqCst) as u64));
        let tls = client_config(&tls::ROOTS.0, None).unwrap();
        let pool = Pool::new(PoolConfig::default(), Resolver::given(|_| vec![]), loopback(), &tls, clock);
        for sent in 1..=3 {
            post(&pool, &server.url(), AMPLE).await.unwrap();
            assert_eq!(server.connections(), sent);
            hours.fetch_add(1, Ordering::SeqCst);
            pool.sweep();
        }
    });
}

#[test]
fn a_dead_address_is_passed_over() {
    local(async {
        let server = Server::answers(OK).await;
        let both = Resolver::given(|_| vec!["127.0.0.2".parse().unwrap(), "127.0.0.1".parse().unwrap()]);
        let pool = pool_with(PoolConfig::default(), both, loopback());
        assert_eq!(post(&pool, &format!("http://hook.example:{}/", server.port()), AMPLE).await.unwrap().status, 200);
    });
}
