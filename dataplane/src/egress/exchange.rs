//! One exchange on a connection: the request out, the answer in, the connection back when it can serve again.

use std::cell::Cell;
use std::rc::Rc;

use super::answer::Answer;
use super::body::Pieces;
use super::endpoint::{Endpoint, Lease};
use super::error::{Phase, SendError};
use super::h1::Broken;
use super::head::Head;
use super::pool::Pool;
use super::reply::Reply;
use super::target::Target;

/// What is sent.
pub(super) struct Outgoing<'a> {
    pub(super) target: &'a Target,
    /// Without its end.
    pub(super) head: &'a mut Head,
    pub(super) body: &'a Pieces,
}

/// Sends once; a second time, on a new connection, only when a kept one had died and took nothing of the request.
pub(super) async fn run(
    pool: &Pool,
    endpoint: &Rc<Endpoint>,
    request: Outgoing<'_>,
    connected: impl FnOnce(),
    phase: &Rc<Cell<Phase>>,
) -> Result<Reply, SendError> {
    let mut connected = Some(connected);
    request.head.finish(request.body.iter().map(bytes::Bytes::len).sum());
    let mut fresh = false;
    loop {
        let lease = endpoint.lease(pool, request.target, phase, fresh).await?;
        if let Some(connected) = connected.take() {
            connected();
        }
        let reused = lease.is_reused();
        match once(pool, &request, lease, phase).await {
            Err(Broken::Unsent) if reused && !fresh => fresh = true,
            result => return Ok(result?),
        }
    }
}

async fn once(pool: &Pool, request: &Outgoing<'_>, lease: Lease<'_>, phase: &Rc<Cell<Phase>>) -> Result<Reply, Broken> {
    let began = pool.clock.instant();
    match lease {
        Lease::H1 { mut connection, permit, .. } => {
            let mut answer = Answer::new(pool.config.max_response_bytes);
            match connection.exchange(request.head.bytes(), request.body, &mut answer, &pool.scratch, phase).await {
                Ok(lasts) => permit.answered(Some(connection).filter(|_| lasts), pool),
                Err(Broken::Unsent) => {
                    permit.excuse();
                    return Err(Broken::Unsent);
                }
                Err(broken) => return Err(broken),
            }
            answer.into_reply(pool.clock.now(), began).map_err(Broken::Sent)
        }
        Lease::H2 { connection, _permit, .. } => {
            Box::pin(connection.exchange(pool, request.target, request.head, request.body, phase, began)).await
        }
    }
}
