//! Waiting for a condition, with a deadline.

use std::future::Future;
use std::time::Duration;

use anyhow::{Result, bail};
use tokio::time::Instant;

const FIRST_PAUSE: Duration = Duration::from_millis(2);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// Asks `probe` again and again until it answers `Some`, and gives what it answered.
///
/// # Errors
/// When `deadline` has passed without an answer; `what` names in the error what was waited for.
pub async fn eventually<T, F, Fut>(what: &str, deadline: Duration, mut probe: F) -> Result<T>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Option<T>>,
{
    let end = Instant::now() + deadline;
    let mut pause = FIRST_PAUSE;
    loop {
        // The probe itself may hang; the deadline holds for it too.
        match tokio::time::timeout_at(end, probe()).await {
            Ok(Some(found)) => return Ok(found),
            Ok(None) if Instant::now() + pause < end => tokio::time::sleep(pause).await,
            _ => bail!("not within {deadline:?}: {what}"),
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn gives_the_answer_as_soon_as_there_is_one() {
        let mut asked = 0;
        let got = eventually("third question", Duration::from_secs(10), || {
            asked += 1;
            std::future::ready((asked == 3).then_some(asked))
        });
        assert_eq!(got.await.unwrap(), 3);
    }

    #[tokio::test]
    async fn a_hanging_probe_ends_at_the_deadline() {
        let error = eventually::<(), _, _>("the moon", Duration::from_millis(20), std::future::pending).await.unwrap_err();
        assert!(error.to_string().contains("the moon"));
    }
}
