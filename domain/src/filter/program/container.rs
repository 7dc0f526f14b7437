//! CEL's lists and maps: those of the data, those written down, and the event.

use std::rc::Rc;

use super::equality;
use super::machine::{Halt, Machine};
use super::value::Value;
use super::why::Why;
use crate::filter::number::Number;
use crate::json::{Doc, Kind};

type Done = Result<(), Halt>;

/// Members or elements that a look-up passes in one step.
const PASSED: usize = 4;

/// A place in the data.
pub(super) fn data(machine: &mut Machine<'_>, pointer: u16, strict: bool) -> Done {
    let found = find(machine, pointer, strict, 0)?.map(Value::of_doc);
    machine.push_result(found);
    Ok(())
}

/// Whether the place is there. In CEL what it is a part of must be there, and be a map.
pub(super) fn data_exists(machine: &mut Machine<'_>, pointer: u16, strict: bool) -> Done {
    let result = match find(machine, pointer, strict, 0)? {
        Ok(_) => Ok(Value::Bool(true)),
        Err(_) if !strict => Ok(Value::Bool(false)),
        Err(why) => match find(machine, pointer, strict, 1)? {
            Ok(parent) if parent.kind() == Kind::Object => Ok(Value::Bool(false)),
            _ => Err(why),
        },
    };
    machine.push_result(result);
    Ok(())
}

/// Follows a pointer, but for its last steps. Strict: names lead into maps, numbers into lists.
fn find<'a>(machine: &mut Machine<'a>, pointer: u16, strict: bool, but: usize) -> Result<Result<Doc<'a>, Why>, Halt> {
    let code = machine.code;
    let pointer = &code.pointers[usize::from(pointer)];
    let Some(mut value) = machine.view.data else { return Ok(Err(Why::MissingPlace)) };
    let steps = pointer.tokens().count().saturating_sub(but);
    for token in pointer.tokens().take(steps) {
        machine.spend(value.len() / PASSED)?;
        let next = match (value.kind(), token.index()) {
            (Kind::Object, Some(_)) if strict => Err(Why::NoKey),
            (Kind::Object, _) => value.get(token.key()).ok_or(Why::MissingPlace),
            (Kind::Array, Some(index)) => value.at(index).ok_or(Why::OutsideList),
            (Kind::Array, None) if !strict => Err(Why::MissingPlace),
            _ if strict => Err(Why::NoOverload),
            _ => Err(Why::MissingPlace),
        };
        match next {
            Ok(next) => value = next,
            Err(why) => return Ok(Err(why)),
        }
    }
    Ok(Ok(value))
}

pub(super) fn field(machine: &mut Machine<'_>, name: u16) -> Done {
    let name = Value::Text(&machine.code.texts[usize::from(name)]);
    let of = machine.pop();
    if !of.is_map() {
        machine.push_or(of, Why::NoOverload);
        return Ok(());
    }
    machine.spend(of.len().unwrap_or(0) / PASSED)?;
    machine.push_result(of.get(&name));
    Ok(())
}

pub(super) fn has_field(machine: &mut Machine<'_>, name: u16) -> Done {
    let name = Value::Text(&machine.code.texts[usize::from(name)]);
    let of = machine.pop();
    if !of.is_map() {
        machine.push_or(of, Why::NoOverload);
        return Ok(());
    }
    machine.spend(of.len().unwrap_or(0) / PASSED)?;
    machine.push(Value::Bool(of.get(&name).is_ok()));
    Ok(())
}

pub(super) fn element(machine: &mut Machine<'_>) -> Done {
    let Some((of, key)) = super::cel::two(machine) else { return Ok(()) };
    machine.spend(of.len().unwrap_or(0) / PASSED)?;
    machine.push_result(of.get(&key));
    Ok(())
}

pub(super) fn is_in(machine: &mut Machine<'_>) -> Done {
    let Some((value, container)) = super::cel::two(machine) else { return Ok(()) };
    if container.is_map() {
        machine.spend(container.len().unwrap_or(0))?;
        machine.push(Value::Bool(container.get(&value).is_ok()));
        return Ok(());
    }
    let Some(elements) = container.elements() else {
        machine.push_error(Why::NoOverload);
        return Ok(());
    };
    for element in elements {
        let equal = equality::equal(&value, &element, &mut machine.steps);
        if machine.spent(equal)? {
            machine.push(Value::Bool(true));
            return Ok(());
        }
    }
    machine.push(Value::Bool(false));
    Ok(())
}

