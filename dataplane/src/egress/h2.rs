//! One exchange over HTTP/2, which hyper speaks: many share a connection, so a task of its own drives that.

use std::cell::Cell;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Instant;

use http::{Method, Request, Response};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use posthorn_domain::time::Time;
use tokio::task::AbortHandle;

use super::allowed_rate::AllowedRate;
use super::body::{Pieces, PiecesBody};
use super::error::{Fault, Phase};
use super::h1::Broken;
use super::head::Head;
use super::pool::Pool;
use super::reply::{KEPT, Reply};
use super::retry_after::retry_after;
use super::target::Target;

/// An open connection that speaks HTTP/2. Dropping the last owner of it closes it.
pub(super) struct H2 {
    pub(super) sender: SendRequest<PiecesBody>,
    pub(super) peer: IpAddr,
    pub(super) since: Time,
    pub(super) _driver: Driver,
}

/// Ends the task that drives a connection, so that a peer that reads nothing cannot keep it.
pub(super) struct Driver(pub(super) AbortHandle);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl H2 {
    /// Sends and reads the answer.
    pub(super) async fn exchange(
        &self,
        pool: &Pool,
        target: &Target,
        head: &Head,
        body: &Pieces,
        phase: &Rc<Cell<Phase>>,
        began: Instant,
    ) -> Result<Reply, Broken> {
        let mut request = Request::new(PiecesBody::new(body.clone(), Rc::clone(phase)));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = target.absolute.clone();
        *request.headers_mut() = head.to_map();
        phase.set(if http_body::Body::is_end_stream(request.body()) { Phase::Answer } else { Phase::Write });
        let response = self.sender.clone().try_send_request(request).await.map_err(|mut error| match error.take_message() {
            Some(_) => Broken::Unsent,
            None => Broken::Sent(Fault::of_hyper(error.error())),
        })?;
        phase.set(Phase::Body);
        read(response, pool.config.max_response_bytes, pool.clock.now(), began).await.map_err(Broken::Sent)
    }
}

/// Reads the body to its end or to `limit` bytes.
async fn read(response: Response<Incoming>, limit: usize, now: Time, began: Instant) -> Result<Reply, Fault> {
    let (head, mut body) = response.into_parts();
    if head.status.is_informational() {
        return Err(Fault::Protocol("an interim status as the last one".into()));
    }
    let (mut kept, mut seen, mut body_truncated) = (Vec::new(), 0usize, false);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Fault::of_hyper(&error))?;
        let Some(data) = frame.data_ref() else { continue };
        kept.extend_from_slice(&data[..data.len().min(KEPT.saturating_sub(kept.len()))]);
        seen = seen.saturating_add(data.len());
        if seen > limit {
            body_truncated = true;
            break;
        }
    }
    let value = |name| head.headers.get(name).map(http::HeaderValue::as_bytes);
    let wait = value(http::header::RETRY_AFTER).and_then(|wait| retry_after(wait, value(http::header::DATE), now));
    let allowed_rate = head.headers.get("webhook-allowed-rate").and_then(|rate| AllowedRate::read(rate.as_bytes()));
    Ok(Reply { status: head.status, retry_after: wait, allowed_rate, began, body_head: kept.into(), body_truncated })
}
