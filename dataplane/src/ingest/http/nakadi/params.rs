//! Parameters of a stream (protocols §11.3), by the query or as JSON.

use std::time::Duration;

use posthorn_domain::problem::{Code, Problem};
use serde_json::Value;

use super::refuse;

/// Events that a batch may have, whatever is asked for.
const MOST_IN_BATCH: u64 = 1000;
/// The longest that a stream may live, in seconds; more is as if nothing had been said.
const LONGEST: u64 = 4200;

/// How a stream is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Params {
    /// Events in a batch of one partition.
    pub(super) batch_limit: usize,
    /// Events in the stream; none: any number.
    pub(super) stream_limit: Option<u64>,
    /// How long a batch is waited for.
    pub(super) flush: Duration,
    /// Within a batch, how far events may be apart in time.
    pub(super) timespan: Option<Duration>,
    /// How long the stream lives; none: about an hour.
    pub(super) timeout: Option<Duration>,
    /// Keep-alive batches in a row.
    pub(super) keep_alives: Option<u64>,
    /// Events that may wait for their commit.
    pub(super) max_uncommitted: usize,
    /// How long they may.
    pub(super) commit_timeout: Duration,
}

#[derive(Default)]
struct Raw {
    given: Vec<(&'static str, u64)>,
}

const OF_TYPE: [&str; 6] =
    ["batch_limit", "stream_limit", "batch_flush_timeout", "batch_timespan", "stream_timeout", "stream_keep_alive_limit"];
const OF_SUBSCRIPTION: [&str; 2] = ["max_uncommitted_events", "commit_timeout"];

impl Params {
    /// From a URL's query; those of a subscription only where `subscription`.
    pub(super) fn of_query(query: &str, subscription: bool) -> Result<Self, Problem> {
        let mut raw = Raw::default();
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            let known = known(&name, subscription)?;
            raw.set(known, value.parse().ok())?;
        }
        raw.params()
    }

    /// From a JSON object, members of which the caller has taken those that are none of these.
    pub(super) fn of_json<'a>(members: impl Iterator<Item = (&'a String, &'a Value)>) -> Result<Self, Problem> {
        let mut raw = Raw::default();
        for (name, value) in members {
            let known = known(name, true)?;
            raw.set(known, value.as_u64())?;
        }
        raw.params()
    }
}

fn known(name: &str, subscription: bool) -> Result<&'static str, Problem> {
    let more = if subscription { &OF_SUBSCRIPTION[..] } else { &[] };
    OF_TYPE.iter().chain(more).find(|known| **known == name).copied().ok_or_else(|| {
        let shown: String = name.chars().take(100).collect();
        Problem::new(Code::InvalidRequest, format!("parameter `{shown}` is not known here"))
    })
}

impl Raw {
    fn set(&mut self, name: &'static str, value: Option<u64>) -> Result<(), Problem> {
        let value = value.ok_or_else(|| Problem::new(Code::InvalidRequest, format!("parameter `{name}` must be a whole number from 0")))?;
        if self.given.iter().any(|(known, _)| *known == name) {
            return Err(Problem::new(Code::InvalidRequest, format!("parameter `{name}` is given twice")));
        }
        self.given.push((name, value));
        Ok(())
    }

    fn get(&self, name: &str) -> Option<u64> {
        self.given.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
    }

    fn params(&self) -> Result<Params, Problem> {
        // Zero is as good as nothing, but where it is forbidden.
        let some = |name| self.get(name).filter(|value| *value > 0);
        let batch_limit = self.get("batch_limit").unwrap_or(1);
        if !(1..=MOST_IN_BATCH).contains(&batch_limit) {
            return Err(refuse(format!("`batch_limit` must be from 1 to {MOST_IN_BATCH}")));
        }
        let stream_limit = some("stream_limit");
        if stream_limit.is_some_and(|limit| limit < batch_limit) {
            return Err(refuse("`stream_limit` must be at least `batch_limit`"));
        }
        let flush = some("batch_flush_timeout").unwrap_or(30).min(LONGEST);
        let timeout = some("stream_timeout").filter(|seconds| *seconds <= LONGEST);
        if timeout.is_some_and(|timeout| timeout < flush) {
            return Err(refuse("`stream_timeout` must be at least `batch_flush_timeout`, which is 30 when it is not given"));
        }
        let max_uncommitted = self.get("max_uncommitted_events").unwrap_or(10);
        if max_uncommitted < 1 {
            return Err(refuse("`max_uncommitted_events` must be at least 1"));
        }
        let commit_timeout = some("commit_timeout").unwrap_or(60);
        if commit_timeout > 60 {
            return Err(refuse("`commit_timeout` must be at most 60"));
        }
        Ok(Params {
            batch_limit: usize::try_from(batch_limit).unwrap_or(1),
            stream_limit,
            flush: Duration::from_secs(flush),
            timespan: some("batch_timespan").map(Duration::from_secs),
            timeout: timeout.map(Duration::from_secs),
            keep_alives: some("stream_keep_alive_limit"),
            max_uncommitted: usize::try_from(max_uncommitted).unwrap_or(usize::MAX),
            commit_timeout: Duration::from_secs(commit_timeout),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_and_rules_are_nakadis() {
        let params = Params::of_query("", true).expect("the defaults");
        assert_eq!((params.batch_limit, params.stream_limit, params.flush.as_secs()), (1, None, 30));
        assert_eq!((params.max_uncommitted, params.commit_timeout.as_secs(), params.timeout), (10, 60, None));
        let zeros = "stream_limit=0&batch_flush_timeout=0&batch_timespan=0&stream_timeout=0&stream_keep_alive_limit=0&commit_timeout=0";
        assert_eq!(Params::of_query(zeros, true).expect("zeros"), params);
        assert_eq!(Params::of_query("stream_timeout=4201", true).expect("too long").timeout, None);
        for (query, status) in [
            ("batch_limit=0", 422),
            ("batch_limit=5&stream_limit=4", 422),
            ("stream_timeout=10", 422),
            ("commit_timeout=61", 422),
            ("max_uncommitted_events=0", 422),
            ("batch_limit=x", 400),
            ("batch_limit=1&batch_limit=1", 400),
            ("nope=1", 400),
        ] {
            assert_eq!(Params::of_query(query, true).expect_err(query).status(), status, "{query}");
        }
        assert_eq!(Params::of_query("commit_timeout=1", false).expect_err("not of a subscription").status(), 400);
    }
}
