//! Where and what was measured.

use std::fs;
use std::process::Command;

/// The machine, the commit and the day.
#[derive(Debug, Clone)]
pub struct Machine {
    /// Processor, memory, kernel.
    pub description: String,
    /// The commit, with `+` when the tree has changes beyond it.
    pub commit: String,
    /// The day.
    pub day: String,
}

impl Machine {
    /// Of this process.
    #[must_use]
    pub fn read() -> Self {
        let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = value(&cpu, "model name").unwrap_or("unknown processor");
        let sha = if value(&cpu, "flags").is_some_and(|flags| flags.split(' ').any(|flag| flag == "sha_ni")) { "with" } else { "without" };
        let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let kib: u64 = value(&memory, "MemTotal").and_then(|text| text.split(' ').next()?.parse().ok()).unwrap_or_default();
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        Self {
            description: format!(
                "{model} {sha} SHA instructions, {cores} cores (two are used), {} GiB, Linux {}",
                kib >> 20,
                kernel.trim()
            ),
            commit: commit(),
            day: jiff::Timestamp::from_microsecond(crate::wall::micros() as i64)
                .map_or_else(|_| String::new(), |now| now.strftime("%Y-%m-%d").to_string()),
        }
    }
}

fn value<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(name)?.trim_start().strip_prefix(':')).map(str::trim)
}

fn commit() -> String {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())?;
        String::from_utf8(output.stdout).ok().map(|text| text.trim().to_owned())
    };
    let Some(commit) = git(&["rev-parse", "--short", "HEAD"]) else { return "unknown".to_owned() };
    // The results themselves are no change of what was measured.
    let changed = git(&[
        "status",
        "--porcelain",
        "--untracked-files=no",
        "--",
        ".",
        ":!load-tests/RESULTS.md",
        ":!load-tests/results.json",
        ":!load-tests/plots",
    ]);
    if changed.is_some_and(|list| !list.is_empty()) { format!("{commit}+") } else { commit }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_describes_itself() {
        let machine = Machine::read();
        assert!(machine.description.contains("cores") && machine.description.contains("Linux"), "{machine:?}");
        assert_eq!((machine.day.len(), value("a : b c\n", "a")), (10, Some("b c")));
    }
}
