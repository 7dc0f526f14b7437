//! What processes have used, read from `/proc`: CPU, memory, bytes written, context switches.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};

/// How far the two ways to count CPU time may differ by their grain alone.
const TWO_TICKS: Duration = Duration::from_millis(20);

/// The use of one process, or of several together, since they started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// User and system time, to a clock tick (10 ms).
    pub cpu: Duration,
    /// The same of the threads that are alive, to the nanosecond.
    threads: Duration,
    /// Bytes that were to be stored, whether or not they have reached the disk (`write_bytes` in proc(5)).
    pub written: u64,
    /// Context switches of all threads that are alive.
    pub switches: u64,
    /// Resident memory now, in bytes.
    pub resident: u64,
    /// Connections and files that are open.
    pub descriptors: u64,
}

impl Usage {
    /// The use of these processes together.
    ///
    /// # Errors
    /// When one has ended.
    pub fn of(pids: &[u32]) -> Result<Self> {
        Ok(Self::sum(Self::each(pids)?))
    }

    /// The use of each of these processes.
    ///
    /// # Errors
    /// When one has ended.
    pub fn each(pids: &[u32]) -> Result<Vec<Self>> {
        pids.iter().map(|pid| Self::one(*pid)).collect()
    }

    /// All of these together.
    #[must_use]
    pub fn sum(all: impl IntoIterator<Item = Self>) -> Self {
        all.into_iter().fold(Self::default(), Self::plus)
    }

    /// What was used since an earlier reading; memory and descriptors as they are now. The finer of the two CPU times counts, unless
    /// threads have ended meanwhile and taken theirs with them.
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        let (coarse, fine) = (self.cpu.saturating_sub(earlier.cpu), self.threads.saturating_sub(earlier.threads));
        Self {
            cpu: if coarse.abs_diff(fine) <= TWO_TICKS { fine } else { coarse },
            threads: fine,
            written: self.written.saturating_sub(earlier.written),
            switches: self.switches.saturating_sub(earlier.switches),
            ..self
        }
    }

    fn one(pid: u32) -> Result<Self> {
        let read = |file: &str| fs::read_to_string(format!("/proc/{pid}/{file}")).with_context(|| format!("/proc/{pid}/{file}"));
        Ok(Self {
            cpu: cpu(&read("stat")?)?,
            threads: threads(pid),
            // Of another user's process this is not readable; then it counts as nothing.
            written: read("io").ok().and_then(|io| field(&io, "write_bytes:")).unwrap_or_default(),
            switches: switches(pid),
            resident: resident(pid)?,
            descriptors: fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, |list| list.count() as u64),
        })
    }

    fn plus(self, other: Self) -> Self {
        Self {
            cpu: self.cpu + other.cpu,
            threads: self.threads + other.threads,
            written: self.written + other.written,
            switches: self.switches + other.switches,
            resident: self.resident + other.resident,
            descriptors: self.descriptors + other.descriptors,
        }
    }
}

/// Resident memory of a process, in bytes.
///
/// # Errors
/// When it has ended.
pub fn resident(pid: u32) -> Result<u64> {
    let statm = fs::read_to_string(format!("/proc/{pid}/statm")).with_context(|| format!("/proc/{pid}/statm"))?;
    let pages: u64 = statm.split(' ').nth(1).and_then(|field| field.parse().ok()).context("/proc/PID/statm")?;
    Ok(pages * rustix::param::page_size() as u64)
}

/// Forgets the most memory that a process had so far: from now on [`peak`] counts anew. Whether the kernel does that for us.
#[must_use]
pub fn reset_peak(pid: u32) -> bool {
    // 5 is "reset the peak resident set size" (proc(5), /proc/PID/clear_refs).
    fs::write(format!("/proc/{pid}/clear_refs"), "5").is_ok()
}

/// The most resident memory that a process had since its start or [`reset_peak`], in bytes.
#[must_use]
pub fn peak(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    field(&status, "VmHWM:").map(|kib| kib * 1024)
}

/// The names of processes, such as `postgres`; a second of the same name is `postgres-2`, one that has ended its number.
#[must_use]
pub fn names(pids: &[u32]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for pid in pids {
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).map_or_else(|_| pid.to_string(), |name| name.trim().replace('/', "-"));
        let numbered = (2..).map(|n| format!("{name}-{n}"));
        let free = std::iter::once(name.clone()).chain(numbered).find(|name| !names.contains(name));
        names.extend(free);
    }
    names
}

