//! Wakes those who wait for a topic to grow. Bounded: there is an entry only while somebody waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use foldhash::HashMap;
use parking_lot::Mutex;
use posthorn_domain::names::TopicName;
use tokio::sync::watch;

/// Who waits for which topic.
#[derive(Default)]
pub struct TailNotify {
    topics: Mutex<HashMap<TopicName, watch::Sender<()>>>,
    /// Entries of `topics`, so that nobody takes the lock for nobody.
    count: AtomicUsize,
}

/// One who waits.
pub struct Waiting {
    owner: Arc<TailNotify>,
    topic: TopicName,
    receiver: Option<watch::Receiver<()>>,
}

impl TailNotify {
    /// With nobody waiting.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// The topic has grown, or a part of it was lost. To be called by the log's tail sink once readers see it. Never blocks for long.
    pub fn grown(&self, topic: &TopicName) {
        if self.count.load(Ordering::SeqCst) == 0 {
            return;
        }
        if let Some(sender) = self.topics.lock().get(topic) {
            sender.send_replace(());
        }
    }

    /// Wants to hear of this topic from now on.
    pub fn subscribe(self: &Arc<Self>, topic: &TopicName) -> Waiting {
        let mut topics = self.topics.lock();
        let receiver = topics.entry(topic.clone()).or_insert_with(|| watch::Sender::new(())).subscribe();
        self.count.store(topics.len(), Ordering::SeqCst);
        Waiting { owner: self.clone(), topic: topic.clone(), receiver: Some(receiver) }
    }
}

impl Waiting {
    /// What happened up to now is known: only what happens later ends [`Waiting::changed`].
    pub fn mark(&mut self) {
        if let Some(receiver) = &mut self.receiver {
            receiver.mark_unchanged();
        }
    }

    /// Resolves once the topic has grown since the last mark. Safe to drop and call again.
    pub async fn changed(&mut self) {
        let gone = match &mut self.receiver {
            Some(receiver) => receiver.changed().await.is_err(),
            None => true,
        };
        if gone {
            // The sender outlives its receivers, so this is never reached; waiting is the harmless answer.
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut topics = self.owner.topics.lock();
        self.receiver = None;
        if topics.get(&self.topic).is_some_and(|sender| sender.receiver_count() == 0) {
            topics.remove(&self.topic);
            self.owner.count.store(topics.len(), Ordering::SeqCst);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn growth_between_mark_and_wait_is_not_missed() {
        let tail = TailNotify::new();
        let topic: TopicName = "orders".parse().expect("a name");
        let mut waiting = tail.subscribe(&topic);
        waiting.mark();
        tail.grown(&topic);
        waiting.changed().await;
        drop(waiting);
        assert!(tail.topics.lock().is_empty());
        tail.grown(&topic);
    }
}
