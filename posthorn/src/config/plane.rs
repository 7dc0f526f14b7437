//! The configuration as the data plane takes it.

use posthorn_dataplane::config as plane;
use posthorn_dataplane::trace::Sampler;

use super::Config;
use super::raw::OnDamage;

/// Deliveries that wait for another attempt in memory, of each subscription.
const RETRIES_IN_MEMORY: usize = 1024;

impl Config {
    /// For a data plane that follows the control plane at `control_url`.
    ///
    /// # Errors
    ///
    /// As [`Config::node_id`].
    pub fn data_plane(&self, control_url: String) -> anyhow::Result<plane::Config> {
        Ok(plane::Config {
            data_dir: self.data_dir.clone(),
            node_id: self.node_id()?,
            shards: u16::try_from(self.shards()).unwrap_or(u16::MAX),
            control_url,
            http: self.plane_http(),
            broker_listen: self.broker.listen,
            admin_listen: self.admin.listen,
            ingest: self.plane_ingest(),
            log: plane::Log {
                segment_bytes: self.log.segment_bytes.bytes(),
                stop_on_damage: self.log.on_damage == OnDamage::Stop,
                retention_check: self.log.retention_check.std(),
                max_held_bytes: self.log.max_held_bytes.bytes(),
            },
            delivery: self.plane_delivery(),
            readers: self.plane_readers(),
            drain_deadline: self.drain.deadline.std(),
            shown: self.shown(),
        })
    }

    /// Which events are traced.
    pub fn traces(&self) -> Sampler {
        Sampler::new(self.tracing.sample, self.tracing.follow_publishers)
    }

    fn plane_http(&self) -> plane::Http {
        plane::Http {
            listen: self.http.listen,
            max_connections: self.http.max_connections,
            max_header_bytes: self.http.max_header_bytes.as_usize(),
            header_timeout: self.http.header_timeout.std(),
            body_timeout: self.http.body_timeout.std(),
            h2_max_streams: self.http.h2_max_streams,
        }
    }

    fn plane_ingest(&self) -> plane::Ingest {
        let ingest = &self.ingest;
        plane::Ingest {
            max_event_bytes: ingest.max_event_bytes.as_usize(),
            max_batch_events: ingest.max_batch_events,
            max_batch_bytes: ingest.max_batch_bytes.as_usize(),
            max_in_flight_bytes: ingest.max_in_flight_bytes.as_usize(),
            default_durability: ingest.default_durability,
            dedup_max_entries: ingest.dedup_max_entries,
            max_hops: ingest.max_hops,
            default_direction: ingest.default_direction,
            traces: self.traces(),
        }
    }

    fn plane_readers(&self) -> plane::Readers {
        let readers = &self.readers;
        plane::Readers {
            max_readers: readers.max_readers,
            max_members: readers.max_members,
            lease: readers.lease.std(),
            max_page_bytes: readers.max_page_bytes.as_usize(),
            max_held_bytes: readers.max_held_bytes.as_usize(),
            max_waits: readers.max_waits,
        }
    }

    fn plane_delivery(&self) -> plane::Delivery {
        let delivery = &self.delivery;
        plane::Delivery {
            allow_cidrs: delivery.allow_cidrs.clone(),
            allow_http: delivery.allow_http,
            max_response_bytes: delivery.max_response_bytes.as_usize(),
            timeout: delivery.timeout.std(),
            max_connections_per_endpoint: delivery.max_connections_per_endpoint,
            max_in_flight_per_subscription: u32::try_from(delivery.max_in_flight_per_subscription).unwrap_or(u32::MAX),
            idle_timeout: delivery.idle_timeout.std(),
            connection_max_age: delivery.connection_max_age.std(),
            max_tail_bytes: delivery.max_tail_bytes.as_usize(),
            max_lane_events: delivery.max_lane_events,
            max_retries_in_memory: RETRIES_IN_MEMORY,
            max_batch_events: delivery.max_batch_events,
            max_batch_bytes: delivery.max_batch_bytes.as_usize(),
            checkpoint_interval: delivery.checkpoint_interval.std(),
            max_unstored: delivery.max_unstored,
            max_replays: delivery.max_replays,
            max_retention_letters: delivery.max_retention_letters,
            dns_servers: delivery.dns_servers.iter().map(|server| server.0).collect(),
            extra_ca_file: delivery.extra_ca_file.clone(),
            attempts_max_bytes: delivery.attempts.max_bytes.bytes(),
            attempts_max_age: delivery.attempts.max_age.std(),
            dead_letter_max_age: delivery.dead_letter_max_age.std(),
            disable_after: delivery.disable_after.std(),
            operations_interval: delivery.operations_interval.std(),
            traces: self.traces(),
            breaker: plane::Breaker {
                failures_in_a_row: delivery.breaker.failures_in_a_row,
                window: delivery.breaker.window.std(),
                min_requests: delivery.breaker.min_requests,
                failure_share: delivery.breaker.failure_share,
                slow_share: delivery.breaker.slow_share,
                slow_call: delivery.breaker.slow_call.map(|slow| slow.std()),
            },
            retry_budget: plane::RetryBudget { share: delivery.retry_budget.share, per_second: delivery.retry_budget.per_second },
            adaptive_concurrency: delivery.adaptive_concurrency,
            max_endpoint_hold: delivery.max_endpoint_hold.std(),
        }
    }
}
