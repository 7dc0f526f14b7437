//! Waits until a write is in force: until every connected node has acknowledged its revision.

use std::time::Duration;

use http::Method;
use serde_json::Value;

use super::{Answer, Door, Error};

const PATIENCE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(20);

/// Waits at most 5 s; what is still open then is said on standard error, for the write itself is done.
pub async fn settle(control: &Door, answer: &Answer) -> Result<(), Error> {
    let Some(revision) = answer.revision() else { return Ok(()) };
    let acked = async {
        loop {
            let nodes = control.call(Method::GET, &control.path(&["v1", "nodes"], &[]), None).await?;
            if items(&nodes.body).iter().all(|node| in_force(node, revision)) {
                return Ok(());
            }
            tokio::time::sleep(PAUSE).await;
        }
    };
    tokio::time::timeout(PATIENCE, acked).await.unwrap_or_else(|_| {
        eprintln!("posthorn: revision {revision} is stored, but not every node has acknowledged it within 5s");
        Ok(())
    })
}

/// The nodes of the answer, which is a list or a page.
pub fn items(body: &Value) -> &[Value] {
    body.get("items").unwrap_or(body).as_array().map_or(&[], Vec::as_slice)
}

fn in_force(node: &Value, revision: u64) -> bool {
    let connected = node.get("connected_since").is_none_or(|since| !since.is_null());
    !connected || node.get("acked_revision").and_then(Value::as_u64).is_some_and(|acked| acked >= revision)
}
