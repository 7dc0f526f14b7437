//! Two cores for everything: results of machines with more can then be compared by their ratios.

use anyhow::{Context, Result};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Binds this thread, and all threads and processes that it starts from now on, to the first two cores that it may use.
///
/// # Errors
/// When the kernel refuses.
pub fn share_two() -> Result<()> {
    let allowed = sched_getaffinity(None).context("which cores may be used")?;
    if allowed.count() > 2 {
        sched_setaffinity(None, &first_two(&allowed)).context("binding to two cores")?;
    }
    Ok(())
}

fn first_two(allowed: &CpuSet) -> CpuSet {
    let mut two = CpuSet::new();
    (0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core)).take(2).for_each(|core| two.set(core));
    two
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_two_that_are_allowed_are_taken() {
        let mut allowed = CpuSet::new();
        [3, 5, 9].into_iter().for_each(|core| allowed.set(core));
        let two = first_two(&allowed);
        assert!(two.is_set(3) && two.is_set(5) && two.count() == 2);
        share_two().unwrap();
        assert!(sched_getaffinity(None).unwrap().count() <= 2);
    }
}
