//! What Linux knows about this process, under the names that every Prometheus client uses.

use std::fs;

use ironic_transport::socket;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use time::OffsetDateTime;

use super::{registered, whole};

/// The descriptors of this process. Each agent has one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Descriptors {
    /// How many are open.
    pub open: usize,
    /// How many may be open.
    pub limit: usize,
}

impl Descriptors {
    /// As it is now.
    #[must_use]
    pub fn now() -> Self {
        Self {
            open: sized_descriptors().unwrap_or_else(listed_descriptors),
            limit: socket::descriptor_limit(),
        }
    }
}

/// The size of the directory, which since Linux 6.2 is their number.
fn sized_descriptors() -> Option<usize> {
    let directory = fs::metadata("/proc/self/fd").ok()?;
    usize::try_from(directory.len())
        .ok()
        .filter(|open| *open > 0)
}

/// Its entries. To list ten thousand takes milliseconds.
fn listed_descriptors() -> usize {
    let entries = fs::read_dir("/proc/self/fd");
    // The one of the directory itself is among them.
    entries.map_or(0, |entries| entries.count().saturating_sub(1))
}

/// The gauges that are set from `/proc`.
#[derive(Debug)]
pub(super) struct ProcessGauges {
    open: Gauge,
    limit: Gauge,
    resident: Gauge,
}

impl ProcessGauges {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let start: Gauge = registered(
            registry,
            "process_start_time_seconds",
            "When the program was started, in seconds since 1970",
        );
        start.set(OffsetDateTime::now_utc().unix_timestamp());
        Self {
            open: registered(
                registry,
                "process_open_fds",
                "Descriptors that are open: each agent has one",
            ),
            limit: registered(
                registry,
                "process_max_fds",
                "Descriptors that may be open (LimitNOFILE)",
            ),
            resident: registered(
                registry,
                "process_resident_memory_bytes",
                "Memory that the process occupies",
            ),
        }
    }

    pub(super) fn set(&self, descriptors: Descriptors) {
        self.open.set(whole(descriptors.open));
        self.limit.set(whole(descriptors.limit));
        self.resident.set(whole(resident_bytes()));
    }
}

fn resident_bytes() -> usize {
    let pages = fs::read_to_string("/proc/self/statm");
    let pages = pages.ok().and_then(|text| resident_pages(&text));
    pages.unwrap_or_default() * rustix::param::page_size()
}

/// The second number of `/proc/self/statm`.
fn resident_pages(text: &str) -> Option<usize> {
    text.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_and_memory_are_those_of_this_process() {
        let before = Descriptors::now();
        let files: Vec<_> = (0..50)
            .map(|_| fs::File::open("/dev/null").unwrap())
            .collect();
        // Other tests of this process open and close files, too.
        let now = Descriptors::now();
        assert!(now.open + 40 > before.open + files.len());
        assert!(now.limit >= now.open);
        assert!(listed_descriptors() + 40 > before.open + files.len());
        assert!(resident_bytes() > 1024 * 1024);
        assert_eq!(resident_pages("100 23 4 5 0 6 0\n"), Some(23));
        assert_eq!(resident_pages(""), None);
    }
}
