//! Whether a value fits a shape. For the few values that a schema lists itself; data is checked by compiled schemas.

use serde_json::Value;

use super::patterns::Patterns;
use super::shape::{Array, Id, Number, Object, Shape, Shapes, Types, equal};

/// Circles on one value end here.
const MAX_DEPTH: usize = 64;

/// `None` where that is not known.
pub(super) fn holds(value: &Value, id: Id, shapes: &Shapes, patterns: &Patterns) -> Option<bool> {
    Check { shapes, patterns }.shape(value, id, 0)
}

struct Check<'a> {
    shapes: &'a Shapes,
    patterns: &'a Patterns,
}

/// All, some unknown, or one not.
fn every(checks: impl IntoIterator<Item = Option<bool>>) -> Option<bool> {
    let mut all = Some(true);
    for check in checks {
        match check {
            Some(false) => return Some(false),
            None => all = None,
            Some(true) => {}
        }
    }
    all
}

fn count(checks: impl IntoIterator<Item = Option<bool>>) -> Option<u64> {
    checks.into_iter().try_fold(0, |sum, check| check.map(|holds| sum + u64::from(holds)))
}

impl Check<'_> {
    fn shape(&self, value: &Value, id: Id, depth: usize) -> Option<bool> {
        if depth > MAX_DEPTH {
            return None;
        }
        let shape = self.shapes.get(id);
        let listed = shape.values.as_ref().is_none_or(|values| values.iter().any(|one| equal(one, value)));
        if shape.never || !shape.types.has(Types::of(value)) || !listed {
            return Some(false);
        }
        let known = if shape.opaque.is_empty() && shape.formats.is_empty() { Some(true) } else { None };
        every([known, self.scalar(value, shape), self.parts(value, shape, depth), self.combined(value, shape, depth)])
    }

    fn scalar(&self, value: &Value, shape: &Shape) -> Option<bool> {
        match value {
            Value::Number(number) => {
                let number = Number::of(number);
                let above = shape.min.is_none_or(|min| number > min.at || (number == min.at && !min.open));
                let below = shape.max.is_none_or(|max| number < max.at || (number == max.at && !max.open));
                let multiple = shape.multiples.iter().all(|multiple| is_multiple(number.float(), *multiple));
                Some(above && below && multiple)
            }
            Value::String(text) => {
                let fits = shape.patterns.iter().all(|pattern| self.patterns.fits(pattern, text));
                Some(fits && shape.length.has(text.chars().count() as u64))
            }
            _ => Some(true),
        }
    }

    fn parts(&self, value: &Value, shape: &Shape, depth: usize) -> Option<bool> {
        match (value, &shape.array, &shape.object) {
            (Value::Array(items), Some(array), _) => self.array(items, array, depth),
            (Value::Object(members), _, Some(object)) => self.object(value, members, object, depth),
            _ => Some(true),
        }
    }

    fn array(&self, items: &[Value], array: &Array, depth: usize) -> Option<bool> {
        let distinct = !array.unique || items.iter().enumerate().all(|(n, a)| !items[..n].iter().any(|b| equal(a, b)));
        if !distinct || !array.size.has(items.len() as u64) {
            return Some(false);
        }
        let each = items.iter().enumerate().filter_map(|(index, item)| {
            let id = array.prefix.get(index).copied().or(array.rest)?;
            Some(self.shape(item, id, depth + 1))
        });
        let contained =
            array.contains.iter().map(|(id, range)| Some(range.has(count(items.iter().map(|item| self.shape(item, *id, depth + 1)))?)));
        every(each.chain(contained))
    }

    fn object(&self, value: &Value, members: &serde_json::Map<String, Value>, object: &Object, depth: usize) -> Option<bool> {
        let needed = object.needs.iter().filter(|(name, _)| members.contains_key(*name)).flat_map(|(_, needed)| needed);
        let there = object.required.iter().chain(needed).all(|name| members.contains_key(name));
        if !there || !object.size.has(members.len() as u64) {
            return Some(false);
        }
        let with = object.with.iter().filter(|(name, _)| members.contains_key(name)).map(|(_, id)| self.shape(value, *id, depth + 1));
        let each = members.iter().map(|(name, member)| self.member(name, member, object, depth + 1));
        every(with.chain(each))
    }

    fn member(&self, name: &str, member: &Value, object: &Object, depth: usize) -> Option<bool> {
        let own = object.members.get(name).copied();
        let by_pattern = object.patterns.iter().filter(|(pattern, _)| self.patterns.fits(pattern, name)).map(|(_, id)| *id);
        let left = object
            .rest
            .iter()
            .filter(|rest| !rest.but.contains(name) && !rest.but_patterns.iter().any(|pattern| self.patterns.fits(pattern, name)));
        let text = Value::String(name.to_owned());
        let names = object.names.iter().map(|id| self.shape(&text, *id, depth));
        every(own.into_iter().chain(by_pattern).chain(left.map(|rest| rest.shape)).map(|id| self.shape(member, id, depth)).chain(names))
    }

    fn combined(&self, value: &Value, shape: &Shape, depth: usize) -> Option<bool> {
        let check = |id: &Id| self.shape(value, *id, depth + 1);
        let any = shape.any.iter().map(|group| every(group.iter().map(|id| check(id).map(|holds| !holds))).map(|none| !none));
        let one = shape.one.iter().map(|group| count(group.iter().map(check)).map(|count| count == 1));
        let not = shape.not.iter().map(|id| check(id).map(|holds| !holds));
        let cond = shape.cond.iter().map(|(condition, then, other)| {
            let branch = if check(condition)? { then } else { other };
            branch.as_ref().map_or(Some(true), check)
        });
        every(shape.all.iter().map(check).chain(any).chain(one).chain(not).chain(cond))
    }
}

/// Whether it is a multiple, within what floating point can tell.
pub(super) fn is_multiple(number: f64, of: f64) -> bool {
    let times = number / of;
    times.is_finite() && (times - times.round()).abs() < 1e-9 * times.abs().max(1.0)
}
