//! From JSON to [`Filter`], with limits and every fault at its place.

use std::sync::Arc;

use serde_json::Value;

use super::{Comparison, Filter, Program};
use crate::fields::{Faults, FromJson, parsed, pointer};

/// Deepest nesting of `all`, `any` and `not` (protocols §3.2).
const MAX_DEPTH: usize = 16;
/// Most assertions in one filter.
const MAX_NODES: usize = 256;
/// What an expression counts as: each may take its own steps for every event.
const EXPRESSION_NODES: usize = 8;

impl Filter {
    /// Reads one filter object: exactly one member, the dialect. Faults are recorded at `at` and below.
    pub fn parse(value: &Value, at: &str, faults: &mut Faults) -> Option<Self> {
        let mut nodes = 0;
        let filter = node(value, at, faults, 0, &mut nodes)?;
        if nodes > MAX_NODES {
            faults.meaning(at, format!("has {nodes} assertions; at most {MAX_NODES}"));
            return None;
        }
        Some(filter)
    }
}

fn node(value: &Value, at: &str, faults: &mut Faults, depth: usize, nodes: &mut usize) -> Option<Filter> {
    if depth > MAX_DEPTH {
        faults.meaning(at, format!("is nested deeper than {MAX_DEPTH}"));
        return None;
    }
    *nodes += 1;
    let Some(object) = value.as_object() else {
        faults.shape(at, "a filter is an object with one member, its dialect");
        return None;
    };
    let mut members = object.iter();
    let (Some((dialect, body)), None) = (members.next(), members.next()) else {
        faults.meaning(at, "a filter has exactly one member, its dialect; several assertions go into several filters or into `all`");
        return None;
    };
    let at = pointer(at, dialect);
    match dialect.as_str() {
        "topic" => parsed(&String::from_json(body, &at, faults)?, &at, faults).map(Filter::Topic),
        "exact" => comparisons(body, &at, faults, nodes).map(Filter::Exact),
        "prefix" => comparisons(body, &at, faults, nodes).map(Filter::Prefix),
        "suffix" => comparisons(body, &at, faults, nodes).map(Filter::Suffix),
        "all" => several(body, &at, faults, depth, nodes).map(Filter::All),
        "any" => several(body, &at, faults, depth, nodes).map(Filter::Any),
        "not" => node(body, &at, faults, depth + 1, nodes).map(|inner| Filter::Not(Box::new(inner))),
        "sql" | "cel" | "data" => {
            *nodes += EXPRESSION_NODES - 1;
            expression(dialect, body, &at, faults).map(|program| Filter::Expr(Arc::new(program)))
        }
        _ => {
            faults.meaning(&at, "is not a filter dialect; topic, exact, prefix, suffix, all, any, not, sql, cel and data are");
            None
        }
    }
}

fn expression(dialect: &str, body: &Value, at: &str, faults: &mut Faults) -> Option<Program> {
    if dialect == "data" {
        return Program::data(body, at, faults);
    }
    let Some(source) = body.as_str() else {
        faults.shape(at, "must be a string, the expression");
        return None;
    };
    let read = if dialect == "sql" { Program::sql(source) } else { Program::cel(source) };
    read.map_err(|refusal| faults.meaning(at, refusal.to_string())).ok()
}

fn several(body: &Value, at: &str, faults: &mut Faults, depth: usize, nodes: &mut usize) -> Option<Vec<Filter>> {
    let items = body.as_array().filter(|items| !items.is_empty());
    let Some(items) = items else {
        faults.shape(at, "must be an array of at least one filter");
        return None;
    };
    if items.len() > MAX_NODES {
        faults.meaning(at, format!("at most {MAX_NODES} filters"));
        return None;
    }
    let read: Vec<_> = items.iter().enumerate().map(|(n, item)| node(item, &pointer(at, n), faults, depth + 1, nodes)).collect();
    read.into_iter().collect()
}

fn comparisons(body: &Value, at: &str, faults: &mut Faults, nodes: &mut usize) -> Option<Vec<Comparison>> {
    let pairs: Vec<(String, String)> = FromJson::from_json(body, at, faults)?;
    if pairs.is_empty() {
        faults.shape(at, "must name at least one attribute");
        return None;
    }
    *nodes += pairs.len() - 1;
    let mut read = Vec::with_capacity(pairs.len());
    for (attribute, text) in pairs {
        let at = pointer(at, &attribute);
        if attribute.is_empty() || !attribute.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()) {
            faults.meaning(&at, "attribute names are lower-case letters and digits (CloudEvents 1.0.2 §Naming)");
        } else if attribute == "data" {
            faults.meaning(&at, "`data` is not an attribute");
        } else if text.is_empty() || text.len() > 4096 {
            faults.meaning(&at, "must be compared with a text of 1 to 4096 bytes");
        } else {
            read.push(Comparison { attribute: attribute.into(), text: text.into() });
        }
    }
    Some(read)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::EventBuilder;
    use crate::filter::View;
    use serde_json::json;

    fn parse(value: Value) -> Result<Filter, String> {
        let mut faults = Faults::default();
        let filter = Filter::parse(&value, "/filters/0", &mut faults);
        faults.result("it", filter).map_err(|problem| problem.errors().first().map(|fault| fault.pointer.clone()).unwrap_or_default())
    }

    #[test]
    fn dialects_mean_what_the_specification_says() {
        let mut builder = EventBuilder::new("1", "/s", "order.created");
        builder.push("tenant", crate::event::AttrKind::String, "acme");
        let event = builder.build();
        for (filter, holds) in [
            (json!({"exact": {"type": "order.created", "tenant": "acme"}}), true),
            (json!({"exact": {"type": "order.created", "subject": "x"}}), false),
            (json!({"prefix": {"type": "order."}}), true),
            (json!({"suffix": {"type": "Created"}}), false),
            (json!({"not": {"exact": {"subject": "x"}}}), true),
            (json!({"any": [{"exact": {"type": "x"}}, {"topic": "orders.*"}]}), true),
            (json!({"all": [{"exact": {"topic": "orders.eu"}}, {"exact": {"specversion": "1.0"}}]}), true),
        ] {
            assert_eq!(parse(filter.clone()).expect("valid").matches(&View::new("orders.eu", &event)), holds, "{filter}");
        }
    }

    #[test]
    fn faults_name_their_place() {
        let deep = (0..20).fold(json!({"topic": "a"}), |inner, _| json!({"not": inner}));
        for (filter, place) in [
            (json!([]), "#/filters/0"),
            (json!({}), "#/filters/0"),
            (json!({"exact": {"type": ""}}), "#/filters/0/exact/type"),
            (json!({"exact": {"Type": "x"}}), "#/filters/0/exact/Type"),
            (json!({"any": []}), "#/filters/0/any"),
            (json!({"all": [{"nope": 1}]}), "#/filters/0/all/0/nope"),
            (json!({"exact": {"a": "1"}, "prefix": {"a": "1"}}), "#/filters/0"),
            (json!({"sql": 1}), "#/filters/0/sql"),
            (json!({"not": {"cel": "data.x ="}}), "#/filters/0/not/cel"),
            (json!({"data": {"/a": {"gt": null}}}), "#/filters/0/data/~1a/gt"),
        ] {
            assert_eq!(parse(filter).expect_err("faulty"), place);
        }
        assert!(parse(deep).is_err());
        let many = |count: usize| json!({"any": vec![json!({"sql": "a = 1"}); count]});
        assert!(parse(many(31)).is_ok() && parse(many(32)).is_err());
    }
}
