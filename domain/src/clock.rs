//! The one source of time. Everything that asks what time it is asks a [`Clock`], so tests can run days in milliseconds.

use std::fmt;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::time::Time;

/// Where the time comes from. Cheap to clone.
#[derive(Clone)]
pub struct Clock(Source);

#[derive(Clone)]
enum Source {
    System,
    Given(Arc<dyn Fn() -> Time + Send + Sync>),
    Simulated(Arc<dyn Fn() -> Time + Send + Sync>),
}

impl Clock {
    /// The operating system's clock.
    pub const fn system() -> Self {
        Self(Source::System)
    }

    /// A clock that answers what `now` says; for tests and simulation.
    pub fn given(now: impl Fn() -> Time + Send + Sync + 'static) -> Self {
        Self(Source::Given(Arc::new(now)))
    }

    /// As [`Clock::given`], and what took how long is measured by it too: a run by such a clock can be repeated exactly.
    pub fn simulated(now: impl Fn() -> Time + Send + Sync + 'static) -> Self {
        Self(Source::Simulated(Arc::new(now)))
    }

    /// The time of day.
    #[expect(clippy::disallowed_methods, reason = "the one place that may")]
    pub fn now(&self) -> Time {
        match &self.0 {
            Source::System => {
                let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                Time::from_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
            }
            Source::Given(now) | Source::Simulated(now) => now(),
        }
    }

    /// A monotonic reading, for measuring how long something took.
    #[expect(clippy::disallowed_methods, reason = "the one place that may")]
    pub fn instant(&self) -> Instant {
        static ORIGIN: LazyLock<Instant> = LazyLock::new(Instant::now);
        match &self.0 {
            Source::System | Source::Given(_) => Instant::now(),
            Source::Simulated(now) => *ORIGIN + Duration::from_millis(now().millis()),
        }
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Source::System => "Clock::System",
            Source::Given(_) => "Clock::Given",
            Source::Simulated(_) => "Clock::Simulated",
        })
    }
}
