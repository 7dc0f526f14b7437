//! Answers the control plane's questions. Provisional: where a subscription stands, and tests; the rest is on its way.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use posthorn_domain::clock::Clock;
use posthorn_domain::node::Question;
use posthorn_domain::problem::{Code, Problem};
use posthorn_storage::attempts::AttemptLog;
use posthorn_storage::state::{DeadLetter, State};
use serde_json::Value;

use crate::delivery::{Handle, WriterHandle};
use crate::route::Live;

/// Takes an event that was refused in again.
pub trait Reingest: Send + Sync {
    /// Resolves once it is kept; the problem says why it is refused again.
    fn reingest<'a>(&'a self, letter: &'a DeadLetter) -> BoxFuture<'a, Result<(), Problem>>;
}

/// What answers are made of.
#[expect(missing_docs, reason = "provisional")]
pub struct Answers {
    pub live: Live,
    pub state: Arc<dyn State>,
    pub writer: WriterHandle,
    pub attempts: Arc<AttemptLog>,
    pub delivery: Handle,
    pub blocking: tokio::runtime::Handle,
    pub clock: Clock,
    pub reingest: Arc<dyn Reingest>,
}

impl Answers {
    /// The JSON that the API shows.
    pub async fn answer(&self, question: Question) -> Result<Value, Problem> {
        match question {
            Question::Subscription { id } => {
                let state = self.delivery.state_of(id).await?;
                Ok(serde_json::to_value(state).unwrap_or_default())
            }
            _ => Err(Problem::new(Code::NotFound, "not answered yet")),
        }
    }
}
