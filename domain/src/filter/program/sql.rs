//! CESQL's operators (§3.4) and casts (§3.7). An operand that has errors makes the operator's result its zero value.

use super::machine::{Halt, Machine};
use super::value::Value;
use super::why::Why;
use crate::filter::expr::{Arithmetic, Compare};

type Done = Result<(), Halt>;

/// A value cast to an integer.
pub(super) fn integer(value: &Value<'_>) -> Result<i32, Why> {
    match value {
        Value::Int(value) => i32::try_from(*value).map_err(|_| Why::CastInteger),
        Value::Bool(value) => Ok(i32::from(*value)),
        Value::Text(text) => text.parse().map_err(|_| Why::CastInteger),
        Value::Owned(text) => text.parse().map_err(|_| Why::CastInteger),
        _ => Err(Why::CastInteger),
    }
}

/// A value cast to a boolean.
pub(super) fn boolean(value: &Value<'_>) -> Result<bool, Why> {
    match value {
        Value::Bool(value) => Ok(*value),
        Value::Int(value) => Ok(*value != 0),
        other => match other.as_text() {
            Some(text) if text.eq_ignore_ascii_case("true") => Ok(true),
            Some(text) if text.eq_ignore_ascii_case("false") => Ok(false),
            _ => Err(Why::CastBoolean),
        },
    }
}

/// A value cast to a string; there is no failing.
pub(super) fn text(value: Value<'_>) -> Value<'_> {
    match value {
        Value::Int(value) => Value::owned(value.to_string()),
        Value::Bool(value) => Value::Text(if value { "true" } else { "false" }),
        other => other,
    }
}

/// What stands in for a result of the type that this value has.
pub(super) fn zero_bool<'a>() -> Value<'a> {
    Value::Bool(false)
}

fn zero_int<'a>() -> Value<'a> {
    Value::Int(0)
}

fn failed<'a>(value: Value<'a>) -> Value<'a> {
    Value::Failed(Box::new(value))
}

fn is_failed(value: &Value<'_>) -> bool {
    matches!(value, Value::Failed(_))
}

impl<'a> Machine<'a> {
    /// Pushes what came out; a failure is recorded with `zero` in its place.
    fn push_sql(&mut self, result: Result<Value<'a>, Why>, zero: Value<'a>) -> Done {
        match result {
            Ok(value) => {
                self.push(value);
                Ok(())
            }
            Err(why) => self.fail(why, zero),
        }
    }
}

pub(super) fn not(machine: &mut Machine<'_>) -> Done {
    let value = machine.pop();
    if is_failed(&value) {
        machine.push(failed(zero_bool()));
        return Ok(());
    }
    machine.push_sql(boolean(&value).map(|value| Value::Bool(!value)), zero_bool())
}

pub(super) fn negate(machine: &mut Machine<'_>) -> Done {
    let value = machine.pop();
    if is_failed(&value) {
        machine.push(failed(zero_int()));
        return Ok(());
    }
    let negated = integer(&value).and_then(|value| value.checked_neg().ok_or(Why::Overflow));
    machine.push_sql(negated.map(|value| Value::Int(value.into())), zero_int())
}

pub(super) fn to_bool(machine: &mut Machine<'_>) -> Done {
    match machine.pop() {
        value @ Value::Bool(_) => {
            machine.push(value);
            Ok(())
        }
        Value::Failed(_) => {
            machine.push(failed(zero_bool()));
            Ok(())
        }
        other => machine.push_sql(boolean(&other).map(Value::Bool), zero_bool()),
    }
}

/// Equality takes the right operand's type for both; order is one of integers.
pub(super) fn compare(machine: &mut Machine<'_>, compare: Compare) -> Done {
    let (right, left) = (machine.pop(), machine.pop());
    if is_failed(&left) || is_failed(&right) {
        machine.push(failed(zero_bool()));
        return Ok(());
    }
    let holds = match compare {
        Compare::Equal | Compare::NotEqual => {
            machine.spend_bytes(right.as_text().map_or(0, str::len))?;
            equal(left, &right).map(|equal| equal == (compare == Compare::Equal))
        }
        Compare::Less => ordered(&left, &right, |left, right| left < right),
        Compare::LessOrEqual => ordered(&left, &right, |left, right| left <= right),
        Compare::Greater => ordered(&left, &right, |left, right| left > right),
        Compare::GreaterOrEqual => ordered(&left, &right, |left, right| left >= right),
    };
    machine.push_sql(holds.map(Value::Bool), zero_bool())
}

/// Whether `value`, cast to the type of `model`, equals it.
fn equal(value: Value<'_>, model: &Value<'_>) -> Result<bool, Why> {
    match model {
        Value::Bool(model) => boolean(&value).map(|value| value == *model),
        Value::Int(model) => integer(&value).map(|value| i64::from(value) == *model),
        model => Ok(text(value).as_text() == model.as_text()),
    }
}

