//! Server-sent events (WHATWG HTML §9.2.6): bytes in, messages out.

/// Longer messages end the stream; the server's events are far smaller.
const MAX_PENDING: usize = 32 << 20;

/// A message with data.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Message {
    pub id: Option<String>,
    pub data: String,
}

/// Gathers bytes until a message is whole.
#[derive(Debug, Default)]
pub struct Decoder {
    pending: Vec<u8>,
    message: Message,
}

impl Decoder {
    /// Takes bytes in and gives the messages that they complete; `None` when a message grows beyond all measure.
    pub fn push(&mut self, bytes: &[u8]) -> Option<Vec<Message>> {
        self.pending.extend_from_slice(bytes);
        let mut messages = Vec::new();
        let mut start = 0;
        while let Some(length) = self.pending[start..].iter().position(|byte| *byte == b'\n') {
            let line = String::from_utf8_lossy(&self.pending[start..start + length]).into_owned();
            start += length + 1;
            messages.extend(self.line(line.trim_end_matches('\r')));
        }
        self.pending.drain(..start);
        (self.pending.len() + self.message.data.len() <= MAX_PENDING).then_some(messages)
    }

    fn line(&mut self, line: &str) -> Option<Message> {
        if line.is_empty() {
            let message = std::mem::take(&mut self.message);
            return (!message.data.is_empty()).then_some(message);
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "id" => self.message.id = Some(value.to_owned()),
            "data" if self.message.data.is_empty() => self.message.data.push_str(value),
            "data" => {
                self.message.data.push('\n');
                self.message.data.push_str(value);
            }
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_survive_any_cut() {
        let stream = b": hello\n\nid: c1\r\ndata: {\"a\":1}\r\n\r\nid:c2\ndata: x\ndata: y\n\n";
        for cut in 0..stream.len() {
            let mut decoder = Decoder::default();
            let mut messages = decoder.push(&stream[..cut]).expect("small");
            messages.extend(decoder.push(&stream[cut..]).expect("small"));
            let wanted = [("c1", "{\"a\":1}"), ("c2", "x\ny")].map(|(id, data)| Message { id: Some(id.into()), data: data.into() });
            assert_eq!(messages, wanted);
        }
    }
}
