//! The server around the service: health, reflection, limits, shutdown.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use posthorn_proto::broker::event_broker_server::EventBrokerServer;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

use super::service::Broker;
use crate::ingest::Pipeline;

/// Room for what a message holds beside its events.
const SLACK: usize = 64 << 10;

/// What one connection may ask for. Sizes of events and batches are the pipeline's.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Calls of one connection at the same time.
    pub max_concurrent_streams: u32,
    /// Events of one `PublishStream` that are being worked on; more wait in the connection.
    pub stream_in_flight: usize,
    /// A silent connection is asked whether it is there after this.
    pub keepalive_interval: Duration,
    /// And closed when it does not answer within this.
    pub keepalive_timeout: Duration,
    /// Bytes of a call's metadata.
    pub max_header_bytes: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_concurrent_streams: 256,
            stream_in_flight: 64,
            keepalive_interval: Duration::from_secs(30),
            keepalive_timeout: Duration::from_secs(20),
            max_header_bytes: 32 << 10,
        }
    }
}

/// Why the door closed, or did not open.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The descriptors for reflection are not well-formed.
    #[error("reflection: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
    /// The transport failed.
    #[error("the gRPC server: {0}")]
    Transport(#[from] tonic::transport::Error),
}

/// Serves until `shutdown` is done and the calls that were begun by then are answered. A call's `grpc-timeout` is honoured.
///
/// # Errors
/// When reflection cannot be built or the transport fails.
pub async fn serve(
    listener: TcpListener,
    pipeline: Arc<Pipeline>,
    limits: Limits,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    let config = pipeline.config();
    let max_message = config.max_event_bytes.max(config.max_batch_bytes).saturating_add(SLACK);
    let stopping = CancellationToken::new();
    let broker = Broker { pipeline, stream_in_flight: limits.stream_in_flight, stopping: stopping.clone() };
    let broker = EventBrokerServer::new(broker).max_decoding_message_size(max_message);
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter.set_serving::<EventBrokerServer<Broker>>().await;
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(posthorn_proto::DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()?;
    let stop = async move {
        shutdown.await;
        reporter.set_not_serving::<EventBrokerServer<Broker>>().await;
        stopping.cancel();
    };
    Server::builder()
        .max_concurrent_streams(limits.max_concurrent_streams)
        .http2_keepalive_interval(Some(limits.keepalive_interval))
        .http2_keepalive_timeout(Some(limits.keepalive_timeout))
        .http2_max_header_list_size(limits.max_header_bytes)
        .add_service(health)
        .add_service(reflection)
        .add_service(broker)
        .serve_with_incoming_shutdown(TcpIncoming::from(listener).with_nodelay(Some(true)), stop)
        .await?;
    Ok(())
}
