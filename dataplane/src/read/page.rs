//! Slices as JSON. Data is spliced in as it was published.

use posthorn_domain::cloudevents::structured_parts;
use posthorn_storage::log::{Gap, GapReason};

use super::{Entry, Item, Slice};

/// The body of a page.
pub fn write_page(slice: &Slice) -> Vec<u8> {
    let mut out = Vec::with_capacity(256 + slice.entries.iter().map(size_hint).sum::<usize>());
    out.extend_from_slice(b"{\"events\":[");
    for (n, entry) in slice.entries.iter().enumerate() {
        if n > 0 {
            out.push(b',');
        }
        write_entry(entry, &mut out);
    }
    out.extend_from_slice(format!("],\"cursor\":\"{}\"}}", slice.cursor).as_bytes());
    out
}

fn size_hint(entry: &Entry) -> usize {
    match &entry.item {
        Item::Event(stored) => stored.record.event.size() + entry.cursor.len() + 256,
        Item::Gap { .. } => entry.cursor.len() + 128,
    }
}

/// One entry: `{"cursor","event"}` or `{"cursor","gap"}`.
pub(crate) fn write_entry(entry: &Entry, out: &mut Vec<u8>) {
    // Cursors are letters and digits: nothing to escape.
    out.extend_from_slice(format!("{{\"cursor\":\"{}\",", entry.cursor).as_bytes());
    match &entry.item {
        Item::Event(stored) => {
            let parts = structured_parts(&stored.record.event, None);
            out.extend_from_slice(b"\"event\":");
            for part in [&parts.head, &parts.data, &parts.tail] {
                out.extend_from_slice(part);
            }
        }
        Item::Gap { partition, gap } => write_gap(*partition, *gap, out),
    }
    out.push(b'}');
}

/// Offsets `from` to one below `to`.
fn write_gap(partition: u32, gap: Gap, out: &mut Vec<u8>) {
    let reason = match gap.reason {
        GapReason::Damaged => "damaged",
        GapReason::Missing => "missing",
    };
    let Gap { from, to, .. } = gap;
    let text = format!("\"gap\":{{\"partition\":{partition},\"from\":{from},\"to\":{to},\"reason\":\"{reason}\"}}");
    out.extend_from_slice(text.as_bytes());
}
