//! `tail`: a topic's events as they come, one a line, until Ctrl-C.

use std::process::ExitCode;
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use http_body_util::{BodyExt, Limited};
use serde_json::Value;

use super::Context;
use super::sse::{Decoder, Message};
use crate::cli::{Output, TailArgs};
use crate::client::Error;
use crate::output;

const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LAST_PAUSE: Duration = Duration::from_secs(5);
const MAX_PROBLEM: usize = 1 << 20;

pub(super) async fn run(context: &Context, args: &TailArgs) -> Result<ExitCode, Error> {
    let mut tail = Tail { context, args, cursor: None, left: args.limit, connected: false };
    tokio::select! {
        ended = tail.follow() => ended.map(|()| ExitCode::SUCCESS),
        _ = tokio::signal::ctrl_c() => Ok(ExitCode::SUCCESS),
    }
}

struct Tail<'a> {
    context: &'a Context,
    args: &'a TailArgs,
    /// Of the last event that was printed.
    cursor: Option<String>,
    left: Option<u64>,
    connected: bool,
}

impl Tail<'_> {
    /// Goes on after a lost connection; only a server that was never reached is an error.
    async fn follow(&mut self) -> Result<(), Error> {
        let mut pause = FIRST_PAUSE;
        while self.left != Some(0) {
            match self.stream().await {
                Ok(()) => pause = FIRST_PAUSE,
                Err(Error::Unreachable { .. }) if self.connected => pause = (pause * 2).min(LAST_PAUSE),
                Err(error) => return Err(error),
            }
            if self.left != Some(0) {
                tokio::time::sleep(pause).await;
            }
        }
        Ok(())
    }

    async fn stream(&mut self) -> Result<(), Error> {
        let mut query = vec![("cursor", self.cursor.as_deref().unwrap_or(&self.args.from))];
        query.extend(self.args.filter.as_deref().map(|filter| ("filter", filter)));
        let path = self.context.data.path(&["v1", "topics", &self.args.topic, "events"], &query);
        let mut headers = vec![("accept", "text/event-stream")];
        headers.extend(self.cursor.as_deref().map(|cursor| ("last-event-id", cursor)));
        let response = self.context.data.open(Method::GET, &path, &headers, Bytes::new()).await?;
        let status = response.status().as_u16();
        if status == 503 && self.connected {
            return Ok(());
        }
        if status != 200 {
            let body = Limited::new(response.into_body(), MAX_PROBLEM).collect().await.map(|body| body.to_bytes()).unwrap_or_default();
            return Err(Error::Refused { status, problem: serde_json::from_slice(&body).unwrap_or_default() });
        }
        self.connected = true;
        self.print(response.into_body()).await
    }

    async fn print(&mut self, mut body: hyper::body::Incoming) -> Result<(), Error> {
        let mut decoder = Decoder::default();
        while let Some(Ok(frame)) = body.frame().await {
            let Ok(bytes) = frame.into_data() else { continue };
            let Some(messages) = decoder.push(&bytes) else { return Ok(()) };
            for message in messages {
                self.message(message)?;
                if self.left == Some(0) {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn message(&mut self, message: Message) -> Result<(), Error> {
        self.cursor = message.id.or_else(|| self.cursor.take());
        let entry: Value = serde_json::from_str(&message.data).unwrap_or(Value::String(message.data));
        let event = entry.get("event").unwrap_or(&entry);
        output::line(&if self.context.output == Output::Json { event.to_string() } else { row(event) })?;
        self.left = self.left.map(|left| left - 1);
        Ok(())
    }
}

fn row(event: &Value) -> String {
    let text = |name: &str| event.get(name).and_then(Value::as_str).unwrap_or("-");
    let data = event.get("data").map(Value::to_string).unwrap_or_else(|| text("data_base64").to_owned());
    format!("{}  {}  {}  {}  {data}", text("time"), text("type"), text("source"), text("id"))
}
