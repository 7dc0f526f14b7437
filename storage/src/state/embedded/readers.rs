//! Readers and their cursors.

use super::super::{ReaderRow, Readers, StateError, keys, values};
use super::{Embedded, Table, read_error};

impl Embedded {
    pub(super) fn all_readers(&self) -> Result<Readers, StateError> {
        let mut found = Readers::default();
        let open = self.slot.get()?;
        for guard in open.table(Table::Readers).iter() {
            let (key, value) = guard.into_inner().map_err(read_error)?;
            if key.first() == Some(&keys::CURSOR) {
                let next = values::read_integers(&value).and_then(|list| list.first().copied());
                let cursor = next.and_then(|next| keys::read_cursor(&key, next));
                found.cursors.extend(self.readable(cursor, "cursor", &key));
            } else {
                let row = keys::read_reader(&key).zip(values::read_text(&value));
                let row = row.map(|(name, document)| ReaderRow { name, document });
                found.readers.extend(self.readable(row, "reader", &key));
            }
        }
        Ok(found)
    }
}
