//! CEL's operators: no casts, numbers compare on one line, errors are values that `&&` and `||` may absorb.

use std::cmp::Ordering;
use std::rc::Rc;

use super::machine::{Halt, Machine};
use super::value::Value;
use super::why::Why;
use super::{equality, moments};
use crate::filter::expr::{Arithmetic, Compare};

type Done = Result<(), Halt>;

pub(super) fn not(machine: &mut Machine<'_>) {
    match machine.pop() {
        Value::Bool(value) => machine.push(Value::Bool(!value)),
        other => machine.push_or(other, Why::NoOverload),
    }
}

pub(super) fn negate(machine: &mut Machine<'_>) {
    let value = machine.pop();
    let negated = match value {
        Value::Int(value) => value.checked_neg().map(Value::Int),
        Value::Duration(value) => value.checked_neg().map(Value::Duration),
        Value::Double(_) | Value::Number(_) => value.as_double().map(|value| Value::Double(-value)),
        other => return machine.push_or(other, Why::NoOverload),
    };
    machine.push_result(negated.ok_or(Why::Overflow));
}

/// `&&` (decided by false) or `||` (decided by true) of the two topmost values.
pub(super) fn join(machine: &mut Machine<'_>, decides: bool) {
    let (right, left) = (machine.pop(), machine.pop());
    let joined = match (left, right) {
        (Value::Bool(value), _) | (_, Value::Bool(value)) if value == decides => Value::Bool(decides),
        (Value::Bool(_), Value::Bool(_)) => Value::Bool(!decides),
        (Value::Error(error), _) | (_, Value::Error(error)) => Value::Error(error),
        _ => Value::Error(machine.error(Why::NoBoolean)),
    };
    machine.push(joined);
}

pub(super) fn branch(machine: &mut Machine<'_>, otherwise: u16, end: u16) -> Option<u16> {
    match machine.pop() {
        Value::Bool(true) => None,
        Value::Bool(false) => Some(otherwise),
        other => {
            machine.push_or(other, Why::NoBoolean);
            Some(end)
        }
    }
}

/// The two topmost values, unless one is an error, which is then pushed.
pub(super) fn two<'a>(machine: &mut Machine<'a>) -> Option<(Value<'a>, Value<'a>)> {
    let (right, left) = (machine.pop(), machine.pop());
    match (left, right) {
        (error @ Value::Error(_), _) | (_, error @ Value::Error(_)) => {
            machine.push(error);
            None
        }
        both => Some(both),
    }
}

pub(super) fn compare(machine: &mut Machine<'_>, compare: Compare) -> Done {
    let Some((left, right)) = two(machine) else { return Ok(()) };
    if let Compare::Equal | Compare::NotEqual = compare {
        let equal = equality::equal(&left, &right, &mut machine.steps);
        let equal = machine.spent(equal)?;
        machine.push(Value::Bool(equal == (compare == Compare::Equal)));
        return Ok(());
    }
    machine.spend_bytes(left.as_text().map_or(0, str::len))?;
    let holds = order(&left, &right).map(|order| {
        Value::Bool(order.is_some_and(|order| match compare {
            Compare::Less => order.is_lt(),
            Compare::LessOrEqual => order.is_le(),
            Compare::Greater => order.is_gt(),
            _ => order.is_ge(),
        }))
    });
    machine.push_result(holds);
    Ok(())
}

/// The order of two values of kinds that have one; `Ok(None)` with NaN.
fn order(left: &Value<'_>, right: &Value<'_>) -> Result<Option<Ordering>, Why> {
    Ok(match (left, right) {
        (Value::Bool(left), Value::Bool(right)) => Some(left.cmp(right)),
        (Value::Bytes(left), Value::Bytes(right)) => Some(left.cmp(right)),
        (Value::Timestamp(left), Value::Timestamp(right)) => Some(left.cmp(right)),
        (Value::Duration(left), Value::Duration(right)) => Some(left.cmp(right)),
        (left, right) if left.is_numeric() && right.is_numeric() => match (left.as_number(), right.as_number()) {
            (Some(left), Some(right)) => Some(left.cmp(&right)),
            _ => None,
        },
        (left, right) => match (left.as_text(), right.as_text()) {
            (Some(left), Some(right)) => Some(left.cmp(right)),
            _ => return Err(Why::NoOverload),
        },
    })
}

