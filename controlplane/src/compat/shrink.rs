//! Makes a value smaller as long as something holds of it.

use serde_json::{Value, json};

/// Attempts for one value.
const MAX_TRIES: usize = 600;

/// The places in a value, the whole first; each as the names and numbers that lead to it.
pub(super) fn places(value: &Value) -> Vec<Vec<String>> {
    let mut found = vec![Vec::new()];
    let mut at = 0;
    while let Some(place) = found.get(at).cloned() {
        at += 1;
        if found.len() > 500 {
            break;
        }
        match value.pointer(&pointer(&place)) {
            Some(Value::Object(members)) => found.extend(members.keys().map(|name| [place.clone(), vec![name.clone()]].concat())),
            Some(Value::Array(items)) => found.extend((0..items.len()).map(|index| [place.clone(), vec![index.to_string()]].concat())),
            _ => {}
        }
    }
    found
}

/// The place as a JSON pointer.
pub(super) fn pointer(place: &[String]) -> String {
    place.iter().map(|part| format!("/{}", part.replace('~', "~0").replace('/', "~1"))).collect()
}

/// The value at the place.
pub(super) fn at_mut<'v>(value: &'v mut Value, place: &[String]) -> Option<&'v mut Value> {
    value.pointer_mut(&pointer(place))
}

/// The smallest value that a few steps lead to and of which `holds` still says yes.
pub(super) fn shrunk(mut value: Value, mut holds: impl FnMut(&Value) -> bool) -> Value {
    let mut tries = 0;
    loop {
        let better = smaller(&value).into_iter().take_while(|_| {
            tries += 1;
            tries < MAX_TRIES
        });
        let better = better.into_iter().find(|candidate| holds(candidate));
        match better {
            Some(candidate) => value = candidate,
            None => return value,
        }
    }
}

/// What is one step smaller.
fn smaller(value: &Value) -> Vec<Value> {
    let mut all = Vec::new();
    for place in places(value) {
        if let Some((last, parent)) = place.split_last() {
            let mut less = value.clone();
            match at_mut(&mut less, parent) {
                Some(Value::Object(members)) => drop(members.remove(last)),
                Some(Value::Array(items)) => drop(last.parse().ok().filter(|at: &usize| *at < items.len()).map(|at| items.remove(at))),
                _ => continue,
            }
            all.push(less);
        }
        let here = value.pointer(&pointer(&place)).unwrap_or(&Value::Null);
        if !place.is_empty() && (here.is_object() || here.is_array()) {
            // Of a value within its like the inner one may do.
            all.push(here.clone());
        }
        for simple in simpler(here) {
            let mut less = value.clone();
            if let Some(place) = at_mut(&mut less, &place) {
                *place = simple;
                all.push(less);
            }
        }
    }
    all
}

fn simpler(value: &Value) -> Vec<Value> {
    match value {
        Value::Object(members) if !members.is_empty() => vec![json!({})],
        Value::Array(items) if !items.is_empty() => vec![json!([])],
        Value::String(text) if !text.is_empty() => {
            let half = text.chars().count() / 2;
            let shorter = [0, 1, half, half + 1, text.chars().count() - 1];
            shorter
                .into_iter()
                .filter(|length| *length < text.chars().count())
                .map(|length| json!(text.chars().take(length).collect::<String>()))
                .collect()
        }
        Value::Number(number) if number.as_i64().is_some_and(|int| int.abs() > 1) => {
            let int = number.as_i64().unwrap_or_default();
            vec![json!(0), json!(1), json!(int / 2), json!(int - int.signum())]
        }
        Value::Number(number) if number.as_i64().is_none() => {
            vec![json!(0), json!(1), json!(number.as_f64().unwrap_or_default().trunc() as i64)]
        }
        _ => Vec::new(),
    }
}
