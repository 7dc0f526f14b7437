//! The names of the subset: functions, methods, types, and words that must not be names.

use crate::filter::expr::{Function, Quantifier};

/// Words that CEL keeps to itself.
const RESERVED: [&str; 17] = [
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "in",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
];

const TYPES: [&str; 10] = ["int", "uint", "double", "bool", "string", "bytes", "list", "map", "null_type", "type"];

pub(super) fn is_reserved(name: &str) -> bool {
    RESERVED.contains(&name) || name == "while"
}

pub(super) fn is_type(name: &str) -> bool {
    TYPES.contains(&name)
}

/// `name(x)`
pub(super) fn function(name: &str) -> Option<Function> {
    Some(match name {
        "size" => Function::Size,
        "int" => Function::ToInt,
        "uint" => Function::ToUint,
        "double" => Function::ToDouble,
        "string" => Function::ToString,
        "bool" => Function::ToBool,
        "bytes" => Function::ToBytes,
        "timestamp" => Function::ToTimestamp,
        "duration" => Function::ToDuration,
        "type" => Function::TypeOf,
        "dyn" => Function::Dyn,
        _ => return None,
    })
}

/// `x.name()` or `x.name(y)`, with how many arguments it takes besides `x`.
pub(super) fn method(name: &str) -> Option<(Function, usize)> {
    Some(match name {
        "startsWith" => (Function::StartsWith, 1),
        "endsWith" => (Function::EndsWith, 1),
        "contains" => (Function::Contains, 1),
        "size" => (Function::Size, 0),
        "lower" => (Function::Lower, 0),
        "upper" => (Function::Upper, 0),
        "lowerAscii" => (Function::LowerAscii, 0),
        "upperAscii" => (Function::UpperAscii, 0),
        "trim" => (Function::Trim, 0),
        "getFullYear" => (Function::FullYear, 0),
        "getMonth" => (Function::Month, 0),
        "getDayOfMonth" => (Function::DayOfMonth, 0),
        "getDate" => (Function::Date, 0),
        "getDayOfWeek" => (Function::DayOfWeek, 0),
        "getDayOfYear" => (Function::DayOfYear, 0),
        "getHours" => (Function::Hours, 0),
        "getMinutes" => (Function::Minutes, 0),
        "getSeconds" => (Function::Seconds, 0),
        "getMilliseconds" => (Function::Milliseconds, 0),
        _ => return None,
    })
}

/// `x.name(variable, predicate)`
pub(super) fn quantifier(name: &str) -> Option<Quantifier> {
    Some(match name {
        "all" => Quantifier::All,
        "exists" => Quantifier::Exists,
        "exists_one" | "existsOne" => Quantifier::ExistsOne,
        _ => return None,
    })
}
