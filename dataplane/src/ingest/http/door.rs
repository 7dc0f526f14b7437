//! From a request to its answer.

use std::sync::Arc;

use http::{Method, Request, Response};
use hyper::body::Incoming;
use posthorn_domain::clock::Clock;
use posthorn_domain::problem::{Code, Problem};

use super::caller::authenticate;
use super::reply::{self, Body};
use super::routes::Route;
use super::schemas::Reading;
use super::{explaining, publish, reading};
use crate::config;
use crate::explain::Explainer;
use crate::ingest::{Budget, Pipeline};
use crate::read::Reader;
use crate::readers::Readers;
use crate::route::Live;

/// All that answers need; one for all shards.
pub struct Door {
    pub(super) pipeline: Arc<Pipeline>,
    pub(super) reader: Reader,
    pub(super) readers: Readers,
    pub(super) explainer: Explainer,
    pub(super) live: Live,
    pub(super) config: config::Http,
    pub(super) budget: Budget,
    pub(super) clock: Clock,
    /// Held by who makes a Nakadi-style subscription.
    pub(super) making: tokio::sync::Mutex<()>,
}

impl Door {
    /// A door before this pipeline, these ways of reading and this explainer, whose table and clock it shares.
    pub fn new(pipeline: Arc<Pipeline>, reader: Reader, readers: Readers, explainer: Explainer, config: config::Http) -> Arc<Self> {
        let budget = pipeline.budget().clone();
        let (live, clock) = (explainer.live.clone(), explainer.clock.clone());
        Arc::new(Self { pipeline, reader, readers, explainer, live, config, budget, clock, making: tokio::sync::Mutex::default() })
    }

    /// Answers one request.
    pub async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        self.try_answer(request).await.unwrap_or_else(|problem| reply::problem(&problem))
    }

    async fn try_answer(&self, request: Request<Incoming>) -> Result<Response<Body>, Problem> {
        self.check_headers(&request)?;
        let (parts, body) = request.into_parts();
        if let Some(path) = parts.uri.path().strip_prefix(super::nakadi::PREFIX) {
            let caller = authenticate(&parts)?;
            return Box::pin(super::nakadi::answer(self, path, &caller, &parts, body)).await;
        }
        let Some(route) = Route::of(parts.uri.path()) else {
            return Err(Problem::new(Code::NotFound, "there is nothing at this path"));
        };
        if parts.method == Method::OPTIONS {
            return Ok(reply::options(route.allow()));
        }
        let caller = authenticate(&parts)?;
        let reads = parts.method == Method::GET || parts.method == Method::HEAD;
        if let Some(ask) = route.reader() {
            return Box::pin(super::readers::answer(self, ask, &caller, &parts, body)).await;
        }
        // What is rarer than publishing is boxed: the state of an answer is moved for each request.
        if parts.method == Method::POST
            && let Some(topic) = route.publishes()
        {
            return publish::publish(self, topic, &caller, &parts, body).await;
        }
        match &route {
            Route::TopicEvents(topic) if reads => Box::pin(reading::read(self, topic, &parts)).await,
            Route::Explain { topic, partition, offset } if reads => {
                Box::pin(explaining::explain(self, topic, partition, offset, &parts)).await
            }
            Route::Source(source) if parts.method == Method::POST => {
                let shown: String = source.chars().take(200).collect();
                Err(Problem::new(Code::NotFound, format!("source `{shown}` is not registered")))
            }
            Route::Schemas if reads => Reading::of(self.live.snapshot(), &parts).list(),
            Route::Schema(name) if reads => Reading::of(self.live.snapshot(), &parts).schema(name),
            Route::SchemaVersions(name) if reads => Reading::of(self.live.snapshot(), &parts).versions(name),
            Route::SchemaVersion(name, version) if reads => Reading::of(self.live.snapshot(), &parts).version(name, version),
            route => Ok(reply::not_allowed(route.allow())),
        }
    }

    /// The HTTP library holds heads to twice this, and answers those without a body.
    fn check_headers(&self, request: &Request<Incoming>) -> Result<(), Problem> {
        let target = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
        let fields: usize = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
        if target + fields > self.config.max_header_bytes {
            let detail = format!("the request's head has {} bytes; at most {} are taken", target + fields, self.config.max_header_bytes);
            return Err(Problem::new(Code::HeadersTooLarge, detail));
        }
        Ok(())
    }
}
