//! CEL's functions and conversions (CEL §Standard Definitions).

use std::rc::Rc;

use jiff::Timestamp;
use memchr::memmem;

use super::machine::{Halt, Machine};
use super::moments;
use super::value::Value;
use super::why::Why;
use crate::filter::expr::Function;

/// Calls a function with the topmost values; an error among them wins.
pub(super) fn call(machine: &mut Machine<'_>, function: Function, count: usize) -> Result<(), Halt> {
    let second = if count == 2 { Some(machine.pop()) } else { None };
    let first = machine.pop();
    for argument in [Some(&first), second.as_ref()].into_iter().flatten() {
        if let Value::Error(_) = argument {
            let error = argument.clone();
            machine.push(error);
            return Ok(());
        }
        machine.spend_bytes(argument.as_text().map_or(0, str::len))?;
    }
    let result = match second {
        Some(second) => of_two(function, &first, &second),
        None => of_one(function, first),
    };
    machine.push_result(result);
    Ok(())
}

fn of_two<'a>(function: Function, first: &Value<'a>, second: &Value<'a>) -> Result<Value<'a>, Why> {
    let (Some(text), Some(part)) = (first.as_text(), second.as_text()) else { return Err(Why::NoOverload) };
    Ok(Value::Bool(match function {
        Function::StartsWith => text.starts_with(part),
        Function::EndsWith => text.ends_with(part),
        Function::Contains => memmem::find(text.as_bytes(), part.as_bytes()).is_some(),
        _ => return Err(Why::NoOverload),
    }))
}

fn of_one(function: Function, value: Value<'_>) -> Result<Value<'_>, Why> {
    match function {
        Function::Lower => text(&value).map(|text| Value::owned(text.to_lowercase())),
        Function::Upper => text(&value).map(|text| Value::owned(text.to_uppercase())),
        Function::LowerAscii => text(&value).map(|text| Value::owned(text.to_ascii_lowercase())),
        Function::UpperAscii => text(&value).map(|text| Value::owned(text.to_ascii_uppercase())),
        Function::Trim => text(&value).map(|text| Value::owned(text.trim())),
        Function::Size => size(&value),
        Function::ToInt => to_int(&value),
        Function::ToUint => to_uint(&value),
        Function::ToDouble => to_double(&value),
        Function::ToString => to_text(value),
        Function::ToBool => to_bool(&value),
        Function::ToBytes => match value {
            Value::Bytes(_) => Ok(value),
            value => text(&value).map(|text| Value::Bytes(Rc::from(text.as_bytes()))),
        },
        Function::ToTimestamp => to_timestamp(&value),
        Function::ToDuration => match value {
            Value::Duration(_) => Ok(value),
            value => moments::duration(text(&value)?).map(Value::Duration),
        },
        Function::TypeOf => Ok(Value::Type(value.type_name())),
        Function::Dyn => Ok(value),
        part => moments::part(part, &value),
    }
}

fn text<'v>(value: &'v Value<'_>) -> Result<&'v str, Why> {
    value.as_text().ok_or(Why::NoOverload)
}

fn size<'a>(value: &Value<'_>) -> Result<Value<'a>, Why> {
    let size = match value {
        Value::Bytes(bytes) => bytes.len(),
        value => match value.as_text() {
            Some(text) => text.chars().count(),
            None => value.len().ok_or(Why::NoOverload)?,
        },
    };
    i64::try_from(size).map(Value::Int).map_err(|_| Why::Overflow)
}

/// Doubles are cut towards zero; what does not fit is an error.
fn to_int<'a>(value: &Value<'_>) -> Result<Value<'a>, Why> {
    let whole = match value {
        Value::Int(value) => Some(*value),
        Value::Uint(value) => i64::try_from(*value).ok(),
        Value::Timestamp(time) => Some(time.as_second()),
        // The least integer may have been another double before it was rounded: CEL calls it out of range.
        Value::Double(value) if *value <= i64::MIN as f64 => None,
        Value::Double(_) | Value::Number(_) => match value.as_number() {
            Some(number) => number.trunc_i64(),
            None => None,
        },
        value => return text(value)?.parse().map(Value::Int).map_err(|_| Why::Conversion),
    };
    whole.map(Value::Int).ok_or(Why::Overflow)
}

fn to_uint<'a>(value: &Value<'_>) -> Result<Value<'a>, Why> {
    let whole = match value {
        Value::Uint(value) => Some(*value),
        Value::Int(value) => u64::try_from(*value).ok(),
        Value::Double(_) | Value::Number(_) => match value.as_number() {
            Some(number) => number.trunc_u64(),
            None => None,
        },
        value => return text(value)?.parse().map(Value::Uint).map_err(|_| Why::Conversion),
    };
    whole.map(Value::Uint).ok_or(Why::Overflow)
}

fn to_double<'a>(value: &Value<'_>) -> Result<Value<'a>, Why> {
    match value {
        Value::Double(value) => Ok(Value::Double(*value)),
        Value::Int(_) | Value::Uint(_) | Value::Number(_) => {
            value.as_number().map(|number| Value::Double(number.as_f64())).ok_or(Why::Conversion)
        }
        value => text(value)?.parse().map(Value::Double).map_err(|_| Why::Conversion),
    }
}

fn to_text(value: Value<'_>) -> Result<Value<'_>, Why> {
    Ok(match value {
        Value::Text(_) | Value::Owned(_) => value,
        Value::Bool(value) => Value::Text(if value { "true" } else { "false" }),
        Value::Int(value) => Value::owned(value.to_string()),
        Value::Uint(value) => Value::owned(value.to_string()),
        Value::Double(value) => Value::owned(value.to_string()),
        Value::Number(number) => Value::owned(number.to_string()),
        Value::Bytes(bytes) => Value::owned(std::str::from_utf8(&bytes).map_err(|_| Why::Conversion)?),
        Value::Timestamp(time) => Value::owned(time.to_string()),
        Value::Duration(nanos) => Value::owned(moments::write_duration(nanos)),
        _ => return Err(Why::NoOverload),
    })
}

fn to_bool<'a>(value: &Value<'_>) -> Result<Value<'a>, Why> {
    match value {
        Value::Bool(value) => Ok(Value::Bool(*value)),
        value => match text(value)? {
            "1" | "t" | "T" | "true" | "True" | "TRUE" => Ok(Value::Bool(true)),
            "0" | "f" | "F" | "false" | "False" | "FALSE" => Ok(Value::Bool(false)),
            _ => Err(Why::Conversion),
        },
    }
}

/// From RFC 3339, or from seconds since 1970.
fn to_timestamp<'a>(value: &Value<'_>) -> Result<Value<'a>, Why> {
    match value {
        Value::Timestamp(time) => Ok(Value::Timestamp(*time)),
        Value::Int(seconds) => Timestamp::from_second(*seconds).map(Value::Timestamp).map_err(|_| Why::Overflow),
        value => moments::timestamp(text(value)?).map(Value::Timestamp),
    }
}
