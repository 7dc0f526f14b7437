//! The gRPC door: `posthorn.admin.v1`, the nodes' `posthorn.snapshot.v1`, health and reflection.

use std::sync::Arc;

use axum::Router;
use posthorn_proto::snapshot::snapshot_service_server::SnapshotServiceServer;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

use crate::api::Api;
use crate::publish::SnapshotDoor;

/// All services.
pub(crate) fn router(api: &Arc<Api>, _max_body_bytes: usize, closing: &CancellationToken) -> Router {
    let snapshot = SnapshotDoor { publisher: api.publisher.clone(), closing: closing.clone() };
    Routes::new(SnapshotServiceServer::new(snapshot)).prepare().into_axum_router()
}
