//! The machine's processors, as `lscpu` tells them: `/proc/cpuinfo` in the form of each
//! architecture, and the topology that the kernel shows.

use std::collections::HashSet;

use serde_json::{Value, json};

use crate::system::{PathPrefix, System};

mod arm;

const CPUS: &str = "/sys/devices/system/cpu";

/// The processors, with the facts that Ironic's inventory knows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cpu {
    /// Model; empty when the kernel does not know it.
    pub model_name: String,
    /// MHz, the highest where known; empty when unknown.
    pub frequency: String,
    /// Logical processors.
    pub count: usize,
    /// The machine's architecture in the kernel's word: `x86_64`, `aarch64`.
    pub architecture: String,
    /// Features, in the kernel's words.
    pub flags: Vec<String>,
    /// Sockets; 0 when unknown.
    pub socket_count: usize,
}

impl Cpu {
    /// The processors with the keys, and in the order, of Ironic's inventory.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "model_name": self.model_name,
            "frequency": self.frequency,
            "count": self.count,
            "architecture": self.architecture,
            "flags": self.flags,
            "socket_count": self.socket_count,
        })
    }
}

/// Reads the processors. Blocks for milliseconds.
#[must_use]
pub fn probe(system: &System) -> Cpu {
    let root = &system.root;
    let info = CpuInfo::parse(&root.read_optional("/proc/cpuinfo").unwrap_or_default());
    let present: Vec<u32> = root
        .read_optional(format!("{CPUS}/present"))
        .map(|text| parse_list(&text))
        .unwrap_or_default();
    Cpu {
        frequency: highest_frequency(root, &present)
            .or(info.frequency)
            .unwrap_or_default(),
        count: if present.is_empty() {
            info.count
        } else {
            present.len()
        },
        architecture: architecture(root.read_optional("/proc/sys/kernel/arch")),
        socket_count: sockets(root, &present, info.is_arm),
        model_name: info.model_name,
        flags: info.flags,
    }
}

/// The highest frequency that any of the processors may have: efficient and fast cores differ.
fn highest_frequency(root: &PathPrefix, present: &[u32]) -> Option<String> {
    let frequencies = present.iter().filter_map(|cpu| {
        let path = format!("{CPUS}/cpu{cpu}/cpufreq/cpuinfo_max_freq");
        root.read_optional(path)?.parse().ok()
    });
    frequencies.max().filter(|khz| *khz > 0).map(in_mhz)
}

/// kHz in the form of `lscpu`, `2400.0000`, with the digits that its `float` has.
fn in_mhz(khz: u32) -> String {
    #[allow(
        clippy::cast_precision_loss,
        reason = "lscpu rounds in the same way, and its text is what operators know"
    )]
    let mhz = khz as f32 / 1000.0;
    format!("{mhz:.4}")
}

/// The sockets that hold processors.
fn sockets(root: &PathPrefix, present: &[u32], is_arm: bool) -> usize {
    // Where ACPI does not describe the topology, ARM's packages are clusters of cores.
    if is_arm && !root.exists("/sys/firmware/acpi/tables/PPTT") {
        return crate::machine::memory::processor_sockets(root);
    }
    let topology =
        |cpu: &u32, name: &str| root.read_optional(format!("{CPUS}/cpu{cpu}/topology/{name}"));
    // Processors that share a package know each other. A mask counts if none before it has a
    // processor in common.
    let mut packages: Vec<HashSet<u32>> = Vec::new();
    for mask in present
        .iter()
        .filter_map(|cpu| topology(cpu, "core_siblings"))
    {
        let mask = parse_mask(&mask);
        if !mask.is_empty() && packages.iter().all(|known| known.is_disjoint(&mask)) {
            packages.push(mask);
        }
    }
    if !packages.is_empty() {
        return of_software(root, present).unwrap_or(packages.len());
    }
    let identifiers = present
        .iter()
        .filter_map(|cpu| topology(cpu, "physical_package_id"))
        .filter(|identifier| identifier != "-1");
    identifiers.collect::<HashSet<_>>().len()
}

