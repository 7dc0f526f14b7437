//! The way out of a shard: its pool of connections, or in a simulation whatever stands in for the network.

use std::rc::Rc;
use std::time::Duration;

use futures_util::future::LocalBoxFuture;

use super::body::Pieces;
use super::error::SendError;
use super::head::Head;
use super::pool::Pool;
use super::reply::Reply;
use super::target::Target;

/// Carries requests to endpoints.
pub trait Transport {
    /// As [`Pool::send`].
    fn send<'a>(&'a self, target: &'a Target, head: Head, body: Pieces, deadline: Duration)
    -> LocalBoxFuture<'a, Result<Reply, SendError>>;
}

/// The way.
pub enum Sender {
    /// Over connections.
    Pool(Rc<Pool>),
    /// As this one does it.
    Given(Rc<dyn Transport>),
}

impl Sender {
    /// As [`Pool::head`].
    pub fn head(&self, base: &Head) -> Head {
        match self {
            Self::Pool(pool) => pool.head(base),
            Self::Given(_) => base.clone(),
        }
    }

    /// As [`Pool::send`].
    ///
    /// # Errors
    /// As [`Pool::send`].
    pub async fn send(
        &self,
        target: &Target,
        head: Head,
        body: Pieces,
        deadline: Duration,
        connected: impl FnOnce(),
    ) -> Result<Reply, SendError> {
        match self {
            Self::Pool(pool) => pool.send(target, head, body, deadline, connected).await,
            Self::Given(network) => {
                connected();
                network.send(target, head, body, deadline).await
            }
        }
    }
}
