//! The CPU time that a process and its children have used, from `/proc`.

use std::collections::BTreeMap;

/// A kernel tick on every Linux that Rust supports: `sysconf(_SC_CLK_TCK)` is 100.
const TICK_MS: u64 = 10;

/// What one line of `/proc/<pid>/stat` says (`man 5 proc_pid_stat`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stat {
    parent: u32,
    cpu_ms: u64,
}

/// Milliseconds of user and system time of `root` and all that descend from it and still run.
pub(crate) fn used_ms(root: u32) -> u64 {
    let Ok(entries) = std::fs::read_dir("/proc") else { return 0 };
    let pids = entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok())
        .filter_map(|pid| Some((pid, stat(pid)?)));
    let all: BTreeMap<u32, Stat> = pids.collect();
    all.iter().filter(|(pid, _)| descends(**pid, root, &all)).map(|(_, stat)| stat.cpu_ms).sum()
}

fn descends(pid: u32, root: u32, all: &BTreeMap<u32, Stat>) -> bool {
    let mut at = pid;
    while at != root {
        match all.get(&at) {
            Some(stat) if stat.parent != 0 => at = stat.parent,
            _ => return false,
        }
    }
    true
}

fn stat(pid: u32) -> Option<Stat> {
    parse(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

fn parse(line: &str) -> Option<Stat> {
    // The name of the program stands in parentheses and may hold anything.
    let (_, after_name) = line.rsplit_once(") ")?;
    let fields: Vec<_> = after_name.split(' ').collect();
    let number = |field: usize| fields.get(field)?.parse::<u64>().ok();
    Some(Stat {
        parent: u32::try_from(number(1)?).ok()?,
        cpu_ms: (number(11)? + number(12)?) * TICK_MS,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_found_behind_any_name() {
        let line = "42 (a) b) S 7 42 42 0 -1 4194560 1 0 0 0 30 12 0 0 20 0 1 0 5 6 7";
        assert_eq!(parse(line), Some(Stat { parent: 7, cpu_ms: 420 }));
        assert_eq!(parse("nonsense"), None);
    }
}
