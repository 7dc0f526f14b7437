//! The server around the service: health, reflection, limits, shutdown.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use posthorn_domain::clock::Clock;
use posthorn_proto::broker::event_broker_server::EventBrokerServer;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tower::util::MapResponseLayer;

use super::service::Broker;
use crate::ingest::Pipeline;

/// `grpc-status`, as the header has it.
const OUT_OF_RANGE: HeaderValue = HeaderValue::from_static("11");
const RESOURCE_EXHAUSTED: HeaderValue = HeaderValue::from_static("8");
/// Room for what a message holds beside its events.
const SLACK: usize = 64 << 10;

/// Calls that a client may reset before they are looked at (CVE-2023-44487).
const MAX_RESETS: usize = 64;

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
    /// Bytes of one call that may be under way to us before they are read. The transport closes a connection on which too many
    /// small frames wait (by default as many as cost half of `connection_window`), so a stream of the smallest events must reach
    /// this first: a sixteenth of `connection_window` is safe.
    pub stream_window: u32,
    /// And of one connection.
    pub connection_window: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_concurrent_streams: 256,
            stream_in_flight: 1024,
            keepalive_interval: Duration::from_secs(30),
            keepalive_timeout: Duration::from_secs(20),
            max_header_bytes: 32 << 10,
            stream_window: 256 << 10,
            connection_window: 4 << 20,
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
    clock: Clock,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    let config = pipeline.config();
    let max_message = config.max_event_bytes.max(config.max_batch_bytes).saturating_add(SLACK);
    let stopping = CancellationToken::new();
    let broker = Broker { pipeline, stream_in_flight: limits.stream_in_flight, stopping: stopping.clone(), clock };
    let broker = EventBrokerServer::new(broker).max_decoding_message_size(max_message);
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter.set_serving::<EventBrokerServer<Broker>>().await;
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(posthorn_proto::DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()?;
    let older = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(posthorn_proto::DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1alpha()?;
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
        .http2_max_pending_accept_reset_streams(Some(MAX_RESETS))
        .initial_stream_window_size(limits.stream_window)
        .initial_connection_window_size(limits.connection_window)
        .layer(MapResponseLayer::new(contract_code))
        .add_service(health)
        .add_service(reflection)
        .add_service(older)
        .add_service(broker)
        .serve_with_incoming_shutdown(TcpIncoming::from(listener).with_nodelay(Some(true)), stop)
        .await?;
    Ok(())
}

/// A message above the limit is refused by the transport, before the service; as `status::too_large` does for streams.
fn contract_code(mut response: http::Response<tonic::body::Body>) -> http::Response<tonic::body::Body> {
    if let Some(code) = response.headers_mut().get_mut(tonic::Status::GRPC_STATUS)
        && *code == OUT_OF_RANGE
    {
        *code = RESOURCE_EXHAUSTED;
    }
    response
}
