//! Dead letters: listed, read, deleted, tried again.

use posthorn_domain::cloudevents::structured_parts;
use posthorn_domain::ids::DeadLetterId;
use posthorn_domain::node::{self, DeadLetterFilter, Retried, StillRefused};
use posthorn_domain::problem::{Code, Problem};
use posthorn_domain::record::Record;
use posthorn_storage::state::{self, Batch, DeadLetter};
use serde_json::{Value, json};

use super::{Answers, bad_parameter, failed};

/// Letters of one page.
const MAX_LIMIT: u32 = 1000;
/// Letters that one order tries again.
const MAX_RETRIED: usize = 100_000;
const PAGE: usize = 500;
/// Letters that are still refused of which the answer says why.
const EXAMPLES: usize = 10;

impl Answers {
    pub(super) async fn letters(&self, filter: &DeadLetterFilter, limit: u32, token: Option<&str>) -> Result<Value, Problem> {
        let filter = parsed(filter)?;
        let after: Option<DeadLetterId> = match token {
            Some(token) => Some(token.parse().map_err(|error| bad_parameter("page_token", error))?),
            None => None,
        };
        let limit = limit.clamp(1, MAX_LIMIT) as usize;
        let page = self.read(move |state| state.dead_letters(&filter, after, limit)).await?;
        let items: Vec<node::DeadLetter> = page.items.iter().map(shown).collect();
        Ok(json!({"items": items, "next_page_token": page.next.map(|id| id.to_string())}))
    }

    pub(super) async fn letter(&self, id: DeadLetterId) -> Result<DeadLetter, Problem> {
        let letter = self.read(move |state| state.dead_letter(id)).await?;
        letter.ok_or_else(|| Problem::new(Code::NotFound, format!("there is no dead letter {id}")))
    }

    pub(super) async fn delete_letter(&self, id: DeadLetterId) -> Result<Value, Problem> {
        self.letter(id).await?;
        self.forget(id).await?;
        Ok(Value::Null)
    }

    pub(super) async fn delete_letters(&self, filter: &DeadLetterFilter) -> Result<Value, Problem> {
        let filter = parsed(filter)?;
        let deleted = self.read(move |state| state.delete_dead_letters(&filter)).await?;
        Ok(json!({"deleted": deleted}))
    }

    pub(super) async fn retry_letter(&self, id: DeadLetterId, validate_with: Option<&str>) -> Result<Value, Problem> {
        let letter = self.letter(id).await?;
        self.try_again(&letter, validate_with).await?;
        Ok(json!({"retried": 1}))
    }

    pub(super) async fn retry_letters(&self, filter: &DeadLetterFilter, validate_with: Option<&str>) -> Result<Value, Problem> {
        let filter = parsed(filter)?;
        if let Some(list) = validate_with {
            self.reingest.knows(list)?;
        }
        let (mut done, mut seen, mut after) = (Retried::default(), 0, None);
        loop {
            let wanted = filter.clone();
            let page = self.read(move |state| state.dead_letters(&wanted, after, PAGE)).await?;
            seen += page.items.len();
            for letter in &page.items {
                let tried = self.try_again(letter, validate_with).await;
                count(&mut done, letter, tried)?;
            }
            after = page.next;
            if after.is_none() || seen >= MAX_RETRIED {
                break;
            }
        }
        super::json(&done)
    }

    /// A delivery goes to its shard and leaves the list when it succeeds; a refused event goes through ingest once more.
    async fn try_again(&self, letter: &DeadLetter, validate_with: Option<&str>) -> Result<(), Problem> {
        let Some(subscription) = letter.subscription else {
            self.reingest.reingest(letter, validate_with.unwrap_or_default()).await?;
            return self.forget(letter.id).await;
        };
        if validate_with.is_some() {
            return Err(Problem::new(
                Code::InvalidResource,
                "`validate_with` is for refused events; this one was accepted and not delivered",
            ));
        }
        let route = self.live.load().subscriptions.get(&subscription).cloned();
        match route {
            Some(_) => self.delivery.retry(subscription, letter).await,
            None => {
                let detail = format!("its subscription {subscription} is gone; delete the dead letter, or make a subscription and replay");
                Err(Problem::new(Code::InvalidResource, detail))
            }
        }
    }

    async fn forget(&self, id: DeadLetterId) -> Result<(), Problem> {
        let mut batch = Batch::new();
        batch.delete_dead_letter(id);
        self.writer.commit(batch, true).await.map_err(|error| failed(&error))
    }
}

/// Adds one to the tally.
///
/// # Errors
/// When the node itself fails, at which the others would fail too.
fn count(done: &mut Retried, letter: &DeadLetter, tried: Result<(), Problem>) -> Result<(), Problem> {
    match tried {
        Ok(()) => done.retried += 1,
        Err(problem) if problem.status() >= 500 => return Err(problem),
        Err(problem) if letter.subscription.is_none() => {
            done.refused += 1;
            done.errors += problem.errors().len().max(1) as u64;
            if done.examples.len() < EXAMPLES {
                let errors = problem.errors().iter().filter_map(|fault| serde_json::to_value(fault).ok()).collect();
                done.examples.push(StillRefused { id: letter.id.to_string(), detail: problem.detail().to_owned(), errors });
            }
        }
        Err(_) => done.skipped += 1,
    }
    Ok(())
}

fn parsed(filter: &DeadLetterFilter) -> Result<state::DeadLetterFilter, Problem> {
    let topic = match &filter.topic {
        Some(topic) => Some(topic.parse().map_err(|error| bad_parameter("topic", error))?),
        None => None,
    };
    let reason = match &filter.reason {
        Some(reason) => Some(reason.parse().map_err(|error| bad_parameter("reason", error))?),
        None => None,
    };
    Ok(state::DeadLetterFilter { topic, subscription: filter.subscription, reason })
}

/// A dead letter as the API shows it.
pub(super) fn shown(letter: &DeadLetter) -> node::DeadLetter {
    let record = Record::decode(&letter.record).ok();
    let event = record.as_ref().and_then(|record| serde_json::from_slice(&structured_parts(&record.event, None).to_bytes()).ok());
    node::DeadLetter {
        id: letter.id.to_string(),
        reason: letter.reason.as_str().to_owned(),
        detail: letter.detail.clone(),
        at: letter.at,
        topic: letter.topic.to_string(),
        partition: letter.position.map(|position| position.partition),
        offset: letter.position.map(|position| position.offset),
        accepted_at: record.as_ref().map(|record| record.accepted_at),
        direction: record.as_ref().map(|record| record.direction.as_str().to_owned()),
        publisher: record.map(|record| record.publisher.to_string()).filter(|publisher| !publisher.is_empty()),
        event: event.unwrap_or(Value::Null),
        subscription: letter.subscription.map(|id| id.to_string()),
        delivery: letter.delivery.map(|id| id.to_string()),
        replay: letter.replay.map(|id| id.to_string()),
        attempts: letter.attempts,
        errors: letter.errors.iter().filter_map(|fault| serde_json::to_value(fault).ok()).collect(),
    }
}
