//! Paths of the door.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// A path that there is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Route<'a> {
    /// `/v1/events`
    Events,
    /// `/v1/topics/{topic}/events`
    TopicEvents(Cow<'a, str>),
    /// `/v1/topics/{topic}/events/{partition}/{offset}/explain`
    Explain { topic: Cow<'a, str>, partition: &'a str, offset: &'a str },
    /// `/v1/sources/{source}`
    Source(Cow<'a, str>),
    /// `/v1/readers`
    Readers,
    /// `/v1/readers/{name}`
    Reader(Cow<'a, str>),
    /// `/v1/readers/{name}/events`
    ReaderEvents(Cow<'a, str>),
    /// `/v1/readers/{name}/cursor`
    ReaderCursor(Cow<'a, str>),
    /// `/v1/schemas`
    Schemas,
    /// `/v1/schemas/{name}`
    Schema(Cow<'a, str>),
    /// `/v1/schemas/{name}/versions`
    SchemaVersions(Cow<'a, str>),
    /// `/v1/schemas/{name}/versions/{n|latest}`
    SchemaVersion(Cow<'a, str>, Cow<'a, str>),
}

impl<'a> Route<'a> {
    /// The route of a path.
    pub(super) fn of(path: &'a str) -> Option<Self> {
        let mut parts = path.strip_prefix("/v1/")?.split('/');
        let parts = [parts.next(), parts.next(), parts.next(), parts.next(), parts.next(), parts.next(), parts.next()];
        Some(match parts {
            [Some("events"), None, ..] => Self::Events,
            [Some("topics"), Some(topic), Some("events"), None, ..] => Self::TopicEvents(decoded(topic)?),
            [Some("topics"), Some(topic), Some("events"), Some(partition), Some(offset), Some("explain"), None] => {
                Self::Explain { topic: decoded(topic)?, partition, offset }
            }
            [Some("sources"), Some(source), None, ..] => Self::Source(decoded(source)?),
            [Some("readers"), None, ..] => Self::Readers,
            [Some("readers"), Some(name), None, ..] => Self::Reader(decoded(name)?),
            [Some("readers"), Some(name), Some("events"), None, ..] => Self::ReaderEvents(decoded(name)?),
            [Some("readers"), Some(name), Some("cursor"), None, ..] => Self::ReaderCursor(decoded(name)?),
            [Some("schemas"), None, ..] => Self::Schemas,
            [Some("schemas"), Some(name), None, ..] => Self::Schema(decoded(name)?),
            [Some("schemas"), Some(name), Some("versions"), None, ..] => Self::SchemaVersions(decoded(name)?),
            [Some("schemas"), Some(name), Some("versions"), Some(version), None, ..] => {
                Self::SchemaVersion(decoded(name)?, decoded(version)?)
            }
            _ => return None,
        })
    }

    /// What it asks of a reader, if it is one's.
    pub(super) fn reader(&self) -> Option<super::readers::Ask<'_>> {
        use super::readers::Ask;
        match self {
            Self::Readers => Some(Ask::List),
            Self::Reader(name) => Some(Ask::One(name)),
            Self::ReaderEvents(name) => Some(Ask::Events(name)),
            Self::ReaderCursor(name) => Some(Ask::Cursor(name)),
            _ => None,
        }
    }

    /// The topic that the path names, if any, where events are published.
    pub(super) fn publishes(&self) -> Option<Option<&str>> {
        match self {
            Self::Events => Some(None),
            Self::TopicEvents(topic) => Some(Some(topic)),
            _ => None,
        }
    }

    /// Its methods, as `Allow` lists them.
    pub(super) fn allow(&self) -> &'static str {
        match self {
            Self::Events | Self::Source(_) => "POST, OPTIONS",
            Self::Readers | Self::Reader(_) | Self::ReaderEvents(_) | Self::ReaderCursor(_) => {
                self.reader().map_or("OPTIONS", super::readers::Ask::allow)
            }
            Self::TopicEvents(_) => "GET, HEAD, POST, OPTIONS",
            Self::Schemas | Self::Schema(_) | Self::SchemaVersions(_) | Self::SchemaVersion(..) | Self::Explain { .. } => {
                "GET, HEAD, OPTIONS"
            }
        }
    }
}

fn decoded(segment: &str) -> Option<Cow<'_, str>> {
    let text = percent_decode_str(segment).decode_utf8().ok()?;
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_told_apart() {
        assert_eq!(Route::of("/v1/events"), Some(Route::Events));
        assert_eq!(Route::of("/v1/topics/a%2Db/events"), Some(Route::TopicEvents("a-b".into())));
        assert_eq!(Route::of("/v1/schemas/order/versions/3"), Some(Route::SchemaVersion("order".into(), "3".into())));
        let explain = Route::of("/v1/topics/a/events/0/12/explain");
        assert_eq!(explain, Some(Route::Explain { topic: "a".into(), partition: "0", offset: "12" }));
        for path in [
            "/v1/topics/a/events/0",
            "/v1/topics/a/events/0/1",
            "/v1/topics/a/events/0/1/explain/",
            "/",
            "/v1",
            "/v1/",
            "/v1/events/",
            "/v1/topics//events",
            "/v1/topics/a",
            "/v1/schemas/a/versions/1/x",
            "/v2/events",
        ] {
            assert_eq!(Route::of(path), None, "{path}");
        }
    }
}