pub(super) fn arithmetic(machine: &mut Machine<'_>, operator: Arithmetic) -> Done {
    let Some((left, right)) = two(machine) else { return Ok(()) };
    let result = match (&left, &right) {
        (Value::Int(left), Value::Int(right)) => integers(operator, *left, *right),
        (Value::Uint(left), Value::Uint(right)) => naturals(operator, *left, *right),
        (Value::Timestamp(_) | Value::Duration(_), _) | (_, Value::Timestamp(_)) => moments::arithmetic(operator, &left, &right),
        _ => match (left.as_double(), right.as_double()) {
            (Some(left), Some(right)) => doubles(operator, left, right),
            (None, None) if operator == Arithmetic::Add => return joined(machine, &left, &right),
            _ => Err(Why::NoOverload),
        },
    };
    machine.push_result(result);
    Ok(())
}

fn integers<'a>(operator: Arithmetic, left: i64, right: i64) -> Result<Value<'a>, Why> {
    if right == 0 && matches!(operator, Arithmetic::Divide | Arithmetic::Remainder) {
        return Err(Why::ZeroDivision);
    }
    let result = match operator {
        Arithmetic::Add => left.checked_add(right),
        Arithmetic::Subtract => left.checked_sub(right),
        Arithmetic::Multiply => left.checked_mul(right),
        Arithmetic::Divide => left.checked_div(right),
        Arithmetic::Remainder => left.checked_rem(right),
    };
    result.map(Value::Int).ok_or(Why::Overflow)
}

fn naturals<'a>(operator: Arithmetic, left: u64, right: u64) -> Result<Value<'a>, Why> {
    if right == 0 && matches!(operator, Arithmetic::Divide | Arithmetic::Remainder) {
        return Err(Why::ZeroDivision);
    }
    let result = match operator {
        Arithmetic::Add => left.checked_add(right),
        Arithmetic::Subtract => left.checked_sub(right),
        Arithmetic::Multiply => left.checked_mul(right),
        Arithmetic::Divide => left.checked_div(right),
        Arithmetic::Remainder => left.checked_rem(right),
    };
    result.map(Value::Uint).ok_or(Why::Overflow)
}

fn doubles<'a>(operator: Arithmetic, left: f64, right: f64) -> Result<Value<'a>, Why> {
    Ok(Value::Double(match operator {
        Arithmetic::Add => left + right,
        Arithmetic::Subtract => left - right,
        Arithmetic::Multiply => left * right,
        Arithmetic::Divide => left / right,
        // CEL has no remainder of doubles.
        Arithmetic::Remainder => return Err(Why::NoOverload),
    }))
}

/// `+` of texts, bytes and lists.
fn joined<'a>(machine: &mut Machine<'a>, left: &Value<'a>, right: &Value<'a>) -> Done {
    let result = match (left, right) {
        (Value::Bytes(left), Value::Bytes(right)) => {
            machine.spend_bytes(left.len() + right.len())?;
            Ok(Value::Bytes(left.iter().chain(right.iter()).copied().collect()))
        }
        (left, right) => match (left.as_text(), right.as_text()) {
            (Some(left), Some(right)) => {
                machine.spend_bytes(left.len() + right.len())?;
                Ok(Value::owned([left, right].concat()))
            }
            _ => match (left.elements(), right.elements()) {
                (Some(first), Some(second)) => {
                    let all: Rc<[Value<'a>]> = first.chain(second).collect();
                    machine.spend(all.len())?;
                    Ok(Value::List(all))
                }
                _ => Err(Why::NoOverload),
            },
        },
    };
    machine.push_result(result);
    Ok(())
}

pub(super) fn matches(machine: &mut Machine<'_>, pattern: u16) -> Done {
    let code = machine.code;
    let value = machine.pop();
    let Some(text) = value.as_text() else {
        machine.push_or(value, Why::NoOverload);
        return Ok(());
    };
    let found = code.patterns[usize::from(pattern)].is_match(text, &mut machine.steps);
    let found = machine.spent(found)?;
    machine.push(Value::Bool(found));
    Ok(())
}
