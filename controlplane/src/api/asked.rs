//! What only data planes know: deliveries and dead letters.

use posthorn_domain::fields::{Faults, Fields, FromJson};
use posthorn_domain::ids::{DeadLetterId, SubscriptionId};
use posthorn_domain::node::{DeadLetterFilter, DeliveryFilter, Question};
use posthorn_domain::problem::{Code, Problem};
use posthorn_domain::reason::Reason;
use posthorn_domain::schema::named::parse_list;
use serde_json::Value;

use super::{Api, Page, merge, missing};

const STATUSES: [&str; 5] = ["waiting", "in_flight", "delivered", "dead_lettered", "dropped"];

/// The parameters of a list of deliveries.
pub(crate) const DELIVERY_PARAMETERS: [&str; 4] = ["subscription", "topic", "status", "event_id"];
/// The parameters of a list of dead letters.
pub(crate) const DEAD_LETTER_PARAMETERS: [&str; 3] = ["topic", "subscription", "reason"];

impl Api {
    /// A page of deliveries; `filter` has the members of [`DELIVERY_PARAMETERS`].
    pub(crate) async fn deliveries(&self, filter: &Value, page: &Page) -> Result<Value, Problem> {
        let filter = delivery_filter(filter)?;
        self.list(page, |limit, page_token| Question::Deliveries { filter: filter.clone(), limit, page_token }).await
    }

    pub(crate) async fn delivery(&self, id: &str) -> Result<Value, Problem> {
        if id.len() > 64 {
            return Err(missing("delivery", id));
        }
        merge::first_good(self.publisher.answers.ask_all(&Question::Delivery { id: id.to_owned() }).await?)
    }

    /// A page of dead letters; `filter` has the members of [`DEAD_LETTER_PARAMETERS`].
    pub(crate) async fn dead_letters(&self, filter: &Value, page: &Page) -> Result<Value, Problem> {
        let filter = dead_letter_filter(filter)?;
        self.list(page, |limit, page_token| Question::DeadLetters { filter: filter.clone(), limit, page_token }).await
    }

    pub(crate) async fn dead_letter(&self, id: &str) -> Result<Value, Problem> {
        self.one_dead_letter(id, |id| Question::DeadLetter { id }).await
    }

    pub(crate) async fn delete_dead_letter(&self, id: &str) -> Result<(), Problem> {
        self.one_dead_letter(id, |id| Question::DeleteDeadLetter { id }).await.map(drop)
    }

    /// `document` may name schemas that a refused event is held to: `{"validate_with": "order:4"}`.
    pub(crate) async fn retry_dead_letter(&self, id: &str, document: &Value) -> Result<Value, Problem> {
        let mut faults = Faults::default();
        let mut fields = Fields::of(document, "", &mut faults);
        let validate_with = validate_with(&mut fields, &mut faults);
        fields.done(&mut faults);
        faults.result("the retry", Some(()))?;
        self.one_dead_letter(id, |id| Question::RetryDeadLetter { id, validate_with }).await
    }

    /// Answers `{"deleted": n}`.
    pub(crate) async fn delete_dead_letters(&self, filter: &Value) -> Result<Value, Problem> {
        let filter = dead_letter_filter(filter)?;
        merge::sums(self.publisher.answers.ask_all(&Question::DeleteDeadLetters { filter }).await?)
    }

    /// Answers [`posthorn_domain::node::Retried`]. `document` is a filter, with `validate_with` beside it if need be.
    pub(crate) async fn retry_dead_letters(&self, document: &Value) -> Result<Value, Problem> {
        let mut faults = Faults::default();
        let mut fields = Fields::of(document, "", &mut faults);
        let filter = dead_letter_members(&mut fields, &mut faults);
        let validate_with = validate_with(&mut fields, &mut faults);
        fields.done(&mut faults);
        let filter = faults.result("the retry", Some(filter))?;
        merge::sums(self.publisher.answers.ask_all(&Question::RetryDeadLetters { filter, validate_with }).await?)
    }

    /// Data of stored events.
    pub(super) async fn sampled(&self, question: &Question) -> Result<Vec<Value>, Problem> {
        merge::arrays(self.publisher.answers.ask_all(question).await?)
    }

    async fn one_dead_letter(&self, id: &str, question: impl FnOnce(DeadLetterId) -> Question) -> Result<Value, Problem> {
        let parsed = id.parse().map_err(|_| missing("dead letter", id))?;
        merge::first_good(self.publisher.answers.ask_all(&question(parsed)).await?)
    }

    /// Asks each node for its part of the page. With one node its answer passes through.
    async fn list(&self, page: &Page, question: impl Fn(u32, Option<String>) -> Question) -> Result<Value, Problem> {
        let tokens = merge::Tokens::read(page.token.as_deref(), &self.publisher.answers.nodes())?;
        let limit = u32::try_from((page.limit / tokens.len().max(1)).max(1)).unwrap_or(1);
        let asked = tokens.into_iter().map(|(node, token)| (node, question(limit, token))).collect();
        merge::lists(self.publisher.answers.ask_each(asked).await?)
    }
}

fn delivery_filter(document: &Value) -> Result<DeliveryFilter, Problem> {
    let mut faults = Faults::default();
    let mut fields = Fields::of(document, "", &mut faults);
    let filter = DeliveryFilter {
        subscription: fields.get::<SubscriptionId>("subscription", &mut faults),
        topic: fields.get("topic", &mut faults),
        status: fields.get("status", &mut faults),
        event_id: fields.get("event_id", &mut faults),
    };
    fields.done(&mut faults);
    if filter.status.as_deref().is_some_and(|status| !STATUSES.contains(&status)) {
        faults.shape("/status", format!("is not one of {}", STATUSES.join(", ")));
    }
    faults.result("the filter", Some(filter))
}

fn dead_letter_filter(document: &Value) -> Result<DeadLetterFilter, Problem> {
    let mut faults = Faults::default();
    let mut fields = Fields::of(document, "", &mut faults);
    let filter = dead_letter_members(&mut fields, &mut faults);
    fields.done(&mut faults);
    faults.result("the filter", Some(filter))
}

fn dead_letter_members(fields: &mut Fields<'_>, faults: &mut Faults) -> DeadLetterFilter {
    DeadLetterFilter {
        topic: fields.get("topic", faults),
        subscription: fields.get::<SubscriptionId>("subscription", faults),
        reason: fields.get::<KnownReason>("reason", faults).map(|KnownReason(reason)| reason.to_string()),
    }
}

/// Whether the schemas are there is for the nodes to say, which hold events to them.
fn validate_with(fields: &mut Fields<'_>, faults: &mut Faults) -> Option<String> {
    let list: String = fields.get("validate_with", faults)?;
    match parse_list(&list) {
        Ok(named) if named.is_empty() => faults.shape("/validate_with", "names no schema; such as `order:4`"),
        Ok(_) => {}
        Err(detail) => faults.shape("/validate_with", detail),
    }
    Some(list)
}

struct KnownReason(Reason);

impl FromJson for KnownReason {
    fn from_json(value: &Value, at: &str, faults: &mut Faults) -> Option<Self> {
        let text = String::from_json(value, at, faults)?;
        text.parse().map(Self).map_err(|error: posthorn_domain::reason::UnknownReason| faults.shape(at, error.to_string())).ok()
    }
}

/// Whether the answer of a node is "not here".
pub(super) fn is_not_found(problem: &Problem) -> bool {
    problem.code() == Code::NotFound
}
