//! Every metric of the data plane: names in one place, handles looked up once (a look-up costs ten times a count).

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

macro_rules! handles {
    ($(#[$doc:meta])* $group:ident { $($(#[$fdoc:meta])* $field:ident: $kind:ident = $macro:ident!($name:literal $(, $label:literal => $value:literal)*);)+ }) => {
        $(#[$doc])*
        #[derive(Clone)]
        pub struct $group { $($(#[$fdoc])* pub $field: $kind),+ }

        impl Default for $group {
            fn default() -> Self {
                Self { $($field: $macro!($name $(, $label => $value)*)),+ }
            }
        }
    };
}

handles! {
    /// Taking events in.
    IngestMetrics {
        /// Events that were kept.
        accepted: Counter = counter!("posthorn_ingest_events_total", "result" => "accepted");
        /// Events seen before.
        duplicate: Counter = counter!("posthorn_ingest_events_total", "result" => "duplicate");
        /// Events refused and kept as dead letters.
        dead_lettered: Counter = counter!("posthorn_ingest_events_total", "result" => "dead_lettered");
        /// Events refused.
        refused: Counter = counter!("posthorn_ingest_events_total", "result" => "refused");
        /// Bytes of requests that are being worked on.
        in_flight_bytes: Gauge = gauge!("posthorn_ingest_in_flight_bytes");
        /// Requests turned away because too much was in flight.
        overloaded: Counter = counter!("posthorn_ingest_overloaded_total");
        /// Open connections.
        connections: Gauge = gauge!("posthorn_http_connections");
        /// Connections turned away because there were too many.
        connections_refused: Counter = counter!("posthorn_http_connections_refused_total");
        /// Ids remembered for duplicates.
        dedup_entries: Gauge = gauge!("posthorn_dedup_entries");
        /// Ids forgotten before their window had passed, because there were too many.
        dedup_shortened: Counter = counter!("posthorn_dedup_window_shortened_total");
        /// From the end of the request to its answer.
        seconds: Histogram = histogram!("posthorn_ingest_seconds");
    }
}

handles! {
    /// Sending events out.
    DeliveryMetrics {
        /// Requests that an endpoint answered with success.
        delivered: Counter = counter!("posthorn_attempts_total", "outcome" => "delivered");
        /// Requests that failed and will be tried again.
        retried: Counter = counter!("posthorn_attempts_total", "outcome" => "retry");
        /// Deliveries that went out after a crash and may have gone out before it.
        redelivered: Counter = counter!("posthorn_redelivered_total", "cause" => "restart");
        /// Deliveries that became dead letters.
        dead_lettered: Counter = counter!("posthorn_deliveries_ended_total", "outcome" => "dead_lettered");
        /// Deliveries that were dropped by a QoS rule.
        dropped: Counter = counter!("posthorn_deliveries_ended_total", "outcome" => "dropped");
        /// Requests on their way.
        in_flight: Gauge = gauge!("posthorn_attempts_in_flight");
        /// Deliveries that wait for their next attempt.
        waiting: Gauge = gauge!("posthorn_deliveries_waiting");
        /// Bytes of events that wait in memory.
        tail_bytes: Gauge = gauge!("posthorn_lane_bytes");
        /// Lanes that read from the log because they are behind.
        lagging: Gauge = gauge!("posthorn_lanes_lagging");
        /// Pages of the log that were read for lanes that are behind.
        page_reads: Counter = counter!("posthorn_lane_page_reads_total");
        /// Pages that a lane had from another's read.
        pages_shared: Counter = counter!("posthorn_lane_pages_shared_total");
        /// Events that lanes passed over without reading, because their segment has nothing for them.
        skipped: Counter = counter!("posthorn_lane_skipped_events_total");
        /// Times that a lane gave events back to the log because others needed their share of the memory.
        cuts: Counter = counter!("posthorn_lane_cuts_total");
        /// Batches that were too large for their endpoint and went again in smaller ones.
        batches_halved: Counter = counter!("posthorn_batches_halved_total");
        /// Endpoints that are only probed.
        breakers_open: Gauge = gauge!("posthorn_breakers_open");
        /// Subscriptions whose endpoint is sent to.
        breaker_closed: Gauge = gauge!("posthorn_subscriptions", "breaker" => "closed");
        /// Subscriptions whose endpoint is waited for.
        breaker_open: Gauge = gauge!("posthorn_subscriptions", "breaker" => "open");
        /// Subscriptions whose endpoint is being probed.
        breaker_half_open: Gauge = gauge!("posthorn_subscriptions", "breaker" => "half_open");
        /// Breakers that opened after faults in a row.
        opened_in_a_row: Counter = counter!("posthorn_breaker_openings_total", "reason" => "failures_in_a_row");
        /// Breakers that opened at a share of faults.
        opened_failure_share: Counter = counter!("posthorn_breaker_openings_total", "reason" => "failure_share");
        /// Breakers that opened at a share of slow answers.
        opened_latency: Counter = counter!("posthorn_breaker_openings_total", "reason" => "latency");
        /// Times that an endpoint's `Retry-After` stopped all that goes to it.
        holds: Counter = counter!("posthorn_endpoint_holds_total");
        /// Times that the due retries of a subscription had to wait for the retry budget.
        retries_held: Counter = counter!("posthorn_retries_held_total");
        /// Subscriptions whose due retries wait for it.
        retries_in_line: Gauge = gauge!("posthorn_retry_budget_waiting");
        /// Damaged ranges of the log that a lane met.
        log_gaps: Counter = counter!("posthorn_lane_log_gaps_total");
        /// Checkpoints written.
        checkpoints: Counter = counter!("posthorn_checkpoints_total");
        /// Checkpoints that the state store refused.
        checkpoints_failed: Counter = counter!("posthorn_checkpoints_failed_total");
        /// Deliveries that have ended since the last checkpoint.
        unstored: Gauge = gauge!("posthorn_deliveries_unstored");
        /// Length of an attempt.
        attempt_seconds: Histogram = histogram!("posthorn_attempt_seconds");
    }
}

handles! {
    /// The link to the control plane.
    ControlMetrics {
        /// The revision in force.
        revision: Gauge = gauge!("posthorn_snapshot_revision");
        /// Seconds since the control plane was last heard of.
        age: Gauge = gauge!("posthorn_snapshot_age_seconds");
        /// Resources of the snapshot that cannot be used.
        nacked: Gauge = gauge!("posthorn_snapshot_nacked");
        /// Whether the stream is up.
        connected: Gauge = gauge!("posthorn_control_connected");
    }
}