pub(super) fn in_constants(machine: &mut Machine<'_>, first: u16, count: u16) -> Done {
    let code = machine.code;
    let value = machine.pop();
    if let Value::Error(_) = value {
        machine.push(value);
        return Ok(());
    }
    for constant in &code.constants[usize::from(first)..][..usize::from(count)] {
        let equal = equality::equal(&value, &Value::of_constant(constant), &mut machine.steps);
        if machine.spent(equal)? {
            machine.push(Value::Bool(true));
            return Ok(());
        }
    }
    machine.push(Value::Bool(false));
    Ok(())
}

/// A list of the topmost values; an error among them wins.
pub(super) fn list(machine: &mut Machine<'_>, count: usize) -> Done {
    machine.spend(count)?;
    let from = machine.stack.len() - count;
    let elements: Rc<[Value<'_>]> = machine.stack.drain(from..).collect();
    let error = elements.iter().find(|element| matches!(element, Value::Error(_))).cloned();
    machine.push(error.unwrap_or(Value::List(elements)));
    Ok(())
}

/// A map of the topmost values, key and value in turns.
pub(super) fn map(machine: &mut Machine<'_>, count: usize) -> Done {
    machine.spend(count * count)?;
    let from = machine.stack.len() - 2 * count;
    let parts: Vec<Value<'_>> = machine.stack.drain(from..).collect();
    if let Some(error) = parts.iter().find(|part| matches!(part, Value::Error(_))) {
        machine.push(error.clone());
        return Ok(());
    }
    let mut parts = parts.into_iter();
    let mut entries: Vec<(Value<'_>, Value<'_>)> = Vec::with_capacity(count);
    while let (Some(key), Some(value)) = (parts.next(), parts.next()) {
        if !key.is_key() || entries.iter().any(|(known, _)| known.is_same_key(&key)) {
            machine.push_error(Why::NoKey);
            return Ok(());
        }
        entries.push((key, value));
    }
    machine.push(Value::Map(entries.into()));
    Ok(())
}

impl<'a> Value<'a> {
    pub(super) fn is_map(&self) -> bool {
        match self {
            Self::Doc(doc) => doc.kind() == Kind::Object,
            Self::Map(_) | Self::Event(_) => true,
            _ => false,
        }
    }

    pub(super) fn is_numeric(&self) -> bool {
        matches!(self, Self::Int(_) | Self::Uint(_) | Self::Double(_) | Self::Number(_))
    }

    /// What may be a key of a written map: bool, int, uint, string.
    fn is_key(&self) -> bool {
        matches!(self, Self::Bool(_) | Self::Int(_) | Self::Uint(_) | Self::Text(_) | Self::Owned(_))
    }

    fn is_same_key(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Bool(left), Self::Bool(right)) => left == right,
            (left, right) => match (left.as_text(), right.as_text()) {
                (Some(left), Some(right)) => left == right,
                (None, None) => left.as_number().is_some_and(|left| right.as_number() == Some(left)),
                _ => false,
            },
        }
    }

    /// How many elements or members a list or a map has.
    pub(super) fn len(&self) -> Option<usize> {
        match self {
            Self::Doc(doc) => Some(doc.len()),
            Self::List(list) => Some(list.len()),
            Self::Map(map) => Some(map.len()),
            Self::Event(view) => Some(view.names().count()),
            _ => None,
        }
    }

    /// The elements of a list.
    pub(super) fn elements(&self) -> Option<Box<dyn Iterator<Item = Self> + 'a>> {
        match self {
            Self::Doc(doc) if doc.kind() == Kind::Array => Some(Box::new(doc.elements().map(Self::of_doc))),
            Self::List(list) => {
                let list = Rc::clone(list);
                Some(Box::new((0..list.len()).map(move |at| list[at].clone())))
            }
            _ => None,
        }
    }

    /// The value at a key or an index.
    pub(super) fn get(&self, key: &Self) -> Result<Self, Why> {
        match self {
            Self::Doc(doc) if doc.kind() == Kind::Object => key.as_text().and_then(|key| doc.get(key)).map(Self::of_doc).ok_or(Why::NoKey),
            Self::Doc(doc) => doc.at(index(key)?).map(Self::of_doc).ok_or(Why::OutsideList),
            Self::List(list) => list.get(index(key)?).cloned().ok_or(Why::OutsideList),
            Self::Map(map) => map.iter().find(|(known, _)| known.is_same_key(key)).map(|(_, value)| value.clone()).ok_or(Why::NoKey),
            Self::Event(view) => key.as_text().and_then(|key| view.attribute(key)).map(Self::of_attribute).ok_or(Why::MissingAttribute),
            _ => Err(Why::NoOverload),
        }
    }
}

/// A whole number as an index.
fn index(key: &Value<'_>) -> Result<usize, Why> {
    let number: Number = key.as_number().ok_or(Why::NoOverload)?;
    number.as_usize().ok_or(Why::OutsideList)
}
