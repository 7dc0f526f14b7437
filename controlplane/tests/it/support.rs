//! A running control plane and a plain HTTP client for it.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use posthorn_controlplane::{Config, ControlPlane, Declared, OpenError};
use posthorn_domain::sealing::SealingKey;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

pub(crate) const KEY: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";

pub(crate) struct Plane {
    pub(crate) addr: SocketAddr,
    pub(crate) folder: Arc<TempDir>,
    stop: Option<oneshot::Sender<()>>,
    served: JoinHandle<()>,
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

pub(crate) fn config(folder: &Path) -> Config {
    Config::new(folder.to_owned(), Arc::new(SealingKey::from_text(KEY).expect("a key")))
}

impl Plane {
    pub(crate) async fn start() -> Self {
        Self::start_in(Arc::new(TempDir::new().expect("a folder"))).await
    }

    pub(crate) async fn start_in(folder: Arc<TempDir>) -> Self {
        Self::declaring(folder, Declared::default()).await.expect("opens")
    }

    pub(crate) async fn declaring(folder: Arc<TempDir>, declared: Declared) -> Result<Self, OpenError> {
        let plane = ControlPlane::open(Config { declared, ..config(folder.path()) }).await?;
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let addr = listener.local_addr().expect("an address");
        let (stop, stopped) = oneshot::channel();
        let served = tokio::spawn(async move {
            plane.serve(listener, async move { drop(stopped.await) }).await;
        });
        Ok(Self { addr, folder, stop: Some(stop), served })
    }

    /// Ends it and gives its folder back.
    pub(crate) async fn stop(mut self) -> Arc<TempDir> {
        drop(self.stop.take());
        self.served.await.expect("ends well");
        self.folder
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    pub(crate) async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Answer {
        let stream = TcpStream::connect(self.addr).await.expect("connects");
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.expect("shakes hands");
        tokio::spawn(connection);
        let mut request = Request::builder().method(method).uri(path).header("host", "control");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = sender.send_request(request.body(Full::new(body.into())).expect("a request")).await.expect("is answered");
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.expect("has a body").to_bytes();
        let body = if bytes.is_empty() { Value::Null } else { serde_json::from_slice(&bytes).expect("is JSON") };
        Answer { status: parts.status, headers: parts.headers, body }
    }

    pub(crate) async fn call(&self, method: &str, path: &str, body: Value) -> Answer {
        self.send(method, path, &[("content-type", "application/json")], body.to_string()).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], "").await
    }

    /// Makes a subscription to one topic and gives the answer.
    pub(crate) async fn subscribe(&self, topic: &str, more: Value) -> Answer {
        let mut document = json!({"filters": [{"topic": topic}], "endpoint": {"url": "https://partner.example/hook"}});
        document.as_object_mut().expect("an object").extend(more.as_object().cloned().unwrap_or_default());
        self.call("POST", "/v1/subscriptions", document).await
    }
}

impl Answer {
    /// The status, and for problems their code.
    pub(crate) fn is(&self, status: u16, code: &str) -> &Self {
        assert_eq!(self.status, status, "{}", self.body);
        if status >= 400 {
            assert_eq!(self.headers["content-type"], "application/problem+json");
            assert_eq!(self.body["type"], format!("urn:posthorn:problem:{code}"), "{}", self.body);
            assert_eq!(self.body["status"], status);
        }
        self
    }

    pub(crate) fn pointers(&self) -> Vec<&str> {
        self.body["errors"].as_array().into_iter().flatten().filter_map(|error| error["pointer"].as_str()).collect()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}
