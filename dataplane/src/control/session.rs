//! One stream of pushes: hello, then take, apply and answer, one after the other.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use posthorn_domain::clock::Clock;
use posthorn_domain::ids::SubscriptionId;
use posthorn_domain::snapshot::{Delta, Nack, ResourceKey};
use posthorn_domain::time::Time;
use posthorn_proto::snapshot::node_message::Message;
use posthorn_proto::snapshot::snapshot_service_client::SnapshotServiceClient;
use posthorn_proto::snapshot::{self as wire, Ack, Hello, NodeMessage, Report};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;

use super::held::Held;
use super::push::{Gather, Push};
use super::{Kept, Plane};
use crate::telemetry::ControlMetrics;

/// Messages on their way to the control plane.
const QUEUE: usize = 64;
/// Bytes of one message; the control plane cuts at a mebibyte, but never a resource.
const MAX_MESSAGE: usize = 32 << 20;
const OPEN_WITHIN: Duration = Duration::from_secs(10);
/// How long an acknowledgement waits for the disk.
const KEPT_WITHIN: Duration = Duration::from_secs(5);
/// Reports that are remembered until the control plane has acted on them.
const MAX_REPORTED: usize = 1024;

/// What outlives a stream.
pub(super) struct Link {
    pub(super) node_id: String,
    pub(super) version: String,
    pub(super) plane: Arc<dyn Plane>,
    pub(super) held: Arc<Mutex<Held>>,
    pub(super) gone: mpsc::Receiver<(SubscriptionId, &'static str)>,
    /// Reported, and not changed or removed by a push since; said again on the next stream.
    pub(super) reported: Vec<(SubscriptionId, &'static str)>,
    pub(super) metrics: ControlMetrics,
    pub(super) clock: Clock,
    pub(super) ready: watch::Sender<bool>,
    pub(super) connected: watch::Sender<bool>,
    pub(super) revision: watch::Sender<u64>,
    pub(super) changes: watch::Sender<u64>,
    /// The change that was last written to the disk.
    pub(super) saved: watch::Sender<u64>,
    /// Something did not fit: the next hello asks for everything.
    pub(super) doubtful: bool,
    /// When the last stream ended; the start, when there was none.
    pub(super) heard_at: Time,
}

/// How a stream ended.
pub(super) struct End {
    pub(super) acked: bool,
    pub(super) reason: String,
}

impl Link {
    pub(super) fn hello(&self) -> Hello {
        let held = self.held.lock();
        Hello {
            node_id: self.node_id.clone(),
            revision: if self.doubtful { 0 } else { held.revision },
            control_plane_id: held.control_plane_id.clone(),
            version: self.version.clone(),
        }
    }

    /// Puts a kept snapshot in force.
    pub(super) async fn restore(&mut self, kept: Kept) {
        self.held.lock().restore(&kept);
        // What could not be used is tried once more, so that it is named again.
        let bad = kept.bad();
        let nacks = self.plane.restore(kept).await;
        self.held.lock().not_restored(nacks);
        if !bad.changed.is_empty() {
            self.apply(bad, true).await;
        }
        self.in_force();
    }

    /// Until the stream ends or a push is doubtful.
    pub(super) async fn converse(&mut self, channel: Channel) -> End {
        let mut acked = false;
        let reason = match self.stream(channel, &mut acked).await {
            Ok(()) => "the control plane closed the stream".to_owned(),
            Err(error) => error.to_string(),
        };
        End { acked, reason }
    }

    async fn stream(&mut self, channel: Channel, acked: &mut bool) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let (out, outgoing) = mpsc::channel(QUEUE);
        send(&out, Message::Hello(self.hello())).await?;
        let mut client = SnapshotServiceClient::new(channel).max_decoding_message_size(MAX_MESSAGE);
        let opened = tokio::time::timeout(OPEN_WITHIN, client.sync(ReceiverStream::new(outgoing))).await;
        let mut pushes = opened.map_err(|_| "the stream was not opened in time")??.into_inner();
        self.connected.send_replace(true);
        self.metrics.connected.set(1.0);
        self.metrics.age.set(0.0);
        for (id, reason) in self.reported.clone() {
            send(&out, report(id, reason)).await?;
        }
        let mut gather = Gather::default();
        loop {
            tokio::select! {
                message = pushes.message() => {
                    let Some(message) = message? else { return Ok(()) };
                    let push = gather.take(message).inspect_err(|_| self.doubtful = true)?;
                    if let Some(push) = push {
                        send(&out, Message::Ack(self.take(push).await?)).await?;
                        *acked = true;
                    }
                }
                Some((id, reason)) = self.gone.recv() => {
                    if !self.reported.iter().any(|(known, _)| *known == id) && self.reported.len() < MAX_REPORTED {
                        self.reported.push((id, reason));
                        send(&out, report(id, reason)).await?;
                    }
                }
            }
        }
    }

    async fn take(&mut self, mut push: Push) -> Result<Ack, super::push::Doubt> {
        let delta = self.held.lock().delta(&mut push);
        let delta = delta.inspect_err(|_| self.doubtful = true)?;
        self.reported.retain(|(id, _)| {
            let key = ResourceKey::subscription(id);
            !delta.changed.contains_key(&key) && !delta.removed.contains(&key)
        });
        // A full snapshot may come from a control plane that has lost its memory: only what it names as deleted is.
        let (named, missing) = delta.removed.iter().cloned().partition(|key| push.full && push.removed.contains(key));
        let deleted = Delta { revision: delta.revision, changed: BTreeMap::new(), removed: named };
        self.apply(Delta { removed: missing, ..delta }, push.full).await;
        if !deleted.removed.is_empty() {
            self.apply(deleted, false).await;
        }
        self.held.lock().commit_push(push.control_plane_id, push.unreadable);
        if push.full {
            self.doubtful = false;
        }
        self.in_force();
        self.keep().await;
        if self.held.lock().lost {
            self.doubtful = true;
            return Err(super::push::Doubt::Lost);
        }
        let nacks = self.held.lock().nacks.clone().into_iter();
        let nacks = nacks.map(|(key, reason)| wire::Nack { resource: key.as_str().to_owned(), reason }).collect();
        Ok(Ack { nonce: push.nonce, revision: push.revision, nacks })
    }

    /// Has the change written down, and waits for that.
    async fn keep(&self) {
        self.changes.send_modify(|count| *count += 1);
        let change = *self.changes.borrow();
        let mut saved = self.saved.subscribe();
        if tokio::time::timeout(KEPT_WITHIN, saved.wait_for(|saved| *saved >= change)).await.is_err() {
            tracing::warn!("the snapshot takes long to be written; it is acknowledged all the same");
        }
    }

    async fn apply(&self, delta: Delta, full: bool) {
        let nacks: Vec<Nack> = self.plane.apply(&delta, full).await;
        self.held.lock().commit(delta, nacks);
    }

    #[expect(clippy::cast_precision_loss, reason = "a gauge")]
    fn in_force(&self) {
        let (revision, nacked) = {
            let held = self.held.lock();
            (held.revision, held.nacks.len())
        };
        self.metrics.revision.set(revision as f64);
        self.metrics.nacked.set(nacked as f64);
        self.revision.send_replace(revision);
        self.ready.send_replace(true);
    }

    /// Shows how long the control plane has not been heard of.
    pub(super) fn aged(&self) {
        self.metrics.age.set(self.clock.now().since(self.heard_at).as_secs_f64());
    }

    pub(super) fn disconnected(&mut self) {
        if self.connected.send_replace(false) {
            self.heard_at = self.clock.now();
        }
        self.metrics.connected.set(0.0);
    }
}

async fn send(out: &mpsc::Sender<NodeMessage>, message: Message) -> Result<(), &'static str> {
    out.send(NodeMessage { message: Some(message) }).await.map_err(|_| "the stream is closed")
}

fn report(id: SubscriptionId, reason: &str) -> Message {
    Message::Report(Report { subscription: id.to_string(), reason: reason.to_owned() })
}
