//! What all who read have together (I9): how many read at the same time, and how many bytes their pages hold until they are sent.

use std::sync::Arc;
use std::time::Duration;

use posthorn_domain::problem::{Code, Problem};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::config;

/// The unit in which bytes of pages are counted.
const UNIT: usize = 1024;
/// How long a page waits for others to be sent.
const PATIENCE: Duration = Duration::from_secs(5);
/// Bytes of a page of a stream: it is held for as long as its client takes to read it.
const STREAM_BYTES: usize = 128 << 10;

/// The shares of a node's readers, of topics and of places that it keeps alike. Cheap to clone.
#[derive(Clone)]
pub struct Shares {
    waits: Arc<Semaphore>,
    held: Arc<Semaphore>,
    max_held: usize,
    page: usize,
}

impl Shares {
    /// Shares within these limits.
    pub fn new(config: &config::Readers) -> Self {
        Self {
            waits: Arc::new(Semaphore::new(config.max_waits)),
            held: Arc::new(Semaphore::new(config.max_held_bytes.div_ceil(UNIT))),
            max_held: config.max_held_bytes,
            page: config.max_page_bytes,
        }
    }

    /// Bytes of events in a page; one event is always given.
    pub(crate) fn page_bytes(&self) -> usize {
        self.page
    }

    /// The same in a stream.
    pub(crate) fn stream_bytes(&self) -> usize {
        self.page.min(STREAM_BYTES)
    }

    /// A turn among those who read at the same time.
    ///
    /// # Errors
    /// `rate-limited` when as many read as may.
    pub(crate) fn turn(&self) -> Result<OwnedSemaphorePermit, Problem> {
        Arc::clone(&self.waits).try_acquire_owned().map_err(|_| {
            Problem::new(Code::RateLimited, "too many readers read at the same time (`readers.max_waits`); read again later")
                .with_retry_after(1)
        })
    }

    /// Room for a page of so many bytes among all that are being made and sent.
    ///
    /// # Errors
    /// `rate-limited` when there is none soon.
    pub(crate) async fn room(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Problem> {
        self.wait(self.units(bytes)).await
    }

    /// The room that a page came to need once it was read: what it does not need goes back.
    ///
    /// # Errors
    /// As [`Shares::room`].
    pub(crate) async fn fit(&self, held: Option<OwnedSemaphorePermit>, bytes: usize) -> Result<OwnedSemaphorePermit, Problem> {
        let (Some(mut held), units) = (held, self.units(bytes)) else { return self.room(bytes).await };
        let has = held.num_permits();
        drop(held.split(has.saturating_sub(units)));
        if has < units {
            held.merge(self.wait(units - has).await?);
        }
        Ok(held)
    }

    /// A page larger than all may hold together is sent alone.
    fn units(&self, bytes: usize) -> usize {
        bytes.min(self.max_held).div_ceil(UNIT)
    }

    async fn wait(&self, units: usize) -> Result<OwnedSemaphorePermit, Problem> {
        let room = Arc::clone(&self.held).acquire_many_owned(u32::try_from(units).unwrap_or(u32::MAX));
        match tokio::time::timeout(PATIENCE, room).await {
            Ok(Ok(room)) => Ok(room),
            _ => {
                let detail = "readers are being sent as many bytes as they may (`readers.max_held_bytes`); read again later";
                Err(Problem::new(Code::RateLimited, detail).with_retry_after(1))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_page_holds_what_it_needs_and_no_more() {
        let limits = config::Readers { max_waits: 1, max_page_bytes: 4 << 10, max_held_bytes: 10 << 10, ..config::Readers::default() };
        let shares = Shares::new(&limits);
        let free = || shares.held.available_permits();
        let held = shares.room(shares.page_bytes()).await.unwrap();
        assert_eq!(free(), 6);
        let small = shares.fit(Some(held), 100).await.unwrap();
        assert_eq!(free(), 9);
        let large = shares.fit(Some(shares.room(2 << 10).await.unwrap()), 9 << 10).await.unwrap();
        assert_eq!(free(), 0);
        drop((small, large));
        // What is larger than everything is sent, when nothing else is.
        let alone = shares.fit(None, 1 << 20).await.unwrap();
        assert_eq!(free(), 0);
        drop(alone);
        let turn = shares.turn().unwrap();
        assert_eq!(shares.turn().unwrap_err().code(), Code::RateLimited);
        drop(turn);
        assert!(shares.turn().is_ok());
    }
}
