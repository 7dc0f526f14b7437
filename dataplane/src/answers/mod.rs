//! Answers the control plane's questions (interfaces §4): what was delivered, what was not, and orders to try again.
//!
//! Called by `control` through the node's seam. Reads of the stores block, so they run on the blocking pool.

mod deliveries;
mod letters;
mod replay;
mod sample;

use std::sync::Arc;

use futures_util::future::BoxFuture;
use posthorn_domain::clock::Clock;
use posthorn_domain::cloudevents::decode_structured;
use posthorn_domain::ids::{ReplayId, SubscriptionId};
use posthorn_domain::node::Question;
use posthorn_domain::problem::{Code, Problem};
use posthorn_storage::attempts::AttemptLog;
use posthorn_storage::state::{DeadLetter, State, StateError};
use serde::Serialize;
use serde_json::Value;

use crate::delivery::{Handle, WriterHandle};
use crate::explain::Explainer;
use crate::route::{Live, SubscriptionRoute};

/// Takes an event that was refused in again.
pub trait Reingest: Send + Sync {
    /// Resolves once it is kept; the problem says why it is refused again. `validate_with` lists the schemas that it is held to in
    /// place of those that it names of the same ones; empty: none.
    fn reingest<'a>(&'a self, letter: &'a DeadLetter, validate_with: &'a str) -> BoxFuture<'a, Result<(), Problem>>;

    /// Whether there are the schemas that `validate_with` lists.
    ///
    /// # Errors
    /// The problem that whoever asked is to be told.
    fn knows(&self, validate_with: &str) -> Result<(), Problem>;
}

/// What answers are made of.
pub struct Answers {
    /// The newest table.
    pub live: Live,
    /// The delivery state, for reading.
    pub state: Arc<dyn State>,
    /// Where state is written.
    pub writer: WriterHandle,
    /// Records of attempts.
    pub attempts: Arc<AttemptLog>,
    /// The shards.
    pub delivery: Handle,
    /// Where blocking reads run.
    pub blocking: tokio::runtime::Handle,
    /// The time.
    pub clock: Clock,
    /// The way back to ingest.
    pub reingest: Arc<dyn Reingest>,
    /// What explains who gets an event.
    pub explainer: Explainer,
}

impl Answers {
    /// The JSON that the API shows.
    ///
    /// # Errors
    /// The problem that whoever asked is to be told.
    pub async fn answer(&self, question: Question) -> Result<Value, Problem> {
        match question {
            Question::Deliveries { filter, limit, page_token } => self.deliveries(filter, limit, page_token).await,
            Question::Delivery { id } => self.one_delivery(&id).await,
            Question::DeadLetters { filter, limit, page_token } => self.letters(&filter, limit, page_token.as_deref()).await,
            Question::DeadLetter { id } => json(&letters::shown(&self.letter(id).await?)),
            Question::DeleteDeadLetter { id } => self.delete_letter(id).await,
            Question::DeleteDeadLetters { filter } => self.delete_letters(&filter).await,
            Question::RetryDeadLetter { id, validate_with } => self.retry_letter(id, validate_with.as_deref()).await,
            Question::RetryDeadLetters { filter, validate_with } => self.retry_letters(&filter, validate_with.as_deref()).await,
            Question::Subscription { id } => match self.delivery.state_of(id).await? {
                Some(state) => json(&state),
                None => Err(unknown(id)),
            },
            Question::Test { id } => match self.delivery.test(id).await? {
                Some(attempt) => json(&attempt),
                None => Err(unknown(id)),
            },
            Question::Replay { id, from, to, rate, replay } => self.replay(id, replay.unwrap_or_else(ReplayId::make), from, to, rate).await,
            Question::Replays { id } => json(&self.delivery.replays(id).await?.ok_or_else(|| unknown(id))?),
            Question::CancelReplay { id, replay } => match self.delivery.cancel_replay(id, replay).await? {
                Some(cancelled) => json(&cancelled),
                None => Err(Problem::new(Code::NotFound, format!("the subscription has no replay {replay} on this node"))),
            },
            Question::Explain { topic, event, direction, all } => {
                let event = decode_structured(&event.to_string().into())?;
                self.explainer.event(&topic, event, direction, all).await
            }
            Question::ExplainStored { topic, partition, offset, all } => self.explainer.stored(&topic, partition, offset, all).await,
            Question::Sample { topic, limit } => self.sample(&topic, limit).await,
        }
    }

    fn subscription(&self, id: SubscriptionId) -> Result<Arc<SubscriptionRoute>, Problem> {
        self.live.load().subscriptions.get(&id).cloned().ok_or_else(|| unknown(id))
    }

    /// Runs a read of the state store where it may block.
    async fn read<T: Send + 'static>(&self, read: impl FnOnce(&dyn State) -> Result<T, StateError> + Send + 'static) -> Result<T, Problem> {
        let state = Arc::clone(&self.state);
        let done = self.blocking.spawn_blocking(move || read(&*state)).await;
        done.map_err(|error| failed(&error))?.map_err(|error| failed(&error))
    }
}

fn json(value: &impl Serialize) -> Result<Value, Problem> {
    serde_json::to_value(value).map_err(|error| failed(&error))
}

fn unknown(id: SubscriptionId) -> Problem {
    Problem::new(Code::NotFound, format!("there is no subscription {id} on this node"))
}

fn failed(error: &dyn std::fmt::Display) -> Problem {
    tracing::error!(%error, "a question could not be answered");
    Problem::new(Code::Unavailable, "the node's stores cannot be read just now; ask again later").with_retry_after(2)
}

fn bad_parameter(name: &str, detail: impl std::fmt::Display) -> Problem {
    Problem::new(Code::InvalidRequest, format!("`{name}`: {detail}"))
}
