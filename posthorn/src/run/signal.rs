//! Waits for the wish to end: SIGTERM, or Ctrl-C at a terminal.

use tokio::signal::unix::{SignalKind, signal};

/// Resolves when the process is asked to end.
pub async fn wait() {
    let (Ok(mut term), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) else {
        tracing::error!("signals cannot be waited for; only a kill will end this process");
        return std::future::pending().await;
    };
    tokio::select! {
        _ = term.recv() => tracing::info!("SIGTERM: draining"),
        _ = interrupt.recv() => tracing::info!("interrupted: draining"),
    }
}
