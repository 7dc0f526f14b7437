//! Problems of this module, worded in one place: what is wrong, where, and what to do.

use std::fmt::Write as _;

use crate::fields::pointer;
use crate::problem::{Code, Fault, Problem};

/// Text as it may stand in a problem: short, and without control characters.
pub(super) fn shown(text: &str) -> String {
    const LIMIT: usize = 64;
    let mut shown = String::new();
    for (count, char) in text.chars().enumerate() {
        if count == LIMIT {
            shown.push('…');
            break;
        }
        if char.is_control() {
            // Writing to a String cannot fail.
            _ = write!(shown, "{}", char.escape_unicode());
        } else {
            shown.push(char);
        }
    }
    shown
}

/// A fault of the JSON text at `offset` bytes from the start of the body.
pub(super) fn syntax(offset: usize, detail: impl AsRef<str>) -> Problem {
    Problem::new(Code::InvalidJson, format!("{} at byte {offset} of the body", detail.as_ref()))
}

/// A fault of one member of the JSON format.
pub(super) fn member(name: &str, detail: impl AsRef<str>) -> Problem {
    let text = format!("`{}` {}", shown(name), detail.as_ref());
    let at = format!("#{}", pointer("", shown(name)));
    Problem::new(Code::InvalidEvent, text).with_errors(vec![Fault { schema: None, pointer: at, detail: detail.as_ref().to_owned() }])
}

/// A fault of one header of the binary mode.
pub(super) fn header(name: &str, detail: impl AsRef<str>) -> Problem {
    Problem::new(Code::InvalidEvent, format!("header `{}` {}", shown(name), detail.as_ref()))
}

/// The fault of the event at `index` of a batch, with its pointers moved below that index.
pub(super) fn of_event(index: usize, problem: Problem) -> Problem {
    let errors = problem.errors().iter().map(|fault| Fault {
        schema: fault.schema.clone(),
        pointer: format!("#/{index}{}", fault.pointer.trim_start_matches('#')),
        detail: fault.detail.clone(),
    });
    Problem::new(problem.code(), format!("event {index} of the batch: {}", problem.detail())).with_errors(errors.collect())
}
