//! Reads a JSON body: no duplicate members, faults with line and column.

use std::fmt;

use posthorn_domain::problem::{Code, Problem};
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// The document. Nested at most 128 deep, as serde_json has it.
pub(crate) fn parse(body: &[u8]) -> Result<Value, Problem> {
    if body.is_empty() {
        return Err(Problem::new(Code::InvalidRequest, "the body is empty; it must be a JSON document"));
    }
    let strict: Strict = serde_json::from_slice(body)
        .map_err(|error| Problem::new(Code::InvalidRequest, format!("the body is not acceptable JSON: {error}")))?;
    Ok(strict.0)
}

struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Strict;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Strict, E> {
        Ok(Strict(Value::Null))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Strict, E> {
        Ok(Strict(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Strict, E> {
        Ok(Strict(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Strict, E> {
        Ok(Strict(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Strict, E> {
        Number::from_f64(value).map(|number| Strict(Value::Number(number))).ok_or_else(|| E::custom("number out of range"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Strict, E> {
        Ok(Strict(value.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Strict, A::Error> {
        let mut items = Vec::new();
        while let Some(Strict(item)) = access.next_element()? {
            items.push(item);
        }
        Ok(Strict(Value::Array(items)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Strict, A::Error> {
        let mut map = Map::new();
        while let Some(name) = access.next_key::<String>()? {
            if map.contains_key(&name) {
                return Err(A::Error::custom(format_args!("duplicate member `{}`", name.chars().take(100).collect::<String>())));
            }
            let Strict(value) = access.next_value()?;
            map.insert(name, value);
        }
        Ok(Strict(Value::Object(map)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn reads_json_and_says_where_it_is_none() {
        assert_eq!(parse(br#"{"a": [1, -2, 1.5, null, true, "x"]}"#).expect("reads"), json!({"a": [1, -2, 1.5, null, true, "x"]}));
        for (body, said) in [
            ("{\n  \"a\": 1,\n  \"a\": 2\n}", "duplicate member `a` at line 3 column 5"),
            ("{\n x}", "line 2 column 2"),
            ("1 2", "line 1 column 3"),
            ("1e999", "out of range"),
            ("", "empty"),
        ] {
            let problem = parse(body.as_bytes()).expect_err("faulty");
            assert!(problem.detail().contains(said), "{body}: {problem}");
        }
        assert!(parse("[".repeat(10_000).as_bytes()).is_err());
    }
}
