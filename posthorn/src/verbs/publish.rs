//! `publish`: JSON lines to a topic. A line with `specversion` is a CloudEvent, any other is the data of one.

use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, BufReader};

use super::Context;
use crate::cli::PublishArgs;
use crate::client::{Answer, Error};
use crate::output;

const BATCH: usize = 500;
/// A batch is sent before it reaches the server's own default limit of 8 MiB.
const BATCH_BYTES: usize = 6 << 20;
const MAX_LINE: u64 = 16 << 20;
/// How often a request that was answered 429 or 503 is sent again.
const RETRIES: u32 = 5;

pub(super) async fn run(context: &Context, args: &PublishArgs) -> Result<ExitCode, Error> {
    let mut lines = open(&args.file).await?;
    let mut publisher = Publisher { context, args, batch: Vec::new(), bytes: 0, number: 0, tally: Tally::default() };
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = (&mut lines).take(MAX_LINE).read_until(b'\n', &mut line).await?;
        if read == 0 {
            break;
        }
        publisher.line(line.trim_ascii()).await?;
    }
    publisher.flush().await?;
    publisher.tally.print(context)
}

async fn open(file: &str) -> Result<Box<dyn AsyncBufRead + Unpin>, Error> {
    if file == "-" {
        return Ok(Box::new(BufReader::new(tokio::io::stdin())));
    }
    let opened = tokio::fs::File::open(file).await.map_err(|error| Error::Usage(format!("{file}: {error}")))?;
    Ok(Box::new(BufReader::new(opened)))
}

struct Publisher<'a> {
    context: &'a Context,
    args: &'a PublishArgs,
    batch: Vec<(u64, String)>,
    bytes: usize,
    number: u64,
    tally: Tally,
}

impl Publisher<'_> {
    async fn line(&mut self, line: &[u8]) -> Result<(), Error> {
        self.number += 1;
        let Ok(text) = std::str::from_utf8(line) else {
            self.tally.refused(self.number, "is not UTF-8".into());
            return Ok(());
        };
        if text.is_empty() {
            return Ok(());
        }
        if self.args.batch { self.gather(text).await } else { self.single(text).await }
    }

    async fn single(&mut self, text: &str) -> Result<(), Error> {
        let media = if is_cloudevent(text) { "application/cloudevents+json" } else { "application/json" };
        let answer = self.post(media, Bytes::copy_from_slice(text.as_bytes())).await?;
        self.tally.count(self.number, answer.status, &answer.body);
        self.tally.progress();
        Ok(())
    }

    async fn gather(&mut self, text: &str) -> Result<(), Error> {
        if let Err(error) = serde_json::from_str::<serde::de::IgnoredAny>(text) {
            self.tally.refused(self.number, format!("is not JSON: {error}"));
            return Ok(());
        }
        let event = if is_cloudevent(text) { text.to_owned() } else { wrap(&self.args.topic, text) };
        if self.batch.len() >= BATCH || self.bytes + event.len() > BATCH_BYTES {
            self.flush().await?;
        }
        self.bytes += event.len() + 1;
        self.batch.push((self.number, event));
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), Error> {
        let batch = std::mem::take(&mut self.batch);
        self.bytes = 0;
        if batch.is_empty() {
            return Ok(());
        }
        let body = format!("[{}]", batch.iter().map(|(_, event)| event.as_str()).collect::<Vec<_>>().join(","));
        let answer = self.post("application/cloudevents-batch+json", body.into()).await?;
        let results = answer.body.get("results").and_then(Value::as_array);
        for (index, (number, _)) in batch.iter().enumerate() {
            let result = results.and_then(|results| results.get(index)).unwrap_or(&answer.body);
            self.tally.count(*number, answer.status, result);
        }
        self.tally.progress();
        Ok(())
    }

    async fn post(&self, media: &str, body: Bytes) -> Result<Answer, Error> {
        let path = self.context.data.path(&["v1", "topics", &self.args.topic, "events"], &[]);
        let mut tries = 0;
        loop {
            let answer = self.context.data.send(Method::POST, &path, &[("content-type", media)], body.clone()).await?;
            if !matches!(answer.status, 429 | 503) || tries == RETRIES {
                return Ok(answer);
            }
            tries += 1;
            let header = answer.headers.get("retry-after").and_then(|value| value.to_str().ok()?.parse().ok());
            tokio::time::sleep(Duration::from_secs(header.unwrap_or(1).min(10))).await;
        }
    }
}

fn is_cloudevent(text: &str) -> bool {
    #[derive(serde::Deserialize)]
    struct Probe {
        #[serde(rename = "specversion")]
        _specversion: serde::de::IgnoredAny,
    }
    // A JSON array would be read as the struct's fields in order.
    text.starts_with('{') && serde_json::from_str::<Probe>(text).is_ok()
}

/// The data is put in as it stands, so that its bytes are kept.
fn wrap(topic: &str, data: &str) -> String {
    let (id, topic) = (uuid::Uuid::now_v7(), Value::from(topic));
    format!(
        r#"{{"specversion":"1.0","id":"{id}","source":"/posthorn/cli","type":{topic},"datacontenttype":"application/json","data":{data}}}"#
    )
}

#[derive(Default)]
struct Tally {
    accepted: u64,
    duplicate: u64,
    dead_lettered: u64,
    refused: u64,
}

impl Tally {
    fn count(&mut self, number: u64, http: u16, result: &Value) {
        match result.get("status").and_then(Value::as_str) {
            Some("accepted") => self.accepted += 1,
            Some("duplicate") => self.duplicate += 1,
            Some("dead_lettered") => {
                self.dead_lettered += 1;
                let reason = result.get("reason").and_then(Value::as_str).unwrap_or_default();
                eprintln!("line {number}: dead-lettered: {reason}");
            }
            _ => {
                let problem = result.get("problem").unwrap_or(result);
                let status = problem.get("status").and_then(Value::as_u64).and_then(|status| u16::try_from(status).ok());
                self.refused(number, crate::client::describe(status.unwrap_or(http), problem));
            }
        }
    }

    fn refused(&mut self, number: u64, detail: String) {
        self.refused += 1;
        eprintln!("line {number}: refused: {detail}");
    }

    fn progress(&self) {
        if std::io::stderr().is_terminal() {
            eprint!("\r{} sent ", self.accepted + self.duplicate + self.dead_lettered + self.refused);
        }
    }

    fn print(&self, context: &Context) -> Result<ExitCode, Error> {
        if std::io::stderr().is_terminal() {
            eprintln!();
        }
        let Self { accepted, duplicate, dead_lettered, refused } = self;
        let sums = json!({"accepted": accepted, "duplicate": duplicate, "dead_lettered": dead_lettered, "refused": refused});
        output::resource(context.output, &sums)?;
        Ok(if *refused == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}