/// The sockets that an IBM Z hypervisor tells of: the masks are those of virtual processors.
fn of_software(root: &PathPrefix, present: &[u32]) -> Option<usize> {
    let text = root.read_optional("/proc/sysinfo")?;
    let line = text
        .lines()
        .find_map(|line| line.trim().strip_prefix("CPU Topology SW:"))?;
    // Levels from the outside: two that are unused, drawers, books, sockets, cores.
    let levels: Vec<usize> = line
        .split_whitespace()
        .map_while(|word| word.parse().ok())
        .collect();
    let [_, _, drawers, books, sockets, _] = levels.try_into().ok()?;
    let has = |name: &str| {
        present
            .iter()
            .any(|cpu| root.exists(format!("{CPUS}/cpu{cpu}/topology/{name}")))
    };
    let books = if has("book_siblings") {
        books.max(1)
    } else {
        1
    };
    let drawers = if has("drawer_siblings") {
        drawers.max(1)
    } else {
        1
    };
    Some(sockets * books * drawers).filter(|sockets| *sockets > 0)
}

/// What `/proc/cpuinfo` tells.
#[derive(Debug, Default)]
struct CpuInfo {
    model_name: String,
    frequency: Option<String>,
    count: usize,
    flags: Vec<String>,
    is_arm: bool,
}

impl CpuInfo {
    fn parse(text: &str) -> Self {
        let lines = || {
            text.lines().filter_map(|line| {
                let (key, value) = line.split_once(':')?;
                Some((key.trim(), value.trim())).filter(|(_, value)| !value.is_empty())
            })
        };
        let first = |names: &[&str]| {
            let mut found = lines().filter(|(key, _)| names.contains(key));
            found.next().map(|(_, value)| value.to_owned())
        };
        // s390 numbers its processors in the key: `processor 0`.
        let is_processor =
            |key: &str| key.trim_end_matches(|c: char| c.is_ascii_digit()).trim() == "processor";
        let arm = arm::model_name(lines());
        let model = || first(&["model name", "Model Name", "cpu", "uarch"]);
        Self {
            is_arm: lines().any(|(key, _)| key == "CPU implementer"),
            model_name: arm.or_else(model).unwrap_or_default(),
            // What it runs at, for kernels that do not scale it: x86, LoongArch, s390, POWER.
            frequency: first(&["cpu MHz", "CPU MHz", "cpu MHz static", "clock"])
                .map(|text| text.trim_end_matches("MHz").to_owned()),
            count: lines().filter(|(key, _)| is_processor(key)).count(),
            // x86; ARM; s390; MIPS; SPARC.
            flags: first(&["flags", "Features", "features", "ASEs implemented", "type"])
                .unwrap_or_default()
                .split_whitespace()
                .map(str::to_owned)
                .collect(),
        }
    }
}

/// The numbers of a kernel list: `0-3,8`.
fn parse_list(text: &str) -> Vec<u32> {
    text.trim()
        .split(',')
        .filter_map(|item| match item.split_once('-') {
            Some((first, last)) => Some(first.parse().ok()?..=last.parse().ok()?),
            None => item.parse().ok().map(|only| only..=only),
        })
        .flatten()
        .collect()
}

/// The numbers of a kernel mask, hexadecimal with commas between groups of 32 bits:
/// `00000000,0000000f`.
fn parse_mask(text: &str) -> HashSet<u32> {
    let digits = text.trim().bytes().rev().filter(|byte| *byte != b',');
    let digits = digits.map(|byte| char::from(byte).to_digit(16).unwrap_or(0));
    let bits = (0..)
        .step_by(4)
        .zip(digits)
        .flat_map(|(shift, digit): (u32, u32)| {
            (0..4)
                .filter(move |bit| digit >> bit & 1 == 1)
                .map(move |bit| shift + bit)
        });
    bits.collect()
}

/// Kernels before 6.1 do not report it; this program runs on one architecture only, whose name
/// Rust spells like the kernel with these exceptions.
fn architecture(reported: Option<String>) -> String {
    reported.unwrap_or_else(|| {
        match std::env::consts::ARCH {
            "powerpc64" if cfg!(target_endian = "little") => "ppc64le",
            "powerpc64" => "ppc64",
            other => other,
        }
        .to_owned()
    })
}

#[cfg(test)]
mod tests;
