//! The wish to end: SIGTERM, or Ctrl-C at a terminal.

use tokio::signal::unix::{SignalKind, signal};

/// Resolves when the process is asked to end, from this call on: whoever is told that it is ready may ask at once.
pub fn asked_to_end() -> impl Future<Output = ()> {
    let signals = signal(SignalKind::terminate()).and_then(|term| Ok((term, signal(SignalKind::interrupt())?)));
    async {
        let Ok((mut term, mut interrupt)) = signals else {
            tracing::error!("signals cannot be waited for; only a kill will end this process");
            return std::future::pending().await;
        };
        tokio::select! {
            _ = term.recv() => tracing::info!("SIGTERM: draining"),
            _ = interrupt.recv() => tracing::info!("interrupted: draining"),
        }
    }
}
