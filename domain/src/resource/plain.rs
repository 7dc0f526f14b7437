//! Form 1 of a packed subscription: all of it plain JSON. Written before form 2, and still on disks.
//!
//! ```text
//! packed = form u8 (1) · revision, incarnation, made at, changed at: u64 LE each · JSON
//! ```

use serde::Deserialize;
use serde_json::value::RawValue;

use super::packed::is_usual;
use super::{Meta, Mode, Packed, Status};
use crate::time::Time;

const FORM: u8 = 1;
const HEAD: usize = 33;

#[derive(Deserialize)]
struct Seen<'a> {
    #[serde(borrow)]
    filters: Option<&'a RawValue>,
    status: Option<Status>,
    mode: Option<Mode>,
}

/// The same in the form of today; none when it is not of form 1.
pub(super) fn read(bytes: &[u8]) -> Option<Packed> {
    let (head, text) = bytes.split_at_checked(HEAD)?;
    if head[0] != FORM {
        return None;
    }
    let number = |n: usize| Some(u64::from_le_bytes(head[1 + 8 * n..9 + 8 * n].try_into().ok()?));
    let (created_at, updated_at) = (Time::from_millis(number(2)?), Time::from_millis(number(3)?));
    let meta = Meta { revision: number(0)?, incarnation: number(1)?, created_at, updated_at };
    let text = std::str::from_utf8(text).ok()?;
    let Seen { filters, status, mode } = serde_json::from_str(text).ok()?;
    let usual = is_usual(status.unwrap_or(Status::Active), mode.unwrap_or_default());
    let Some(filters) = filters.map(RawValue::get) else { return Some(Packed::assemble(usual, meta, "", text.as_bytes())) };
    Some(Packed::assemble(usual, meta, filters, &without(text, filters)))
}

/// The text without the filters, which stand in it.
fn without(text: &str, filters: &str) -> zeroize::Zeroizing<Vec<u8>> {
    const NAME: &str = "\"filters\":";
    let from = (filters.as_ptr() as usize - text.as_ptr() as usize) - NAME.len();
    // Another member always follows.
    let to = from + NAME.len() + filters.len() + 1;
    [&text.as_bytes()[..from], &text.as_bytes()[to..]].concat().into()
}
