//! A receiver for trying things out: verifies each delivery by Standard Webhooks 1.0.0, prints it, answers as told.
//! Listens on loopback only.

mod delivery;

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use posthorn_domain::clock::Clock;
use posthorn_domain::signing::VerifyingKey;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use crate::cli::{ListenArgs, Output};
use crate::client::Error;
use crate::output;
use delivery::{Delivery, Verified};

const MAX_BODY: usize = 64 << 20;
const MAX_CONNECTIONS: usize = 1024;

/// Listens until Ctrl-C. The first line on standard output is `listening {"address":…}`.
pub async fn run(args: &ListenArgs, format: Output) -> Result<ExitCode, Error> {
    let keys = args.secret.iter().map(|secret| secret.parse::<VerifyingKey>());
    let keys = keys.collect::<Result<Vec<_>, _>>().map_err(|error| Error::Usage(format!("--secret: {error}")))?;
    let listener = TcpListener::bind(("127.0.0.1", args.port)).await?;
    output::line(&format!("listening {}", serde_json::json!({"address": listener.local_addr()?.to_string()})))?;
    let receiver = Arc::new(Receiver {
        keys,
        status: args.status,
        delay: args.delay.std(),
        fail_first: args.fail_first,
        seen: AtomicU64::new(0),
        format,
        clock: Clock::system(),
    });
    tokio::select! {
        ended = accept(listener, receiver) => ended,
        _ = tokio::signal::ctrl_c() => Ok(ExitCode::SUCCESS),
    }
}

async fn accept(listener: TcpListener, receiver: Arc<Receiver>) -> Result<ExitCode, Error> {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let place = Arc::clone(&places).acquire_owned().await.expect("the semaphore is never closed");
        let (stream, _) = listener.accept().await?;
        let receiver = Arc::clone(&receiver);
        tokio::spawn(async move {
            receiver.serve(stream).await;
            drop(place);
        });
    }
}

struct Receiver {
    keys: Vec<VerifyingKey>,
    status: Option<u16>,
    delay: Duration,
    fail_first: Option<u64>,
    seen: AtomicU64,
    format: Output,
    clock: Clock,
}

impl Receiver {
    async fn serve(self: Arc<Self>, stream: TcpStream) {
        let service = service_fn(move |request| {
            let receiver = Arc::clone(&self);
            async move { receiver.receive(request).await }
        });
        let builder = auto::Builder::new(TokioExecutor::new());
        if let Err(error) = builder.serve_connection(TokioIo::new(stream), service).await {
            eprintln!("posthorn: a connection broke: {error}");
        }
    }

    async fn receive(&self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, std::io::Error> {
        let (head, body) = request.into_parts();
        let Ok(body) = Limited::new(body, MAX_BODY).collect().await else { return Ok(answer(413)) };
        let body = body.to_bytes();
        let verified = delivery::verify(&self.keys, &head.headers, &body, self.clock.now().unix_seconds());
        let status = self.status(&verified);
        output::line(&Delivery { head: &head, body: &body, verified: &verified, status }.text(self.format))?;
        if !self.delay.is_zero() {
            tokio::time::sleep(self.delay).await;
        }
        Ok(answer(status))
    }

    /// A bad signature is 401 whatever was asked for; it is no delivery and does not count for `--fail-first`.
    fn status(&self, verified: &Verified) -> u16 {
        if matches!(verified, Verified::Bad(_)) {
            return 401;
        }
        let number = self.seen.fetch_add(1, Ordering::Relaxed);
        match self.fail_first {
            Some(first) if number < first => self.status.unwrap_or(503),
            Some(_) => 200,
            None => self.status.unwrap_or(200),
        }
    }
}

fn answer(status: u16) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::from_u16(status).expect("the range is checked with the arguments");
    response
}
