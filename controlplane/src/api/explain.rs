//! Who gets an event and who does not, and why: asked of the data planes.

use posthorn_domain::cloudevents::decode_structured;
use posthorn_domain::direction::Direction;
use posthorn_domain::fields::{Faults, Fields};
use posthorn_domain::node::Question;
use posthorn_domain::problem::{Code, Problem};
use serde_json::Value;

use super::{Api, merge};

impl Api {
    /// `document` is `{"topic", "event"}`, and `direction` where it is not the nodes' default. Every data plane has the same table, so one
    /// answers; `all` lists also subscriptions whose topic cannot match.
    pub(crate) async fn explain(&self, document: &Value, all: bool) -> Result<Value, Problem> {
        let mut faults = Faults::default();
        let mut fields = Fields::of(document, "", &mut faults);
        let topic: Option<String> = fields.need("topic", &mut faults);
        let event: Option<Value> = fields.need("event", &mut faults);
        let direction: Option<Direction> = fields.get("direction", &mut faults);
        fields.done(&mut faults);
        let (topic, event) = faults.result("the question", topic.zip(event))?;
        decode_structured(&event.to_string().into())?;
        let question = Question::Explain { topic, event, direction, all };
        merge::first_good(self.publisher.answers.ask_in_turn(&question).await?)
    }

    /// The same of the event that is kept at this place, by the node that has it.
    pub(crate) async fn explain_stored(&self, topic: &str, partition: &str, offset: &str, all: bool) -> Result<Value, Problem> {
        let bad = |what: &str| Problem::new(Code::InvalidRequest, format!("the {what} in the path must be a whole number from 0"));
        let partition = partition.parse().map_err(|_| bad("partition"))?;
        let offset = offset.parse().map_err(|_| bad("offset"))?;
        let question = Question::ExplainStored { topic: topic.to_owned(), partition, offset, all };
        merge::first_good(self.publisher.answers.ask_all(&question).await?)
    }
}
