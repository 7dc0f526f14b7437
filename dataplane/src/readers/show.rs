//! Readers and pages as JSON.

use posthorn_domain::names::TopicName;
use posthorn_domain::position::Cursor;
use posthorn_domain::problem::Problem;
use serde_json::{Value, json};

use super::group::Shown;
use super::one::{One, Standing};
use super::token::Token;
use super::{Page, Readers};
use crate::read::write_entry;

/// The body of a page: as of a topic's, and for a member the partitions that it holds.
pub fn write_page(page: &Page, member: bool) -> Vec<u8> {
    let mut out = b"{\"events\":[".to_vec();
    for (n, entry) in page.entries.iter().enumerate() {
        if n > 0 {
            out.push(b',');
        }
        write_entry(entry, &mut out);
    }
    out.extend_from_slice(format!("],\"cursor\":\"{}\"", page.cursor).as_bytes());
    if member {
        let parts: Vec<Value> = page.parts.iter().map(|((topic, partition), _)| json!({"topic": topic, "partition": partition})).collect();
        out.extend_from_slice(format!(",\"partitions\":{}", Value::from(parts)).as_bytes());
    }
    out.push(b'}');
    out
}

impl Readers {
    /// The reader, where it stands and who shares it.
    ///
    /// # Errors
    /// `not-found`, or why it cannot be read just now.
    pub async fn show(&self, name: &str) -> Result<Value, Problem> {
        let one = self.find(name)?;
        let standing = self.standing(&one).await?;
        let (members, definition) = {
            let mut state = one.state.lock();
            (state.group.shown(self.0.clock.now()), state.definition.clone())
        };
        let lag: u64 = standing.parts.iter().map(|(key, part)| part.route.log.bounds(key.1).end.saturating_sub(part.next)).sum();
        let mut shown = json!({
            "name": one.name,
            "cursor": place(&one, &standing),
            "lag": lag + standing.waiting.len() as u64 + standing.more_waiting,
            "members": members.iter().map(member).collect::<Vec<_>>(),
        });
        if let Some(definition) = definition {
            shown["topic"] = json!(definition.topics.first());
            shown["filters"] = Value::from(definition.filters);
            shown["created_at"] = json!(definition.created_at);
            shown["updated_at"] = json!(definition.updated_at);
        }
        if let Some(id) = one.subscription {
            shown["subscription"] = json!(id);
        }
        Ok(shown)
    }

    /// Where the reader stands.
    pub(super) async fn cursor(&self, one: &One) -> Result<String, Problem> {
        Ok(place(one, &self.standing(one).await?))
    }
}

fn member(shown: &Shown) -> Value {
    let Shown { member, until, parts, leaving } = shown;
    let part =
        |((topic, partition), leaving): (&(TopicName, u32), &bool)| json!({"topic": topic, "partition": partition, "leaving": leaving});
    json!({"member": member, "expires_at": until, "partitions": parts.iter().zip(leaving).map(part).collect::<Vec<_>>()})
}

fn place(one: &One, standing: &Standing) -> String {
    let mut topics: Vec<_> = standing.parts.iter().map(|((topic, _), part)| (topic, part.route.log.settings().incarnation)).collect();
    topics.dedup();
    let next = || standing.parts.values().map(|part| part.next);
    if let (&[(_, incarnation)], None) = (topics.as_slice(), one.subscription) {
        return Cursor { incarnation, next: next().collect() }.to_string();
    }
    let mut token = Token::default();
    token.lives.extend(topics.into_iter().map(|(topic, life)| (topic.clone(), life)));
    token.next.extend(standing.parts.iter().map(|(key, part)| (key.clone(), part.next)));
    token.to_string()
}
