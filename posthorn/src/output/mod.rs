//! Prints answers: JSON as it came, or columns.

mod table;

use std::io::{self, Write};

use serde_json::Value;

use crate::cli::Output;
pub use table::table;

/// Prints one resource: its members a line each, or JSON.
pub fn resource(output: Output, value: &Value) -> io::Result<()> {
    match (output, value) {
        (_, Value::Null) => Ok(()),
        (Output::Table, Value::Object(members)) => {
            let rows: Vec<_> = members.iter().map(|(name, value)| vec![name.clone(), cell(value)]).collect();
            line(table(&[], &rows).trim_end())
        }
        _ => line(&serde_json::to_string_pretty(value)?),
    }
}

/// Prints many: `columns` are members, nested ones with dots.
pub fn list(output: Output, page: &Value, items: &[Value], columns: &[&str]) -> io::Result<()> {
    if output == Output::Json {
        return line(&serde_json::to_string_pretty(page)?);
    }
    let at = |item: &Value, path: &str| path.split('.').try_fold(item, |node, name| node.get(name)).map(cell).unwrap_or_default();
    let rows: Vec<_> = items.iter().map(|item| columns.iter().map(|path| at(item, path)).collect()).collect();
    line(table(columns, &rows).trim_end())
}

/// One line to standard output, at once.
pub fn line(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.write_all(b"\n")?;
    out.flush()
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
