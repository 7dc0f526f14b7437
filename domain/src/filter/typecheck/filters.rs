//! From filters of all dialects to what can never hold.

use super::attribute::Known;
use super::compare::Outcome;
use super::shape::Shape;
use super::truth::{Judge, Truth};
use super::why::{self, Why};
use super::{Finding, Position};
use crate::fields::pointer;
use crate::filter::{Comparison, Dialect, Filter, Program};

/// The first filter that can never hold.
pub(super) fn first_never(filters: &[Filter], at: &str, topic: Option<&str>, shape: Option<&Shape<'_>>) -> Option<Finding> {
    filters.iter().enumerate().find_map(|(number, filter)| {
        let at = pointer(at, number);
        let Truth { outcome, why } = truth(filter, &at, topic, shape);
        if outcome.yes {
            return None;
        }
        let why = why.map_or_else(|| Why::new("can never hold"), |why| *why);
        Some(finding(number, &at, filter, why))
    })
}

fn finding(number: usize, at: &str, filter: &Filter, why: Why) -> Finding {
    let Why { span, path, nearest, detail, pointer } = why;
    let pointer = pointer.unwrap_or_else(|| at.to_owned());
    let program = program_at(filter, at, &pointer);
    let position = program.zip(span).filter(|(program, _)| program.dialect() != Dialect::Data);
    let detail = match &position {
        Some((program, span)) => format!("`{}`: {detail}", short(span.of(program.source()))),
        None => detail,
    };
    let position = position.map(|(program, span)| Position::of(program.source(), span.start as usize));
    Finding { filter: number, pointer: format!("#{pointer}"), position, path, nearest, schema: None, detail }
}

fn short(text: &str) -> String {
    let text = text.trim();
    if text.chars().count() > 120 { format!("{}…", text.chars().take(120).collect::<String>()) } else { text.to_owned() }
}

/// The program that stands at the place.
fn program_at<'f>(filter: &'f Filter, at: &str, wanted: &str) -> Option<&'f Program> {
    match filter {
        Filter::All(filters) | Filter::Any(filters) => {
            let name = if matches!(filter, Filter::All(_)) { "all" } else { "any" };
            let below = pointer(at, name);
            filters.iter().enumerate().find_map(|(number, filter)| program_at(filter, &pointer(&below, number), wanted))
        }
        Filter::Not(inner) => program_at(inner, &pointer(at, "not"), wanted),
        Filter::Expr(program) if wanted.starts_with(&pointer(at, program.dialect().name())) => Some(program),
        _ => None,
    }
}

fn truth(filter: &Filter, at: &str, topic: Option<&str>, shape: Option<&Shape<'_>>) -> Truth {
    let several = |filters: &[Filter], name: &str| -> Vec<Truth> {
        let below = pointer(at, name);
        filters.iter().enumerate().map(|(number, filter)| truth(filter, &pointer(&below, number), topic, shape)).collect()
    };
    match filter {
        Filter::Topic(pattern) => match topic {
            Some(topic) => {
                Truth::of(Outcome::fixed(pattern.matches(topic)), || placed(&pointer(at, "topic"), format!("the topic is `{topic}`")))
            }
            None => Truth::UNKNOWN,
        },
        Filter::Exact(wanted) => attributes(wanted, &pointer(at, "exact"), topic, |value, text| value == text),
        Filter::Prefix(wanted) => attributes(wanted, &pointer(at, "prefix"), topic, |value, text| value.starts_with(text)),
        Filter::Suffix(wanted) => attributes(wanted, &pointer(at, "suffix"), topic, |value, text| value.ends_with(text)),
        Filter::All(filters) => Truth::all(several(filters, "all").into_iter()),
        Filter::Any(filters) => Truth::any(several(filters, "any").into_iter()),
        Filter::Not(inner) => {
            let at = pointer(at, "not");
            let Truth { outcome, .. } = truth(inner, &at, topic, shape);
            // An error of an expression makes it false, and this true.
            let outcome = Outcome { yes: outcome.no || outcome.error, no: outcome.yes, error: false };
            Truth::of(outcome, || placed(&at, "always holds, so its `not` never does"))
        }
        Filter::Expr(program) => {
            let judge = Judge { shape, topic, dialect: program.dialect() };
            let Truth { outcome, why } = judge.truth(program.expr());
            let at = pointer(at, program.dialect().name());
            let why = why.map(|mut why| {
                let place = why.path.as_ref().filter(|_| program.dialect() == Dialect::Data);
                why.pointer = Some(place.map_or_else(|| at.clone(), |path| pointer(&at, path)));
                why
            });
            Truth { outcome, why }
        }
    }
}

fn attributes(wanted: &[Comparison], at: &str, topic: Option<&str>, holds: fn(&str, &str) -> bool) -> Truth {
    Truth::all(wanted.iter().map(|comparison| {
        let Comparison { attribute, text } = comparison;
        let outcome = Known::of(attribute, topic).test(|value| holds(value, text));
        Truth::of(outcome, || placed(&pointer(at, attribute), why::about(attribute, topic)))
    }))
}

fn placed(at: &str, detail: impl Into<String>) -> Why {
    Why { pointer: Some(at.to_owned()), ..Why::new(detail) }
}
