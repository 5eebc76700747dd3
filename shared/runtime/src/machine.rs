//! Which start of the machine this is: what was written before another one may be lost.

/// Where Linux tells it (`random(4)`, "boot_id"): another one after each start.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// The id of the machine's present start; `None` where the system has none.
#[must_use]
pub fn boot_id() -> Option<String> {
    let id = std::fs::read_to_string(BOOT_ID).ok()?;
    Some(id.trim().to_owned()).filter(|id| !id.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_stays_the_same_while_the_machine_runs() {
        assert_eq!(boot_id(), boot_id());
        assert!(boot_id().is_none_or(|id| id.len() > 8));
    }
}
