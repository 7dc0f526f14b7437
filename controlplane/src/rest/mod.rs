//! The REST door (interfaces §4): thin handlers over `crate::api`. Translates requests into its calls, and its answers
//! and problems into responses.

mod call;
mod deliveries;
mod filters;
mod json;
mod reply;
mod schemas;
mod subscriptions;
mod topics;

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::routing::{get, post};
use http::Method;
use posthorn_domain::problem::{Code, Problem};

use crate::api::Api;
use crate::openapi;
use call::Call;
pub(crate) use json::parse as strict_json;
use reply::{Refusal, Reply};

/// What handlers share.
#[derive(Clone)]
pub(crate) struct Shared {
    /// The operations.
    pub(crate) api: Arc<Api>,
    /// Most bytes of a body.
    pub(crate) max_body_bytes: usize,
}

type Outcome = Result<Reply, Refusal>;

/// Every route. `crate::openapi` describes them; a test holds the two together.
pub(crate) fn router(shared: Shared) -> Router {
    Router::new()
        .route("/openapi.json", get(describe))
        .route("/v1/topics", get(topics::list))
        .route("/v1/topics/{name}", get(topics::get).put(topics::put).delete(topics::delete))
        .route("/v1/topics/{name}/qos", get(topics::qos))
        .route("/v1/topics/{name}/events/{partition}/{offset}/explain", get(filters::explain_stored))
        .route("/v1/filters/check", post(filters::check))
        .route("/v1/explain", post(filters::explain))
        .route("/v1/schemas", get(schemas::list))
        .route("/v1/schemas/{name}", get(schemas::get).put(schemas::put).delete(schemas::delete_schema))
        .route("/v1/schemas/{name}/versions", get(schemas::versions).post(schemas::add))
        .route("/v1/schemas/{name}/versions/{version}", get(schemas::version).put(schemas::put_version).delete(schemas::delete))
        .route("/v1/subscriptions", get(subscriptions::list).post(subscriptions::create))
        .route("/v1/subscriptions/{id}", get(subscriptions::get).put(subscriptions::put).delete(subscriptions::delete))
        .route("/v1/subscriptions/{id}/pause", post(subscriptions::pause))
        .route("/v1/subscriptions/{id}/resume", post(subscriptions::resume))
        .route("/v1/subscriptions/{id}/verify", post(subscriptions::verify))
        .route("/v1/subscriptions/{id}/test", post(subscriptions::test))
        .route("/v1/subscriptions/{id}/replay", post(subscriptions::replay))
        .route("/v1/subscriptions/{id}/replays", get(subscriptions::replays))
        .route("/v1/subscriptions/{id}/replays/{replay}", get(subscriptions::get_replay).delete(subscriptions::cancel_replay))
        .route("/v1/subscriptions/{id}/rotate-secret", post(subscriptions::rotate_secret))
        .route("/v1/deliveries", get(deliveries::list))
        .route("/v1/deliveries/{id}", get(deliveries::get))
        .route("/v1/dead-letters", get(deliveries::list_dead).delete(deliveries::purge))
        .route("/v1/dead-letters/retry", post(deliveries::retry_many))
        .route("/v1/dead-letters/{id}", get(deliveries::get_dead).delete(deliveries::delete_dead))
        .route("/v1/dead-letters/{id}/retry", post(deliveries::retry_one))
        .route("/v1/nodes", get(nodes))
        .fallback(no_such_route)
        .method_not_allowed_fallback(method_not_allowed)
        .with_state(shared)
}

async fn describe(call: Call) -> Outcome {
    call.no_parameters()?;
    Ok(Reply::Document(openapi::document()))
}

async fn nodes(State(shared): State<Shared>, call: Call) -> Outcome {
    call.no_parameters()?;
    Ok(Reply::ok(shared.api.nodes()))
}

async fn no_such_route(uri: http::Uri) -> Refusal {
    let path: String = uri.path().chars().take(200).collect();
    Problem::new(Code::NotFound, format!("there is no route `{path}`; /openapi.json lists them")).into()
}

async fn method_not_allowed(method: Method) -> Refusal {
    Problem::new(Code::MethodNotAllowed, format!("{method} is not allowed here; the header `Allow` says what is")).into()
}

/// The answer to a request that took too long to arrive or to answer.
pub(crate) fn too_slow() -> axum::response::Response {
    axum::response::IntoResponse::into_response(Refusal::from(Problem::new(Code::RequestTimeout, "the request took longer than a minute")))
}
