//! Filters tried before they are used: what one gives for an event, and whether it can ever hold on a topic.

use posthorn_domain::cloudevents::decode_structured;
use posthorn_domain::direction::Direction;
use posthorn_domain::event::{DataKind, Event};
use posthorn_domain::fields::{Faults, Fields};
use posthorn_domain::filter::{Evaluation, Filter, View};
use posthorn_domain::json::Parser;
use posthorn_domain::names::SchemaName;
use posthorn_domain::problem::{Code, Problem};
use posthorn_domain::resource::SchemaSpec;
use serde_json::{Map, Value, json};

use super::{Api, to_value};

impl Api {
    /// `document` is `{"filter"}` and, each optional, `event`, `topic`, `direction`. A filter that is none is an answer, not a
    /// problem (interfaces §9). With a topic its schemas are looked at too.
    pub(crate) fn check_filter(&self, document: &Value) -> Result<Value, Problem> {
        let mut faults = Faults::default();
        let mut fields = Fields::of(document, "", &mut faults);
        let filter: Option<Value> = fields.need("filter", &mut faults);
        let event: Option<Value> = fields.get("event", &mut faults);
        let topic: Option<String> = fields.get("topic", &mut faults);
        let direction = fields.or("direction", Direction::Incoming, &mut faults);
        fields.done(&mut faults);
        let filter = faults.result("the question", filter)?;
        let event = event.map(|event| decode_structured(&event.to_string().into())).transpose()?;
        if let Some(topic) = topic.as_deref().filter(|topic| self.publisher.registry.read().topic(topic).is_none()) {
            let shown: String = topic.chars().take(200).collect();
            return Err(Problem::new(Code::TopicUnknown, format!("there is no topic `{shown}` whose schemas could be looked at")));
        }
        let mut faults = Faults::default();
        let parsed = Filter::parse(&filter, "/filter", &mut faults);
        match faults.result("the filter", parsed) {
            Err(problem) => Ok(unparsed(&problem, event.is_some())),
            Ok(filter) => self.checked(filter, event.as_ref(), topic.as_deref(), direction),
        }
    }

    /// Whether filters read what this version of a schema no longer names. Looks at every subscription; off the async threads.
    ///
    /// # Errors
    /// `filter-references`.
    pub(super) async fn check_references(&self, name: &SchemaName, spec: &SchemaSpec) -> Result<(), Problem> {
        let (publisher, name, spec) = (self.publisher.clone(), name.clone(), spec.clone());
        let checked = tokio::task::spawn_blocking(move || publisher.registry.read().check_references(&name, &spec));
        checked.await.map_err(|_| Problem::new(Code::Internal, "the check of filters stopped"))?
    }

    fn checked(&self, filter: Filter, event: Option<&Event>, topic: Option<&str>, direction: Direction) -> Result<Value, Problem> {
        let mut answer = Map::new();
        answer.insert("valid".into(), true.into());
        let tried = event.map(|event| tried(&filter, event, topic, direction)).transpose()?;
        let (value, kind, error, matches) = match tried {
            Some((evaluation, matches)) => {
                // One word for the same thing in all dialects.
                let kind = if evaluation.ty == "bool" { "boolean" } else { evaluation.ty };
                (evaluation.value.clone(), json!(kind), evaluation.error_json(), json!(matches))
            }
            None => Default::default(),
        };
        for (member, value) in [("value", value), ("type", kind), ("error", error), ("matches", matches)] {
            answer.insert(member.into(), value);
        }
        answer.insert("warnings".into(), self.warned(filter, topic));
        Ok(Value::Object(answer))
    }

    /// What the type check says; what can never match is a warning here, for nothing is made of the filter.
    fn warned(&self, filter: Filter, topic: Option<&str>) -> Value {
        let findings = self.publisher.registry.read().check_filters_on(&[filter], "/filter", topic);
        let place = |finding: Value, never: bool| {
            let mut finding = finding;
            if let Some(map) = finding.as_object_mut() {
                map.remove("filter");
                // There is one filter, so it stands at the member itself.
                let at = map.get("pointer").and_then(Value::as_str).unwrap_or_default().replacen("/filter/0", "/filter", 1);
                map.insert("pointer".into(), at.into());
                map.insert("never_matches".into(), never.into());
            }
            finding
        };
        let never = findings.never.iter().map(|finding| place(to_value(finding), true));
        never.chain(findings.warnings.iter().map(|finding| place(to_value(finding), false))).collect()
    }
}

/// Value and errors, and whether the filter passes.
fn tried(filter: &Filter, event: &Event, topic: Option<&str>, direction: Direction) -> Result<(Evaluation, bool), Problem> {
    let topic = topic.or_else(|| event.get("topic")).unwrap_or_else(|| event.ty());
    let evaluate = |view: &View<'_>| {
        let matches = filter.matches(view);
        let evaluation = match filter {
            Filter::Expr(program) => program.evaluate(view),
            _ => Evaluation { value: matches.into(), ty: "boolean", errors: Vec::new() },
        };
        (evaluation, matches)
    };
    let view = View { direction, ..View::new(topic, event) };
    if event.data_kind() != DataKind::Json {
        return Ok(evaluate(&view));
    }
    Ok(Parser::new().parse(event.data(), |doc| evaluate(&View { data: Some(doc), ..view }))?)
}

fn unparsed(problem: &Problem, event: bool) -> Value {
    let detail = problem.errors().first().map_or_else(|| problem.detail().to_owned(), |fault| fault.detail.clone());
    json!({
        "valid": false, "value": null, "type": null, "matches": if event { json!(false) } else { Value::Null },
        "error": {"kind": "parse", "detail": detail}, "errors": problem.errors(), "warnings": [],
    })
}
