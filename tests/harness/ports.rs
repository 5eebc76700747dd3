//! Ports of servers that end and come back, which the kernel gives to nobody else meanwhile.

use std::fs::{File, TryLockError};
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::ops::RangeInclusive;
use std::os::unix::fs::MetadataExt as _;

use turnpike_runtime::entropy;

/// Connections that nobody gave a port get one of these, and so do listeners that ask for any.
const KERNELS_OWN: &str = "/proc/sys/net/ipv4/ip_local_port_range";
/// Below are services that people run.
const FIRST: u16 = 12_000;
/// Ports that go with one lock, as in `tests/clients/ports.py`: its processes take theirs from the
/// same folder.
const BLOCK_PORTS: u16 = 32;
/// Blocks without which a machine has no room outside the kernel's range.
const LEAST_BLOCKS: usize = 128;

/// A port of this machine that nobody else of these tests is given.
#[derive(Debug)]
pub(super) struct Port {
    pub(super) number: u16,
    _block: File,
}

/// A port that is free now.
///
/// # Errors
/// The operating system's, or that every port is taken.
pub(super) fn free() -> io::Result<Port> {
    let owner = std::fs::metadata("/proc/self")?.uid();
    let folder = std::env::temp_dir().join(format!("turnpike-ports-{owner}"));
    std::fs::create_dir_all(&folder)?;
    let mut blocks = blocks_outside(&kernels_own()?);
    while !blocks.is_empty() {
        let any = usize::try_from(entropy::below(blocks.len() as u64)).unwrap_or_default();
        let begin = blocks.swap_remove(any);
        let block = File::create(folder.join(begin.to_string()))?;
        match block.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => continue,
            Err(TryLockError::Error(error)) => return Err(error),
        }
        if let Some(number) = (begin..=begin + (BLOCK_PORTS - 1)).find(|port| is_free(*port)) {
            return Ok(Port { number, _block: block });
        }
    }
    Err(io::Error::other("every port is taken"))
}

fn kernels_own() -> io::Result<RangeInclusive<u16>> {
    let text = std::fs::read_to_string(KERNELS_OWN)?;
    let mut bounds = text.split_whitespace().map(str::parse);
    match (bounds.next(), bounds.next()) {
        (Some(Ok(low)), Some(Ok(high))) => Ok(low..=high),
        _ => Err(io::Error::other(format!("{KERNELS_OWN}: {text}"))),
    }
}

/// Where blocks begin that the kernel leaves alone; all of them, where it leaves too few.
fn blocks_outside(own: &RangeInclusive<u16>) -> Vec<u16> {
    let last = u16::MAX - (BLOCK_PORTS - 1);
    let every = || (FIRST..=last).step_by(usize::from(BLOCK_PORTS));
    let is_outside = |begin: &u16| begin + (BLOCK_PORTS - 1) < *own.start() || begin > own.end();
    let outside: Vec<u16> = every().filter(is_outside).collect();
    if outside.len() >= LEAST_BLOCKS { outside } else { every().collect() }
}

fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_own_range_is_left_to_it_wherever_it_lies() {
        let bounds = |low, high| {
            let blocks = blocks_outside(&(low..=high));
            (blocks.len(), blocks.first().copied(), blocks.last().copied())
        };
        assert_eq!(bounds(32_768, 60_999), (790, Some(12_000), Some(65_504)));
        assert_eq!(bounds(10_000, 40_000), (797, Some(40_032), Some(65_504)));
        assert_eq!(bounds(40_000, u16::MAX), (875, Some(12_000), Some(39_968)));
        assert_eq!(bounds(1_024, u16::MAX).0, 1_673);
    }

    #[test]
    fn nobody_is_given_a_port_of_another() {
        let all: Vec<Port> = (0..40).map(|_| free().unwrap()).collect();
        let mut numbers: Vec<u16> = all.iter().map(|port| port.number).collect();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), all.len());
    }
}
