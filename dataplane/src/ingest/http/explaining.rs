//! Why a stored event goes to whom: `GET /v1/topics/{topic}/events/{partition}/{offset}/explain`, with `all=true` also for
//! subscriptions whose topic cannot match.

use std::str::FromStr;

use http::Response;
use http::request::Parts;
use posthorn_domain::problem::{Code, Problem};

use super::door::Door;
use super::reply::{self, Body};

/// Answers the question.
pub(super) async fn explain(door: &Door, topic: &str, partition: &str, offset: &str, parts: &Parts) -> Result<Response<Body>, Problem> {
    let all = all(parts.uri.query().unwrap_or_default())?;
    let (partition, offset) = (number("partition", partition)?, number("offset", offset)?);
    Ok(reply::json(200, &door.explainer.stored(topic, partition, offset, all).await?))
}

fn number<T: FromStr>(what: &str, text: &str) -> Result<T, Problem> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse().ok().filter(|_| digits);
    number.ok_or_else(|| Problem::new(Code::InvalidRequest, format!("the {what} in the path must be a whole number from 0")))
}

fn all(query: &str) -> Result<bool, Problem> {
    let mut all = false;
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        all = match (&*name, &*value) {
            ("all", "true") => true,
            ("all", "false") => false,
            ("all", _) => return Err(Problem::new(Code::InvalidRequest, "parameter `all` must be true or false")),
            (other, _) => {
                let shown: String = other.chars().take(100).collect();
                return Err(Problem::new(Code::InvalidRequest, format!("parameter `{shown}` is not known here; known is all")));
            }
        };
    }
    Ok(all)
}
