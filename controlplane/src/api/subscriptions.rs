//! Subscriptions, their life and where they stand.

use std::time::Duration;

use posthorn_domain::fields::{Faults, Fields};
use posthorn_domain::filter::typecheck::Finding;
use posthorn_domain::ids::SubscriptionId;
use posthorn_domain::node::Question;
use posthorn_domain::problem::{Code, Problem};
use posthorn_domain::resource::{Status, SubscriptionSpec};
use posthorn_domain::units::Dur;
use serde_json::Value;

use super::{Answer, Api, Page, merge, missing, subscription_id, to_value};
use crate::registry::{Command, Entry, Keep, Precondition};

/// Longest time that an old secret may go on signing.
const MAX_OVERLAP: Dur = Dur::from_secs(30 * 86_400);
/// A read of a subscription waits so long for the data planes; then it does without its state.
const STATE_WITHIN: Duration = Duration::from_secs(2);
/// How long an old secret goes on signing when nobody says.
const OVERLAP: Dur = Dur::from_secs(86_400);

impl Api {
    pub(crate) async fn create_subscription(&self, document: &Value) -> Result<Answer, Problem> {
        let spec = SubscriptionSpec::parse(document, &self.guard)?;
        let warnings = self.publisher.registry.read().check_filters(&spec)?;
        let answer = self.write_one(Command::CreateSubscription { id: SubscriptionId::make(), spec }).await?;
        Ok(warned(answer, &warnings))
    }

    pub(crate) async fn replace_subscription(&self, id: &str, document: &Value, when: Precondition) -> Result<Answer, Problem> {
        let id = subscription_id(id)?;
        let spec = SubscriptionSpec::parse(document, &self.guard)?;
        let absent = |member: &str| document.get(member).is_none_or(Value::is_null);
        let keep = Keep { signing: absent("signing"), start: absent("start"), status: absent("status") };
        let warnings = self.publisher.registry.read().check_filters(&spec)?;
        Ok(warned(self.write_one(Command::ReplaceSubscription { id, spec, keep, when }).await?, &warnings))
    }

    pub(crate) async fn pause(&self, id: &str, when: Precondition) -> Result<Answer, Problem> {
        self.write_one(Command::SetStatus { id: subscription_id(id)?, status: Status::Paused, when }).await
    }

    pub(crate) async fn resume(&self, id: &str, when: Precondition) -> Result<Answer, Problem> {
        self.write_one(Command::SetStatus { id: subscription_id(id)?, status: Status::Active, when }).await
    }

    /// A node found the endpoint gone (410), or failing for too long: the subscription stops until its owner has seen to it.
    pub(crate) async fn disable(&self, id: SubscriptionId, reason: String) {
        match self.write(Command::Disable { id, reason: reason.clone() }).await {
            Ok(_) => tracing::info!(subscription = %id, reason, "a node asked for it: the subscription is disabled"),
            Err(problem) => tracing::warn!(subscription = %id, reason, %problem, "a subscription was not disabled as a node asked"),
        }
    }

    /// New secrets; the body may say for how long the old ones go on signing.
    pub(crate) async fn rotate_secret(&self, id: &str, document: &Value, when: Precondition) -> Result<Answer, Problem> {
        let id = subscription_id(id)?;
        let mut faults = Faults::default();
        let mut fields = Fields::of(document, "", &mut faults);
        let overlap = fields.or("overlap", OVERLAP, &mut faults);
        fields.done(&mut faults);
        if overlap > MAX_OVERLAP {
            faults.meaning("/overlap", format!("must be at most {MAX_OVERLAP}"));
        }
        faults.result("the rotation", Some(()))?;
        self.write_one(Command::RotateSecret { id, overlap, when }).await
    }

    pub(crate) async fn delete_subscription(&self, id: &str, when: Precondition) -> Result<(), Problem> {
        self.write(Command::DeleteSubscription { id: subscription_id(id)?, when }).await.map(drop)
    }

    /// The subscription, and where it stands when a data plane can tell.
    pub(crate) async fn subscription(&self, id: &str) -> Result<Answer, Problem> {
        let id = self.known_subscription(id)?;
        let found = self.publisher.registry.read().subscription(id);
        let found = found.ok_or_else(|| missing("subscription", &id.to_string()))?;
        let mut answer = self.shown(&Entry::Subscription(found));
        let question = Question::Subscription { id };
        let told = tokio::time::timeout(STATE_WITHIN, self.publisher.answers.ask_all(&question)).await;
        if let Ok(Ok(replies)) = told
            && let Some(state) = merge::states(replies)
        {
            answer.body["state"] = state;
        }
        Ok(answer)
    }

    pub(crate) fn subscriptions(&self, page: &Page) -> Result<Value, Problem> {
        let after = page.after()?;
        let subscriptions = self.publisher.registry.read().subscriptions_after(after.as_ref(), page.limit + 1);
        Ok(page.answer(subscriptions, |subscription| subscription.id.to_string(), |subscription| to_value(&**subscription)))
    }

    /// Sends a test event.
    pub(crate) async fn test(&self, id: &str) -> Result<Value, Problem> {
        let id = self.known_subscription(id)?;
        merge::first_good(self.publisher.answers.ask_in_turn(&Question::Test { id }).await?)
    }

    /// Verification of endpoints comes with a later version.
    pub(crate) fn verify(&self, id: &str) -> Result<Value, Problem> {
        self.known_subscription(id)?;
        Err(Problem::new(Code::InvalidResource, "verification of endpoints is not supported by this version"))
    }

    pub(super) fn known_subscription(&self, text: &str) -> Result<SubscriptionId, Problem> {
        let id = subscription_id(text)?;
        let known = self.publisher.registry.read().has_subscription(id);
        if known { Ok(id) } else { Err(missing("subscription", text)) }
    }
}

/// The answer to a write also tells what its filters may have got wrong.
fn warned(mut answer: Answer, warnings: &[Finding]) -> Answer {
    answer.body["warnings"] = to_value(&warnings);
    answer
}
