//! The functions of CESQL §3.5 and §3.7, found by name in any case and by how many arguments they get.

use crate::filter::expr::Function;

/// The function that a call means.
pub(super) fn find(name: &str, arguments: usize) -> Option<Function> {
    let (function, takes) = match name.to_ascii_uppercase().as_str() {
        "INT" => (Function::SqlInt, 1..=1),
        "BOOL" => (Function::SqlBool, 1..=1),
        "STRING" => (Function::SqlString, 1..=1),
        "IS_INT" => (Function::SqlIsInt, 1..=1),
        "IS_BOOL" => (Function::SqlIsBool, 1..=1),
        "LENGTH" => (Function::SqlLength, 1..=1),
        "CONCAT" => (Function::SqlConcat, 0..=usize::MAX),
        "CONCAT_WS" => (Function::SqlConcatWs, 1..=usize::MAX),
        "LOWER" => (Function::SqlLower, 1..=1),
        "UPPER" => (Function::SqlUpper, 1..=1),
        "TRIM" => (Function::SqlTrim, 1..=1),
        "LEFT" => (Function::SqlLeft, 2..=2),
        "RIGHT" => (Function::SqlRight, 2..=2),
        "SUBSTRING" => (Function::SqlSubstring, 2..=3),
        "ABS" => (Function::SqlAbs, 1..=1),
        _ => return None,
    };
    takes.contains(&arguments).then_some(function)
}
