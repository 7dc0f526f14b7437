//! Documents that users hand in: JSON, or YAML, which has JSON as a part.

use std::io::Read;

use serde_json::Value;

use super::Error;

/// Larger documents are refused before they are sent.
const MAX_BYTES: u64 = 16 << 20;

/// Reads `--file`; `-` is standard input.
pub fn read(file: &str) -> Result<Value, Error> {
    let usage = |detail: String| Error::Usage(format!("{file}: {detail}"));
    let mut text = String::new();
    let read = if file == "-" {
        std::io::stdin().lock().take(MAX_BYTES + 1).read_to_string(&mut text)
    } else {
        std::fs::File::open(file).and_then(|source| source.take(MAX_BYTES + 1).read_to_string(&mut text))
    };
    read.map_err(|error| usage(error.to_string()))?;
    if text.len() as u64 > MAX_BYTES {
        return Err(usage("is larger than 16MiB".into()));
    }
    parse(&text).map_err(usage)
}

/// JSON first, so that its numbers and texts are taken as they stand.
pub fn parse(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).or_else(|_| serde_saphyr::from_str(text).map_err(|error| error.without_snippet().to_string()))
}
