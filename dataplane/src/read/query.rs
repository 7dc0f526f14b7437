//! The parameters of a read. Unknown ones are refused by name.

use std::sync::Arc;
use std::time::Duration;

use posthorn_domain::filter::{Filter, Program};
use posthorn_domain::problem::{Code, Problem};
use posthorn_domain::units::Dur;

/// The most events in a page.
const MAX_LIMIT: usize = 1000;
const DEFAULT_LIMIT: usize = 100;
/// The longest wait.
const MAX_WAIT: Dur = Dur::from_secs(60);

/// What a reader asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// Where to start: `earliest` (also when absent), `latest`, `time:…` or a token.
    pub cursor: Option<String>,
    /// Entries in a page, 1 to 1000.
    pub limit: usize,
    /// How long to wait for the first entry, at most a minute.
    pub wait: Duration,
    /// Only events for which this holds are given.
    pub filter: Option<Filter>,
}

impl Default for Query {
    fn default() -> Self {
        Self { cursor: None, limit: DEFAULT_LIMIT, wait: Duration::ZERO, filter: None }
    }
}

impl Query {
    /// Reads a URL's query.
    ///
    /// # Errors
    /// `invalid-request`, naming the parameter.
    pub fn parse(text: &str) -> Result<Self, Problem> {
        let mut query = Self::default();
        let mut seen = Vec::new();
        for (name, value) in url::form_urlencoded::parse(text.as_bytes()) {
            if seen.contains(&name) {
                return Err(refuse(&name, "is given twice"));
            }
            match &*name {
                "cursor" => query.cursor = Some(value.into_owned()),
                "limit" => query.limit = limit(&value)?,
                "wait" => query.wait = wait(&value)?,
                "filter" => query.filter = Some(filter(&value)?),
                _ => return Err(refuse(&name, "is not known here; known are cursor, limit, wait, filter")),
            }
            seen.push(name);
        }
        Ok(query)
    }
}

pub(crate) fn limit(text: &str) -> Result<usize, Problem> {
    text.parse().ok().filter(|limit| (1..=MAX_LIMIT).contains(limit)).ok_or_else(|| refuse("limit", "must be from 1 to 1000"))
}

pub(crate) fn wait(text: &str) -> Result<Duration, Problem> {
    let wait: Dur = text.parse().map_err(|error: posthorn_domain::units::InvalidUnit| refuse("wait", &error.to_string()))?;
    if wait > MAX_WAIT { Err(refuse("wait", "must be at most 60s")) } else { Ok(wait.std()) }
}

/// CloudEvents SQL; what it is refused for names the place in the text, in the members `line`, `column` and `at` (bytes) too.
fn filter(text: &str) -> Result<Filter, Problem> {
    Program::sql(text).map(|program| Filter::Expr(Arc::new(program))).map_err(|refusal| {
        let problem = refuse("filter", &format!("is not a CloudEvents SQL expression: {refusal}"));
        problem.with("line", refusal.line).with("column", refusal.column).with("at", refusal.at)
    })
}

fn refuse(name: &str, why: &str) -> Problem {
    let shown: String = name.chars().take(100).collect();
    Problem::new(Code::InvalidRequest, format!("parameter `{shown}` {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_read_and_bad_ones_named() {
        let query = Query::parse("cursor=time%3A2026-01-01T00%3A00%3A00Z&limit=7&wait=250ms").expect("valid");
        assert_eq!(
            query,
            Query { cursor: Some("time:2026-01-01T00:00:00Z".into()), limit: 7, wait: Duration::from_millis(250), filter: None }
        );
        let query = Query::parse("filter=type+%3D+%27a%27").expect("valid");
        assert_eq!(query.filter, Some(filter("type = 'a'").expect("an expression")));
        assert_eq!(Query::parse("").expect("valid"), Query::default());
        for (text, name) in [
            ("limit=0", "limit"),
            ("limit=1001", "limit"),
            ("wait=61s", "wait"),
            ("wait=5", "wait"),
            ("filter=", "filter"),
            ("filter=type+%3D", "filter"),
            ("a=1", "a"),
            ("limit=1&limit=2", "limit"),
        ] {
            let problem = Query::parse(text).expect_err(text);
            assert!(problem.detail().contains(&format!("`{name}`")), "{problem}");
        }
    }
}
