//! The gRPC door: `posthorn.admin.v1`, the nodes' `posthorn.snapshot.v1`, health and reflection.
//!
//! Messages are turned into the documents of the REST API and back (`convert`), so that every rule lives once, in the
//! resources' own parsers. Credentials will be looked at in front of [`Door`]'s methods, once there are any.

mod convert;
mod operations;
mod schemas;
mod status;
mod subscriptions;
mod topics;

use std::sync::Arc;

use axum::Router;
use posthorn_domain::problem::Problem;
use posthorn_proto::admin::operations_server::OperationsServer;
use posthorn_proto::admin::schemas_server::SchemasServer;
use posthorn_proto::admin::subscriptions_server::SubscriptionsServer;
use posthorn_proto::admin::topics_server::TopicsServer;
use posthorn_proto::snapshot::snapshot_service_server::SnapshotServiceServer;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

use crate::api::{Api, Page};
use crate::publish::SnapshotDoor;
use crate::registry::Precondition;

/// Largest message from a node: a page of dead letters holds whole events.
const MAX_NODE_MESSAGE: usize = 64 << 20;

/// The admin services.
#[derive(Clone)]
struct Door {
    api: Arc<Api>,
}

/// All services.
pub(crate) fn router(api: &Arc<Api>, max_body_bytes: usize, closing: &CancellationToken) -> Router {
    let snapshot = SnapshotDoor { publisher: api.publisher.clone(), closing: closing.clone() };
    let door = Door { api: api.clone() };
    let mut routes = Routes::new(SnapshotServiceServer::new(snapshot).max_decoding_message_size(MAX_NODE_MESSAGE))
        .add_service(TopicsServer::new(door.clone()).max_decoding_message_size(max_body_bytes))
        .add_service(SchemasServer::new(door.clone()).max_decoding_message_size(max_body_bytes))
        .add_service(SubscriptionsServer::new(door.clone()).max_decoding_message_size(max_body_bytes))
        .add_service(OperationsServer::new(door).max_decoding_message_size(max_body_bytes))
        .add_service(health());
    let reflection = || tonic_reflection::server::Builder::configure().register_encoded_file_descriptor_set(posthorn_proto::DESCRIPTORS);
    match (reflection().build_v1(), reflection().build_v1alpha()) {
        (Ok(v1), Ok(v1alpha)) => routes = routes.add_service(v1).add_service(v1alpha),
        (Err(error), _) | (_, Err(error)) => tracing::warn!(%error, "gRPC reflection is not served"),
    }
    routes.prepare().into_axum_router()
}

/// As long as this process serves, all of it does; what it needs beside is its own disk.
fn health() -> tonic_health::pb::health_server::HealthServer<tonic_health::server::HealthService> {
    tonic_health::pb::health_server::HealthServer::new(tonic_health::server::HealthService::from_health_reporter(
        tonic_health::server::HealthReporter::new(),
    ))
}

fn precondition(if_match: Option<u64>) -> Precondition {
    if_match.map_or(Precondition::None, |revision| Precondition::IfMatch(vec![revision]))
}

fn page(limit: Option<u32>, token: &str) -> Result<Page, Problem> {
    Page::new(limit.map(|limit| limit.to_string()).as_deref(), Some(token))
}