fn ordered(left: &Value<'_>, right: &Value<'_>, holds: fn(i32, i32) -> bool) -> Result<bool, Why> {
    Ok(holds(integer(left)?, integer(right)?))
}

pub(super) fn arithmetic(machine: &mut Machine<'_>, operator: Arithmetic) -> Done {
    let (right, left) = (machine.pop(), machine.pop());
    if is_failed(&left) || is_failed(&right) {
        machine.push(failed(zero_int()));
        return Ok(());
    }
    let result = integer(&left).and_then(|left| computed(operator, left, integer(&right)?));
    machine.push_sql(result.map(|value| Value::Int(value.into())), zero_int())
}

/// Truncated division, and a remainder with the sign of the left side (CESQL §3.4.2). Out of range is an error.
fn computed(operator: Arithmetic, left: i32, right: i32) -> Result<i32, Why> {
    let divides = matches!(operator, Arithmetic::Divide | Arithmetic::Remainder);
    if divides && right == 0 {
        return Err(Why::ZeroDivision);
    }
    match operator {
        Arithmetic::Add => left.checked_add(right),
        Arithmetic::Subtract => left.checked_sub(right),
        Arithmetic::Multiply => left.checked_mul(right),
        Arithmetic::Divide => left.checked_div(right),
        Arithmetic::Remainder => Some(left.wrapping_rem(right)),
    }
    .ok_or(Why::Overflow)
}

/// `AND` (decided by false) and `OR` (decided by true): whether to leave the other operands alone.
pub(super) fn short_circuit(machine: &mut Machine<'_>, decided: bool, to: u16) -> Result<Option<u16>, Halt> {
    to_bool(machine)?;
    match machine.stack.last() {
        Some(Value::Bool(value)) if *value != decided => {
            machine.pop();
            Ok(None)
        }
        // An operand with errors makes the result false, and false decides AND; nothing else could change OR either.
        _ => Ok(Some(to)),
    }
}

pub(super) fn xor(machine: &mut Machine<'_>) -> Done {
    let (right, left) = (machine.pop(), machine.pop());
    if is_failed(&left) || is_failed(&right) {
        machine.push(failed(zero_bool()));
        return Ok(());
    }
    let result = boolean(&left).and_then(|left| Ok(Value::Bool(left != boolean(&right)?)));
    machine.push_sql(result, zero_bool())
}

/// The left side is below the element. It stays there, marked when an element had errors, until one is equal.
pub(super) fn in_test(machine: &mut Machine<'_>, to: u16) -> Result<Option<u16>, Halt> {
    let (element, left) = (machine.pop(), machine.pop());
    if is_failed(&left) || is_failed(&element) {
        machine.push(failed(zero_bool()));
        return Ok(None);
    }
    machine.spend_bytes(left.as_text().map_or(0, str::len))?;
    match equal(element, &left) {
        Ok(true) => {
            machine.push(Value::Bool(true));
            Ok(Some(to))
        }
        Ok(false) => {
            machine.push(left);
            Ok(None)
        }
        Err(why) => machine.fail(why, zero_bool()).map(|()| None),
    }
}

pub(super) fn in_end(machine: &mut Machine<'_>) {
    let none = match machine.pop() {
        Value::Failed(_) => failed(zero_bool()),
        _ => zero_bool(),
    };
    machine.push(none);
}

pub(super) fn in_constants(machine: &mut Machine<'_>, first: u16, count: u16) -> Done {
    let code = machine.code;
    let left = machine.pop();
    if is_failed(&left) {
        machine.push(failed(zero_bool()));
        return Ok(());
    }
    machine.spend(usize::from(count))?;
    machine.spend_bytes(left.as_text().map_or(0, str::len))?;
    for constant in &code.constants[usize::from(first)..][..usize::from(count)] {
        match equal(Value::of_constant(constant), &left) {
            Ok(true) => {
                machine.push(Value::Bool(true));
                return Ok(());
            }
            Ok(false) => {}
            Err(why) => return machine.fail(why, zero_bool()),
        }
    }
    machine.push(zero_bool());
    Ok(())
}

pub(super) fn like(machine: &mut Machine<'_>, pattern: u16) -> Done {
    let code = machine.code;
    let value = machine.pop();
    if is_failed(&value) {
        machine.push(failed(zero_bool()));
        return Ok(());
    }
    let value = text(value);
    let fits = code.likes[usize::from(pattern)].matches(value.as_text().unwrap_or_default(), &mut machine.steps);
    let fits = machine.spent(fits)?;
    machine.push(Value::Bool(fits));
    Ok(())
}
