//! The machine's processors.

use std::collections::HashSet;

use serde_json::{Value, json};

use crate::system::System;

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
    const CPUS: &str = "/sys/devices/system/cpu";
    let root = &system.root;
    let read = |path: &str| root.read_optional(format!("{CPUS}/{path}"));
    let info = parse_cpuinfo(&root.read_optional("/proc/cpuinfo").unwrap_or_default());
    let present: Vec<u32> = read("present")
        .map(|text| parse_list(&text))
        .unwrap_or_default();
    let packages: HashSet<String> = present
        .iter()
        .filter_map(|cpu| read(&format!("cpu{cpu}/topology/physical_package_id")))
        .filter(|id| id != "-1")
        .collect();
    let maximum = read("cpu0/cpufreq/cpuinfo_max_freq").and_then(|text| in_mhz(&text));
    Cpu {
        frequency: maximum.unwrap_or(info.frequency),
        count: if present.is_empty() {
            info.count
        } else {
            present.len()
        },
        architecture: architecture(root.read_optional("/proc/sys/kernel/arch")),
        socket_count: packages.len(),
        ..Cpu {
            model_name: info.model_name,
            flags: info.flags,
            ..Cpu::default()
        }
    }
}

/// What `/proc/cpuinfo` tells: the first processor's description and the number of blocks.
fn parse_cpuinfo(text: &str) -> Cpu {
    let value = |names: &[&str]| {
        text.lines()
            .filter_map(|line| line.split_once(':'))
            .find(|(key, value)| names.contains(&key.trim()) && !value.trim().is_empty())
            .map(|(_, value)| value.trim().to_owned())
            .unwrap_or_default()
    };
    let blocks = text
        .lines()
        .filter(|line| {
            line.split_once(':')
                .is_some_and(|(key, _)| key.trim() == "processor")
        })
        .count();
    Cpu {
        model_name: value(&["model name", "cpu"]),
        frequency: value(&["cpu MHz"]),
        count: blocks,
        flags: value(&["flags", "Features", "features"])
            .split_whitespace()
            .map(str::to_owned)
            .collect(),
        ..Cpu::default()
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

/// kHz in the form of `lscpu`: `2400.0000`.
fn in_mhz(khz: &str) -> Option<String> {
    let khz: u32 = khz.trim().parse().ok()?;
    Some(format!("{}.{:03}0", khz / 1000, khz % 1000))
}

/// Kernels before 6.1 do not tell; this program runs on one architecture only, whose name
/// Rust spells like the kernel with these exceptions.
fn architecture(told: Option<String>) -> String {
    told.unwrap_or_else(|| {
        match std::env::consts::ARCH {
            "powerpc64" if cfg!(target_endian = "little") => "ppc64le",
            "powerpc64" => "ppc64",
            other => other,
        }
        .to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::testing::FakeMachine;

    const CPUINFO: &str = "processor\t: 0\nvendor_id\t: AuthenticAMD\nmodel name\t: AMD EPYC 7282 16-Core Processor\ncpu MHz\t\t: 2794.748\nflags\t\t: fpu vme constant_tsc\nbugs\t\t:\n\nprocessor\t: 1\nmodel name\t: other\n";

    #[test]
    fn reads_a_machine_with_frequencies_and_sockets() {
        let mut machine = FakeMachine::new();
        machine
            .file("proc/cpuinfo", CPUINFO)
            .file("proc/sys/kernel/arch", "x86_64");
        let cpus = "sys/devices/system/cpu";
        machine
            .file(&format!("{cpus}/present"), "0-3")
            .file(&format!("{cpus}/cpu0/cpufreq/cpuinfo_max_freq"), "2400000");
        for (cpu, package) in [(0, "0"), (1, "0"), (2, "1"), (3, "1")] {
            machine.file(
                &format!("{cpus}/cpu{cpu}/topology/physical_package_id"),
                package,
            );
        }
        assert_eq!(
            probe(&machine.system()).to_json(),
            json!({
                "model_name": "AMD EPYC 7282 16-Core Processor", "frequency": "2400.0000",
                "count": 4, "architecture": "x86_64",
                "flags": ["fpu", "vme", "constant_tsc"], "socket_count": 2,
            })
        );
    }

    #[test]
    fn reads_what_is_left_without_sysfs() {
        let mut machine = FakeMachine::new();
        machine.file("proc/cpuinfo", CPUINFO);
        let cpu = probe(&machine.system());
        assert_eq!(
            (cpu.frequency.as_str(), cpu.count, cpu.socket_count),
            ("2794.748", 2, 0)
        );
        assert_eq!(cpu.architecture, std::env::consts::ARCH);

        let nothing = probe(&FakeMachine::new().system());
        assert_eq!((nothing.model_name.as_str(), nothing.count), ("", 0));
        assert!(nothing.flags.is_empty());
    }

    #[test]
    fn reads_an_arm_server() {
        let cpu = parse_cpuinfo("processor\t: 0\nBogoMIPS\t: 50.00\nFeatures\t: fp asimd\n");
        assert_eq!(
            (cpu.model_name.as_str(), cpu.flags.join(" ").as_str()),
            ("", "fp asimd")
        );
    }

    #[test]
    fn reads_lists() {
        assert_eq!(parse_list("0-3,8\n"), [0, 1, 2, 3, 8]);
        assert_eq!(parse_list("0"), [0]);
        assert_eq!(parse_list("x,1-"), Vec::<u32>::new());
    }
}
