//! From what a program leaves to what a person is shown.

use base64::Engine as _;
use serde_json::{Map, Number as JsonNumber, Value as Json};

use super::machine::Machine;
use super::value::Value;
use super::why::Error;
use super::{Dialect, Program, moments};
use crate::filter::evaluation::{Evaluation, Fault};
use crate::filter::view::View;

/// Evaluates to the end and shows what came of it.
pub(super) fn evaluate(program: &Program, view: &View<'_>) -> Evaluation {
    let mut machine = Machine::new(&program.code, view, true);
    let result = machine.run();
    let mut errors = machine.errors.take().unwrap_or_default();
    let value = match result {
        Ok(Value::Error(error)) => {
            errors.push(error);
            Value::Null
        }
        Ok(Value::Failed(value)) => *value,
        Ok(value) => value,
        Err(halt) => {
            errors.push(halt.0);
            if program.dialect == Dialect::Sql { Value::Bool(false) } else { Value::Null }
        }
    };
    let ty = match (program.dialect, &value) {
        (Dialect::Sql, value) => sql_type(value),
        (_, Value::Null) if !errors.is_empty() => "error",
        (_, value) => value.type_name(),
    };
    let mut faults: Vec<Fault> = Vec::new();
    for error in errors {
        let fault = fault(program, error);
        if !faults.contains(&fault) {
            faults.push(fault);
        }
    }
    Evaluation { value: json(&value), ty, errors: faults }
}

fn sql_type(value: &Value<'_>) -> &'static str {
    match value {
        Value::Bool(_) => "boolean",
        Value::Int(_) => "integer",
        _ => "string",
    }
}

fn fault(program: &Program, error: Error) -> Fault {
    let span = program.code.spans.get(usize::from(error.op)).copied().unwrap_or_default();
    let text: String = span.of(&program.source).chars().take(100).collect();
    Fault { kind: error.why.kind(), at: span.start as usize, detail: format!("{}: `{text}`", error.why.detail()) }
}

/// As JSON; what JSON does not have becomes a text.
pub(super) fn json(value: &Value<'_>) -> Json {
    match value {
        Value::Null | Value::Error(_) => Json::Null,
        Value::Bool(value) => Json::Bool(*value),
        Value::Int(value) => Json::from(*value),
        Value::Uint(value) => Json::from(*value),
        Value::Double(value) => JsonNumber::from_f64(*value).map_or_else(|| Json::String(value.to_string()), Json::Number),
        Value::Number(number) => number.to_json(),
        Value::Bytes(bytes) => Json::String(base64::engine::general_purpose::STANDARD.encode(bytes)),
        Value::Doc(doc) => doc.to_value(),
        Value::Event(view) => Json::Object(view.names().filter_map(|name| Some((name.to_owned(), view.text(name)?.into()))).collect()),
        Value::List(list) => Json::Array(list.iter().map(json).collect()),
        Value::Map(map) => {
            let entry = |(key, value): &(Value<'_>, Value<'_>)| (key_text(key), json(value));
            Json::Object(map.iter().map(entry).collect::<Map<_, _>>())
        }
        Value::Timestamp(time) => Json::String(time.to_string()),
        Value::Duration(nanos) => Json::String(moments::write_duration(*nanos)),
        Value::Failed(value) => json(value),
        Value::Type(name) => Json::String((*name).to_owned()),
        Value::Text(_) | Value::Owned(_) => Json::String(value.as_text().unwrap_or_default().to_owned()),
    }
}

fn key_text(key: &Value<'_>) -> String {
    match json(key) {
        Json::String(text) => text,
        other => other.to_string(),
    }
}
