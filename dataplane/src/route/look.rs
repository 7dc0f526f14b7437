//! A stored event as filters see it.

use std::cell::Cell;

use posthorn_domain::event::DataKind;
use posthorn_domain::filter::View;
use posthorn_domain::json::Parser;
use posthorn_domain::record::Record;

thread_local! {
    static PARSER: Cell<Option<Parser>> = const { Cell::new(None) };
}

/// Hands the record's event on this topic to `use_it`. With `data`, its JSON data is parsed first, with this thread's parser;
/// ask for it only when a filter looks at the data, and then once for all of them.
pub fn look<R>(topic: &str, record: &Record, data: bool, mut use_it: impl FnMut(&View<'_>) -> R) -> R {
    let view = record.view(topic);
    if !data || record.event.data_kind() != DataKind::Json {
        return use_it(&view);
    }
    let mut parser = PARSER.take().unwrap_or_default();
    let result = parser.parse(record.event.data(), |doc| use_it(&View { data: Some(doc), ..view }));
    PARSER.set(Some(parser));
    // What was taken in was JSON; were it not any more, filters would see no data.
    result.unwrap_or_else(|_| use_it(&view))
}