/// The name in brackets may hold blanks; what follows does not (proc(5)): state is field 3, utime 14, stime 15.
fn cpu(stat: &str) -> Result<Duration> {
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    let ticks = |n: usize| fields.get(n - 3).and_then(|f| f.parse::<u64>().ok()).context("/proc/PID/stat");
    Ok(Duration::from_micros((ticks(14)? + ticks(15)?) * 1_000_000 / rustix::param::clock_ticks_per_second()))
}

/// The first field of `schedstat` (nanoseconds on a CPU), over all threads; nothing where the kernel does not count.
fn threads(pid: u32) -> Duration {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return Duration::ZERO };
    let texts = tasks.flatten().filter_map(|task| fs::read_to_string(task.path().join("schedstat")).ok());
    Duration::from_nanos(texts.filter_map(|text| text.split(' ').next()?.parse::<u64>().ok()).sum())
}

fn switches(pid: u32) -> u64 {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return 0 };
    let of_one = |status: String| {
        ["voluntary_ctxt_switches:", "nonvoluntary_ctxt_switches:"].iter().filter_map(|name| field(&status, name)).sum::<u64>()
    };
    tasks.flatten().filter_map(|task| fs::read_to_string(task.path().join("status")).ok()).map(of_one).sum()
}

fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_use_grows() {
        let pid = std::process::id();
        let before = Usage::of(&[pid]).unwrap();
        let mut sum = 0_u64;
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), vec![1_u8; 1 << 20]).unwrap();
        while Usage::of(&[pid]).unwrap().since(before).cpu < Duration::from_millis(20) {
            sum = (0..1_000_000).fold(sum, |sum, n| std::hint::black_box(sum ^ n));
        }
        let used = Usage::of(&[pid]).unwrap().since(before);
        assert!(used.resident > 1 << 20 && used.descriptors > 2, "{used:?}");
        assert!(Usage::of(&[pid, pid]).unwrap().resident > used.resident);
        assert!(Usage::of(&[u32::MAX]).is_err());
        assert_eq!(threads(u32::MAX), Duration::ZERO);
    }

    #[test]
    fn a_peak_is_seen_between_two_looks_and_forgotten_when_told() {
        const LARGE: usize = 64 << 20;
        let pid = std::process::id();
        let before = resident(pid).unwrap();
        drop(std::hint::black_box(vec![1_u8; LARGE]));
        let peak_then = peak(pid).unwrap();
        assert!(peak_then >= before + LARGE as u64 * 3 / 4, "{before} {peak_then}");
        // Some containers do not allow it.
        if reset_peak(pid) {
            assert!(peak(pid).unwrap() < peak_then - LARGE as u64 / 2);
        }
        assert!(!reset_peak(u32::MAX));
        assert_eq!(peak(u32::MAX), None);
    }

    #[test]
    fn processes_are_told_apart_by_name_and_number() {
        let pid = std::process::id();
        let [one, two, ended] = names(&[pid, pid, u32::MAX]).try_into().unwrap();
        assert_eq!((two, ended), (format!("{one}-2"), u32::MAX.to_string()));
        assert_eq!(Usage::each(&[pid, pid]).unwrap().len(), 2);
    }

    #[test]
    fn the_finer_cpu_time_counts_unless_threads_have_ended() {
        let usage = |cpu, threads| Usage { cpu: Duration::from_micros(cpu), threads: Duration::from_micros(threads), ..Usage::default() };
        let since = |now: Usage, then| now.since(then).cpu.as_micros();
        assert_eq!(since(usage(1_100_000, 1_093_000), usage(1_000_000, 1_002_000)), 91_000);
        assert_eq!(since(usage(1_100_000, 700_000), usage(1_000_000, 1_000_000)), 100_000);
    }

    #[test]
    fn a_name_with_blanks_and_brackets_does_not_shift_the_fields() {
        let stat = "12 (a ) b) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0 20";
        let ticks = rustix::param::clock_ticks_per_second();
        assert_eq!(cpu(stat).unwrap(), Duration::from_micros(200 * 1_000_000 / ticks));
        assert_eq!((field("a: 1\nb:\t22 kB\n", "b:"), field("a: 1", "b:")), (Some(22), None));
    }
}
