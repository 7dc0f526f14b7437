//! Topics.

use posthorn_domain::problem::Problem;
use posthorn_domain::resource::TopicSpec;
use serde_json::Value;

use super::{Answer, Api, Page, missing, name, to_value};
use crate::registry::{Command, Entry, Precondition};

impl Api {
    pub(crate) async fn put_topic(&self, topic: &str, document: &Value, when: Precondition) -> Result<Answer, Problem> {
        let name = name("topic", topic)?;
        let spec = TopicSpec::parse(document, &name)?;
        self.write_one(Command::PutTopic { name, spec, when }).await
    }

    pub(crate) fn topic(&self, topic: &str) -> Result<Answer, Problem> {
        let found = self.publisher.registry.read().topic(topic).cloned();
        found.map(|topic| self.shown(&Entry::Topic(topic))).ok_or_else(|| missing("topic", topic))
    }

    pub(crate) fn topics(&self, page: &Page) -> Result<Value, Problem> {
        let after = page.after()?;
        let topics = self.publisher.registry.read().topics_after(after.as_ref(), page.limit + 1);
        Ok(page.answer(topics, |topic| topic.name.to_string(), |topic| to_value(&**topic)))
    }

    pub(crate) async fn delete_topic(&self, topic: &str, force: bool, when: Precondition) -> Result<(), Problem> {
        let name = topic.parse().map_err(|_| missing("topic", topic))?;
        self.write(Command::DeleteTopic { name, force, when }).await.map(drop)
    }
}
