//! Dead letters of the embedded store: pages, purges and the sweep by age.

use bytes::Bytes;
use posthorn_domain::ids::DeadLetterId;
use posthorn_domain::time::Time;

use super::{Embedded, REMOVAL, read_error};
use crate::state::{Batch, DeadLetter, DeadLetterFilter, PAGE_BYTES, PAGE_SCAN, Page, State as _, StateError, keys, values};

impl Embedded {
    pub(super) fn letter_by_id(&self, id: DeadLetterId) -> Result<Option<DeadLetter>, StateError> {
        let key = keys::letter(id);
        let Some(value) = self.slot.get()?.letters.get(&key).map_err(read_error)? else { return Ok(None) };
        Ok(self.readable(values::read_letter(&Bytes::copy_from_slice(&value), id), "dead_letter", &key))
    }

    pub(super) fn letter_page(&self, filter: &DeadLetterFilter, after: Option<DeadLetterId>, limit: usize) -> Result<Page, StateError> {
        let prefix = filter.subscription.map_or(vec![keys::LETTER], |id| keys::of_subscription(keys::LETTER_OF, id));
        let end = match after {
            Some(id) => [&prefix[..], id.as_bytes()].concat(),
            None => keys::behind(&prefix).expect("a prefix starts with a letter"),
        };
        let (mut page, mut bytes) = (Page::default(), 0);
        let limit = limit.max(1);
        let open = self.slot.get()?;
        for (scanned, guard) in open.letters.range(prefix..end).rev().enumerate() {
            // Only on meeting one more row is it known that there is a rest.
            if page.items.len() >= limit || scanned >= PAGE_SCAN || bytes >= PAGE_BYTES {
                return Ok(page);
            }
            let key = guard.key().map_err(read_error)?;
            let Some(id) = self.readable(keys::read_letter(&key), "dead_letter", &key) else { continue };
            page.next = Some(id);
            if let Some(letter) = self.letter_by_id(id)?.filter(|letter| filter.matches(letter)) {
                bytes += letter.record.len() + letter.detail.len();
                page.items.push(letter);
            }
        }
        page.next = None;
        Ok(page)
    }

    /// Goes from the newest to the oldest, so letters that arrive meanwhile are not met and it ends.
    pub(super) fn purge_letters(&self, filter: &DeadLetterFilter) -> Result<u64, StateError> {
        let (mut removed, mut after) = (0, None);
        loop {
            let page = self.letter_page(filter, after, REMOVAL)?;
            removed += page.items.len() as u64;
            self.delete_all(page.items.iter().map(|letter| letter.id))?;
            after = page.next;
            if after.is_none() {
                return Ok(removed);
            }
        }
    }

    /// An id starts with 48 bits of milliseconds (RFC 9562 §5.7), so the old ones stand first.
    pub(super) fn sweep_letters(&self, before: Time, limit: usize) -> Result<usize, StateError> {
        let millis = before.millis().min((1 << 48) - 1).to_be_bytes();
        let end = [&[keys::LETTER], &millis[2..]].concat();
        let mut old = Vec::new();
        let open = self.slot.get()?;
        for guard in open.letters.range(vec![keys::LETTER]..end).take(limit) {
            let key = guard.key().map_err(read_error)?;
            old.extend(self.readable(keys::read_letter(&key), "dead_letter", &key));
        }
        for some in old.chunks(REMOVAL) {
            self.delete_all(some.iter().copied())?;
        }
        Ok(old.len())
    }

    fn delete_all(&self, ids: impl Iterator<Item = DeadLetterId>) -> Result<(), StateError> {
        let mut batch = Batch::new();
        ids.for_each(|id| {
            batch.delete_dead_letter(id);
        });
        self.commit(batch, false)
    }
}
