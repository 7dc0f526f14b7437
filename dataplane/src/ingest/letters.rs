//! Where events go that a schema refused and QoS wants kept.

use futures_util::future::BoxFuture;
use posthorn_storage::state::DeadLetter;

/// Keeps dead letters. The state store blocks, so whoever owns it implements this with its writer thread.
pub trait DeadLetterSink: Send + Sync {
    /// Resolves once the letter is on the disk; the error says in words why it is not.
    fn put(&self, letter: DeadLetter) -> BoxFuture<'static, Result<(), String>>;
}
