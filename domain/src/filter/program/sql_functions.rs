//! CESQL's functions (§3.5). Characters are code points and are counted from 1.

use smallvec::SmallVec;

use super::machine::{Halt, Machine};
use super::sql::{boolean, integer, text};
use super::value::Value;
use super::why::Why;
use crate::filter::expr::Function;

/// What a function gives: a value, or an error and what stands beside it.
type Outcome<'a> = Result<Value<'a>, (Why, Value<'a>)>;

/// Calls a function with the topmost values.
pub(super) fn call(machine: &mut Machine<'_>, function: Function, count: usize) -> Result<(), Halt> {
    let from = machine.stack.len() - count;
    let arguments: SmallVec<[Value<'_>; 4]> = machine.stack.drain(from..).collect();
    let bytes = arguments.iter().filter_map(Value::as_text).map(str::len).sum();
    machine.spend_bytes(bytes)?;
    if arguments.iter().any(|argument| matches!(argument, Value::Failed(_))) {
        machine.push(Value::Failed(Box::new(zero(function))));
        return Ok(());
    }
    match computed(function, arguments) {
        Ok(value) => {
            machine.push(value);
            Ok(())
        }
        Err((why, instead)) => machine.fail(why, instead),
    }
}

/// The zero value of the function's type.
fn zero<'a>(function: Function) -> Value<'a> {
    match function {
        Function::SqlInt | Function::SqlLength | Function::SqlAbs => Value::Int(0),
        Function::SqlBool | Function::SqlIsInt | Function::SqlIsBool => Value::Bool(false),
        _ => Value::Text(""),
    }
}

fn computed(function: Function, arguments: SmallVec<[Value<'_>; 4]>) -> Outcome<'_> {
    match function {
        Function::SqlConcat => return Ok(Value::owned(arguments.into_iter().map(text).fold(String::new(), joined))),
        Function::SqlConcatWs => return Ok(with_separator(arguments)),
        Function::SqlLeft | Function::SqlRight => return end(function, arguments),
        Function::SqlSubstring => return substring(arguments),
        _ => {}
    }
    let argument = arguments.into_iter().next().unwrap_or(Value::Null);
    match function {
        Function::SqlInt => integer(&argument).map(|value| Value::Int(value.into())).map_err(|why| (why, Value::Int(0))),
        Function::SqlBool => boolean(&argument).map(Value::Bool).map_err(|why| (why, Value::Bool(false))),
        Function::SqlIsInt => Ok(Value::Bool(integer(&argument).is_ok())),
        Function::SqlIsBool => Ok(Value::Bool(boolean(&argument).is_ok())),
        Function::SqlAbs => absolute(&argument),
        _ => Ok(of_text(function, text(argument))),
    }
}

fn of_text(function: Function, argument: Value<'_>) -> Value<'_> {
    let value = argument.as_text().unwrap_or_default();
    match function {
        Function::SqlLength => Value::Int(value.chars().count() as i64),
        Function::SqlLower => Value::owned(value.to_lowercase()),
        Function::SqlUpper => Value::owned(value.to_uppercase()),
        Function::SqlTrim => sliced(&argument, |text| text.trim()),
        _ => argument,
    }
}

/// A part of a text, borrowed where the text is.
fn sliced<'a>(value: &Value<'a>, part: impl for<'t> FnOnce(&'t str) -> &'t str) -> Value<'a> {
    match value {
        Value::Text(text) => Value::Text(part(text)),
        Value::Owned(text) => Value::owned(part(text)),
        _ => Value::Text(""),
    }
}

fn joined(mut all: String, value: Value<'_>) -> String {
    all.push_str(value.as_text().unwrap_or_default());
    all
}

fn with_separator(arguments: SmallVec<[Value<'_>; 4]>) -> Value<'_> {
    let mut texts = arguments.into_iter().map(text);
    let separator = texts.next().unwrap_or(Value::Text(""));
    let mut all = String::new();
    for (n, value) in texts.enumerate() {
        if n > 0 {
            all.push_str(separator.as_text().unwrap_or_default());
        }
        all.push_str(value.as_text().unwrap_or_default());
    }
    Value::owned(all)
}

/// Out of range gives the greatest integer and an error (§3.5.2).
fn absolute<'a>(argument: &Value<'_>) -> Outcome<'a> {
    let value = integer(argument).map_err(|why| (why, Value::Int(0)))?;
    match value.checked_abs() {
        Some(value) => Ok(Value::Int(value.into())),
        None => Err((Why::Overflow, Value::Int(i32::MAX.into()))),
    }
}

/// `LEFT` and `RIGHT`: with a negative count the whole text and an error.
fn end(function: Function, arguments: SmallVec<[Value<'_>; 4]>) -> Outcome<'_> {
    let mut arguments = arguments.into_iter();
    let (Some(value), Some(count)) = (arguments.next().map(text), arguments.next()) else { return Ok(Value::Text("")) };
    let count = integer(&count).map_err(|why| (why, Value::Text("")))?;
    let Ok(count) = usize::try_from(count) else { return Err((Why::NegativeCount, value)) };
    Ok(sliced(&value, |text| {
        if function == Function::SqlLeft {
            &text[..byte_of(text, count)]
        } else {
            &text[byte_of(text, text.chars().count().saturating_sub(count))..]
        }
    }))
}

/// Position 0 gives nothing; one outside of the text, or a negative length, is an error.
fn substring(arguments: SmallVec<[Value<'_>; 4]>) -> Outcome<'_> {
    let mut arguments = arguments.into_iter();
    let value = arguments.next().map_or(Value::Text(""), text);
    let mut number = || arguments.next().map(|value| integer(&value).map_err(|why| (why, Value::Text("")))).transpose();
    let (position, wanted) = (number()?.unwrap_or(0), number()?);
    let length = i64::try_from(value.as_text().unwrap_or_default().chars().count()).unwrap_or(i64::MAX);
    let position = i64::from(position);
    if position > length || position < -length {
        return Err((Why::OutsideText, Value::Text("")));
    }
    let wanted = match wanted.map(usize::try_from) {
        None => usize::MAX,
        Some(Ok(wanted)) => wanted,
        Some(Err(_)) => return Err((Why::NegativeCount, Value::Text(""))),
    };
    if position == 0 {
        return Ok(Value::Text(""));
    }
    let skipped = if position > 0 { position - 1 } else { length + position };
    Ok(sliced(&value, |text| {
        let rest = &text[byte_of(text, usize::try_from(skipped).unwrap_or(usize::MAX))..];
        &rest[..byte_of(rest, wanted)]
    }))
}

/// Where the character of this number starts, or the end.
fn byte_of(text: &str, character: usize) -> usize {
    text.char_indices().nth(character).map_or(text.len(), |(at, _)| at)
}
