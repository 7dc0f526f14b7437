//! Makes the requests that carry events.

use std::sync::Arc;

use anyhow::{Context, Result};
use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, header};
use http_body_util::Full;

use crate::distribution::{Distribution, Zipf};
use crate::mark::Mark;
use crate::payload::{Payload, Recorded};
use crate::rng::Rng;

const BINARY_HEADERS: usize = 8;

/// How events travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// CloudEvents in binary mode: attributes in headers.
    Binary,
    /// One CloudEvent as JSON.
    Structured,
    /// An array of CloudEvents; as many in each request.
    Batch(u64),
    /// The body alone, for gateways that know no CloudEvents.
    Plain,
}

/// Which events to send, and where to.
#[derive(Debug, Clone)]
pub struct Events {
    /// The run that their marks name.
    pub run: u32,
    /// Where to; events go to each in turn.
    pub targets: Vec<Uri>,
    /// Headers of every request.
    pub headers: HeaderMap,
    /// What they carry.
    pub payload: Arc<Payload>,
    /// Bytes of a body, where the template pads.
    pub sizes: Option<Distribution>,
    /// The keys that they have, if any.
    pub keys: Option<Arc<Zipf>>,
    /// `schemas`, where the payload does not say.
    pub schemas: Option<String>,
    /// How they travel.
    pub mode: Mode,
}

impl Events {
    /// How many events go in one request.
    #[must_use]
    pub fn batch(&self) -> u64 {
        if let Mode::Batch(events) = self.mode { events } else { 1 }
    }

    /// The request for `count` events from number `first` on, due at `due` (microseconds since 1970).
    ///
    /// # Errors
    /// When an attribute of a recorded event cannot be a header.
    pub fn request(&self, first: u64, count: u64, due: u64) -> Result<Request<Full<Bytes>>> {
        let mark = |number| Mark { run: self.run, number, due };
        let mut headers = self.headers.clone();
        let body = match self.mode {
            Mode::Binary => self.binary(mark(first), &mut headers)?,
            Mode::Plain => {
                headers.entry(header::CONTENT_TYPE).or_insert(HeaderValue::from_static("application/json"));
                self.one(mark(first)).1
            }
            Mode::Structured => {
                headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/cloudevents+json"));
                let mut body = BytesMut::new();
                self.structured(mark(first), &mut body);
                body.freeze()
            }
            Mode::Batch(_) => {
                headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/cloudevents-batch+json"));
                self.array(first, count, mark)
            }
        };
        let target = &self.targets[(first / self.batch()) as usize % self.targets.len()];
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = target.clone();
        *request.headers_mut() = headers;
        Ok(request)
    }

    fn binary(&self, mark: Mark, headers: &mut HeaderMap) -> Result<Bytes> {
        let (attributes, body) = self.one(mark);
        headers.reserve(BINARY_HEADERS);
        headers.insert("ce-specversion", HeaderValue::from_static("1.0"));
        headers.insert("ce-id", HeaderValue::try_from(mark.to_string())?);
        if !matches!(*self.payload, Payload::Recorded(_)) {
            headers.insert("ce-source", HeaderValue::from_static("/load"));
            headers.insert("ce-type", HeaderValue::from_static("order.created"));
        }
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        for (name, value) in attributes {
            let name = if name == "datacontenttype" { header::CONTENT_TYPE } else { HeaderName::try_from(format!("ce-{name}"))? };
            headers.insert(name, HeaderValue::from_str(&value).context("an attribute that is no header")?);
        }
        Ok(body)
    }

    fn array(&self, first: u64, count: u64, mark: impl Fn(u64) -> Mark) -> Bytes {
        let mut body = BytesMut::new();
        for number in first..first + count {
            body.put_u8(if number == first { b'[' } else { b',' });
            self.structured(mark(number), &mut body);
        }
        body.put_u8(b']');
        body.freeze()
    }

    fn structured(&self, mark: Mark, out: &mut BytesMut) {
        let (attributes, data) = self.one(mark);
        out.extend_from_slice(format!("{{\"specversion\":\"1.0\",\"id\":\"{mark}\"").as_bytes());
        if !matches!(*self.payload, Payload::Recorded(_)) {
            out.extend_from_slice(b",\"source\":\"/load\",\"type\":\"order.created\"");
        }
        for (name, value) in attributes {
            out.extend_from_slice(format!(",\"{name}\":{}", serde_json::Value::from(value)).as_bytes());
        }
        out.extend_from_slice(b",\"data\":");
        out.extend_from_slice(&data);
        out.put_u8(b'}');
    }

    /// The attributes beyond the required ones, and the data. The same mark gives the same event.
    fn one(&self, mark: Mark) -> (Vec<(String, String)>, Bytes) {
        let mut rng = Rng::new(mark.number ^ u64::from(mark.run) << 40);
        let key = self.keys.as_ref().map(|keys| keys.sample(&mut rng));
        let (mut attributes, data) = match &*self.payload {
            Payload::Recorded(events) => {
                let Recorded { attributes, data } = &events[mark.number as usize % events.len()];
                (attributes.clone(), data.clone())
            }
            Payload::Template(template) => {
                let size = self.sizes.as_ref().map(|sizes| sizes.sample(&mut rng) as usize);
                (self.schemas.iter().map(|list| ("schemas".to_owned(), list.clone())).collect(), template.fill(mark, key, size))
            }
        };
        if let Some(key) = key {
            attributes.push(("partitionkey".to_owned(), format!("k{key}")));
        }
        (attributes, data)
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;
    use serde_json::Value;

    use super::*;
    use crate::payload::{ORDER, Template};

    fn events(mode: Mode) -> Events {
        Events {
            run: 4,
            targets: ["/a", "/b"].map(Uri::from_static).to_vec(),
            headers: HeaderMap::new(),
            payload: Arc::new(Payload::Template(Template::parse(ORDER))),
            sizes: None,
            keys: Some(Arc::new(Zipf::new(3, 1.0))),
            schemas: Some("order:1".into()),
            mode,
        }
    }

    async fn json(request: Request<Full<Bytes>>) -> Value {
        serde_json::from_slice(&request.into_body().collect().await.unwrap().to_bytes()).unwrap()
    }

    #[tokio::test]
    async fn each_mode_is_a_request_of_its_kind() {
        let binary = events(Mode::Binary).request(7, 1, 5).unwrap();
        assert_eq!((binary.headers()["ce-id"].to_str().unwrap(), binary.uri().path()), ("ld.4.7.5.", "/b"));
        assert_eq!(
            (&binary.headers()["ce-schemas"], &binary.headers()["content-type"]),
            (&"order:1".parse().unwrap(), &"application/json".parse().unwrap())
        );
        assert!(binary.headers()["ce-partitionkey"].to_str().unwrap().starts_with('k'));
        assert_eq!(json(binary).await["currency"], "EUR");
        let structured = json(events(Mode::Structured).request(7, 1, 5).unwrap()).await;
        assert_eq!((structured["id"].as_str(), structured["schemas"].as_str()), (Some("ld.4.7.5."), Some("order:1")));
        let batch = events(Mode::Batch(3)).request(6, 3, 5).unwrap();
        assert_eq!(batch.uri().path(), "/a", "the third batch");
        let batch = json(batch).await;
        assert_eq!((batch.as_array().unwrap().len(), batch[2]["id"].as_str()), (3, Some("ld.4.8.5.")));
        assert_eq!(json(events(Mode::Plain).request(0, 1, 5).unwrap()).await["currency"], "EUR");
    }
}
