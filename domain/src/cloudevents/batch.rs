//! Batched mode (CloudEvents JSON §4): a JSON array of events, each judged on its own.

use bytes::Bytes;

use super::refusal::of_event;
use super::scan::{DEEPEST, Scanner};
use super::structured::{decode_within, utf8};
use crate::event::Event;
use crate::problem::{Code, Problem};

/// The events of this body in their order. What is wrong with one of them is that one's error alone, and says its index.
///
/// Every event is of version 1.0, so that all are of the same version (CloudEvents HTTP §3.3.2).
///
/// # Errors
/// `invalid-json` when the body is no JSON array in UTF-8, `too-large` when it holds more than `max_events`.
pub fn decode_batch(body: &Bytes, max_events: usize) -> Result<Vec<Result<Event, Problem>>, Problem> {
    let text = utf8(body)?;
    let mut scan = Scanner::new(text, 0);
    let mut events = Vec::new();
    scan.need(b'[', "a batch, which is a JSON array of events")?;
    if !scan.take(b']') {
        loop {
            if events.len() == max_events {
                return Err(Problem::new(Code::TooLarge, format!("the batch has more than {max_events} events; send smaller batches")));
            }
            let part = scan.value(DEEPEST)?;
            events.push(decode_within(body, text, part).map_err(|problem| of_event(events.len(), problem)));
            if scan.take(b']') {
                break;
            }
            scan.need(b',', "`,` or `]` after an event")?;
        }
    }
    scan.end()?;
    Ok(events)
}
