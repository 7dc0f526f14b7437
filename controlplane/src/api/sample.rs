//! Tries a schema on stored events of the topics that use it.

use std::sync::Arc;

use posthorn_domain::json::Parser;
use posthorn_domain::names::SchemaName;
use posthorn_domain::node::{Question, Sampled};
use posthorn_domain::problem::{Code, Fault, Problem};
use posthorn_domain::schema::CompiledSchema;
use serde_json::{Value, json};

use super::Api;

/// Most stored events that a check looks at.
const MAX_SAMPLE: u32 = 10_000;
/// Invalid events that a check shows.
const EXAMPLES: usize = 10;

impl Api {
    /// `{"checked", "invalid", "examples"}` over the newest stored events of all topics that demand the schema together.
    pub(super) async fn sample(&self, name: &SchemaName, compiled: &Arc<CompiledSchema>, count: u32) -> Result<Value, Problem> {
        let count = count.min(MAX_SAMPLE);
        let topics = self.publisher.registry.read().topics_with_schema(name);
        let mut stored: Vec<Sampled> = Vec::new();
        for topic in topics {
            let question = Question::Sample { topic: topic.to_string(), limit: count };
            let answers = self.sampled(&question).await?;
            stored.extend(answers.into_iter().filter_map(|event| serde_json::from_value(event).ok()));
            stored.sort_by_key(|event| std::cmp::Reverse(event.at));
            stored.truncate(count as usize);
        }
        let (compiled, label) = (compiled.clone(), name.to_string());
        let checked = tokio::task::spawn_blocking(move || report(&compiled, &label, &stored));
        checked.await.map_err(|_| Problem::new(Code::Internal, "the check of stored events stopped"))
    }
}

fn report(compiled: &CompiledSchema, label: &str, stored: &[Sampled]) -> Value {
    let mut parser = Parser::new();
    let (mut invalid, mut examples) = (0_usize, Vec::new());
    for event in stored {
        let errors = faults(&mut parser, compiled, label, event);
        if errors.is_empty() {
            continue;
        }
        invalid += 1;
        if examples.len() < EXAMPLES {
            let Sampled { topic, partition, offset, id, data, .. } = event;
            examples.push(json!({"topic": topic, "partition": partition, "offset": offset, "id": id, "data": data, "errors": errors}));
        }
    }
    json!({"checked": stored.len(), "invalid": invalid, "examples": examples})
}

fn faults(parser: &mut Parser, compiled: &CompiledSchema, label: &str, event: &Sampled) -> Vec<Fault> {
    let whole = |detail: &str| vec![Fault { schema: Some(label.to_owned()), pointer: "#".into(), detail: detail.to_owned() }];
    if !event.json {
        return whole("the data is not JSON by its content type");
    }
    let errors = parser.parse(event.data.to_string().as_bytes(), |doc| compiled.errors(doc, label));
    errors.unwrap_or_else(|_| whole("the data is JSON that is not taken any more"))
}
