//! One exchange on a connection: the request out, the answer in, the connection back when it can serve again.

use std::cell::Cell;
use std::rc::Rc;

use http::{HeaderMap, Method, Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;

use super::body::{Pieces, PiecesBody};
use super::endpoint::{Endpoint, Lease};
use super::error::{Fault, Phase, SendError};
use super::pool::Pool;
use super::reply::{self, Reply};
use super::target::Target;

/// Sends once; a second time, on a new connection, only when a kept one had died and gave the request back unsent.
pub(super) async fn run(
    pool: &Pool,
    endpoint: &Endpoint,
    target: &Target,
    headers: HeaderMap,
    body: Pieces,
    phase: &Rc<Cell<Phase>>,
) -> Result<Reply, SendError> {
    let mut request = Request::new(PiecesBody::new(body, Rc::clone(phase)));
    *request.method_mut() = Method::POST;
    *request.headers_mut() = headers;
    let lease = endpoint.lease(pool, target, phase, false).await?;
    let request = match once(pool, endpoint, target, lease, request, phase).await {
        Ok(reply) => return Ok(reply),
        Err(Failed::Final(error)) => return Err(error),
        Err(Failed::Unsent(request)) => *request,
    };
    let lease = endpoint.lease(pool, target, phase, true).await?;
    match once(pool, endpoint, target, lease, request, phase).await {
        Ok(reply) => Ok(reply),
        Err(Failed::Final(error)) => Err(error),
        Err(Failed::Unsent(_)) => Err(SendError::unsent(Fault::Closed)),
    }
}

enum Failed {
    Final(SendError),
    Unsent(Box<Request<PiecesBody>>),
}

async fn once(
    pool: &Pool,
    endpoint: &Endpoint,
    target: &Target,
    lease: Lease<'_>,
    mut request: Request<PiecesBody>,
    phase: &Cell<Phase>,
) -> Result<Reply, Failed> {
    let empty = http_body::Body::is_end_stream(request.body());
    *request.uri_mut() = target.fit(request.headers_mut(), matches!(lease, Lease::H2 { .. }));
    phase.set(if empty { Phase::Answer } else { Phase::Write });
    match lease {
        Lease::H1 { mut connection, reused, _permit } => {
            let sent = connection.sender.try_send_request(request).await;
            let reply = answer(pool, sent, reused, phase).await?;
            if !reply.body_truncated {
                settle(&connection.sender).await;
                endpoint.give_back(connection, pool);
            }
            Ok(reply)
        }
        Lease::H2 { connection, reused, _permit } => {
            let sent = connection.sender.clone().try_send_request(request).await;
            answer(pool, sent, reused, phase).await
        }
    }
}

async fn answer(
    pool: &Pool,
    sent: Result<Response<Incoming>, TrySendError<Request<PiecesBody>>>,
    reused: bool,
    phase: &Cell<Phase>,
) -> Result<Reply, Failed> {
    let response = sent.map_err(|mut error| match error.take_message() {
        Some(request) if reused => Failed::Unsent(Box::new(request)),
        Some(_) => Failed::Final(SendError::unsent(Fault::of_hyper(error.error()))),
        None => Failed::Final(SendError::sent(Fault::of_hyper(error.error()))),
    })?;
    phase.set(Phase::Body);
    reply::read(response, pool.config.max_response_bytes, pool.clock.now()).await.map_err(Failed::Final)
}

/// The task that drives the connection may need one turn to see that the answer is complete. A connection that is not
/// ready after it (the endpoint answered before it had read all) is not worth waiting for.
async fn settle(sender: &hyper::client::conn::http1::SendRequest<PiecesBody>) {
    if !sender.is_ready() && !sender.is_closed() {
        tokio::task::yield_now().await;
    }
}
