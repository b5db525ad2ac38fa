//! Processors of machines made of files.

use super::*;
use crate::machine::testing::{FakeMachine, Programs};

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
    let text = "processor\t: 0\nBogoMIPS\t: 50.00\nFeatures\t: fp asimd\n\
        CPU implementer\t: 0x41\nCPU architecture: 8\nCPU variant\t: 0x3\nCPU part\t: 0xd0c\n";
    let cpu = CpuInfo::parse(text);
    assert_eq!(
        (cpu.model_name.as_str(), cpu.flags.join(" ").as_str()),
        ("Neoverse-N1", "fp asimd")
    );
}

#[test]
fn reads_lists() {
    assert_eq!(parse_list("0-3,8\n"), [0, 1, 2, 3, 8]);
    assert_eq!(parse_list("0"), [0]);
    assert_eq!(parse_list("x,1-"), Vec::<u32>::new());
}

/// What makes a machine: `/proc/cpuinfo`, processors to a core, cores to a socket, sockets,
/// the kHz of every processor in turn, other files.
struct Sample {
    cpuinfo: String,
    threads: usize,
    cores: usize,
    sockets: usize,
    frequencies: &'static [u32],
    files: &'static [(&'static str, &'static str)],
}

impl Sample {
    /// `block` is written for each processor, with its number for `#`.
    fn new(before: &str, block: &str, after: &str, shape: [usize; 3]) -> Self {
        let [threads, cores, sockets] = shape;
        let blocks = (0..threads * cores * sockets).map(|cpu| block.replace('#', &cpu.to_string()));
        Self {
            cpuinfo: format!("{before}{}{after}", blocks.collect::<String>()),
            threads,
            cores,
            sockets,
            frequencies: &[],
            files: &[],
        }
    }

    fn machine(&self) -> FakeMachine {
        let mut machine = FakeMachine::new();
        machine.bytes("proc/cpuinfo", self.cpuinfo.as_bytes());
        let count = self.threads * self.cores * self.sockets;
        let cpus = "sys/devices/system/cpu";
        for list in ["present", "possible", "online"] {
            machine.file(&format!("{cpus}/{list}"), &format!("0-{}", count - 1));
        }
        machine.file(&format!("{cpus}/kernel_max"), "255");
        let mask = |first: usize, length: usize| {
            let mut words = [0_u32; 2];
            for cpu in first..first + length {
                words[cpu / 32] |= 1 << (cpu % 32);
            }
            format!("{:08x},{:08x}", words[1], words[0])
        };
        let of_socket = self.threads * self.cores;
        for cpu in 0..count {
            let topology = format!("{cpus}/cpu{cpu}/topology");
            let socket = cpu / of_socket;
            machine
                .file(
                    &format!("{topology}/physical_package_id"),
                    &socket.to_string(),
                )
                .file(
                    &format!("{topology}/core_id"),
                    &(cpu / self.threads).to_string(),
                )
                .file(
                    &format!("{topology}/core_siblings"),
                    &mask(socket * of_socket, of_socket),
                )
                .file(
                    &format!("{topology}/thread_siblings"),
                    &mask(cpu / self.threads * self.threads, self.threads),
                );
            if let Some(khz) = self.frequencies.get(cpu % self.frequencies.len().max(1)) {
                let policy = format!("{cpus}/cpu{cpu}/cpufreq");
                machine
                    .file(&format!("{policy}/cpuinfo_max_freq"), &khz.to_string())
                    .file(&format!("{policy}/cpuinfo_min_freq"), "400000");
            }
        }
        for (path, text) in self.files {
            machine.file(path, text);
        }
        machine
    }
}

fn samples() -> Vec<Sample> {
    const PPTT: &[(&str, &str)] = &[("sys/firmware/acpi/tables/PPTT", "PPTT")];
    let x86 = "processor\t: #\nvendor_id\t: GenuineIntel\nmodel\t\t: 106\nmodel name\t: Intel(R) Xeon(R) Gold 6330 CPU @ 2.00GHz\n\
        stepping\t: 6\ncpu MHz\t\t: 2000.000\nflags\t\t: fpu vme de pse tsc\n\n";
    let arm = |maker: &str, part: &str| {
        format!(
            "processor\t: #\nBogoMIPS\t: 50.00\nFeatures\t: fp asimd evtstrm aes\nCPU implementer\t: {maker}\n\
             CPU architecture: 8\nCPU variant\t: 0x3\nCPU part\t: {part}\nCPU revision\t: 1\n\n"
        )
    };
    let mut all = vec![
        Sample {
            frequencies: &[3_100_000, 3_399_999, 2_000_001],
            ..Sample::new("", x86, "", [2, 8, 2])
        },
        Sample {
            frequencies: &[4_500_101],
            ..Sample::new("", x86, "", [1, 4, 1])
        },
        Sample::new("", x86, "", [1, 2, 4]),
        Sample::new(
            "",
            "processor\t: #\ncpu\t\t: POWER9, altivec supported\nclock\t\t: 3425.000000MHz\nrevision\t: 2.2 (pvr 004e 1202)\n\n",
            "timebase\t: 512000000\nplatform\t: PowerNV\nmodel\t\t: 9006-22P\nmachine\t\t: PowerNV 9006-22P\nfirmware\t: OPAL\nMMU\t\t: Radix\n",
            [4, 4, 2],
        ),
        Sample::new(
            "",
            "processor\t: #\nhart\t\t: #\nisa\t\t: rv64imafdc\nmmu\t\t: sv39\nuarch\t\t: sifive,u74-mc\n\n",
            "",
            [1, 4, 1],
        ),
        Sample::new(
            "vendor_id       : IBM/S390\n# processors    : 4\nbogomips per cpu: 3033.00\nmax thread id   : 0\n\
             features\t: esan3 zarch stfle msa ldisp eimm dfp \n",
            "processor #: version = 00,  identification = 1A2B3C,  machine = 8561\n",
            "\ncpu number      : 0\ncpu MHz dynamic : 5200\ncpu MHz static  : 5200\n",
            [1, 2, 2],
        ),
    ];
    for (maker, part) in [
        ("0x41", "0xd0c"),
        ("0x41", "0xd4f"),
        ("0x41", "0xd08"),
        ("0x41", "0xd40"),
        ("0x43", "0x0af"),
        ("0x43", "0x0a1"),
        ("0x48", "0xd01"),
        ("0x46", "0x001"),
        ("0x50", "0x000"),
        ("0x51", "0xc00"),
        ("0xc0", "0xac3"),
        ("0x42", "0x516"),
    ] {
        let block = arm(maker, part);
        all.push(Sample {
            frequencies: &[2_600_000],
            files: PPTT,
            ..Sample::new("", &block, "", [1, 4, 2])
        });
    }
    all
}

#[test]
fn processors_are_reported_as_lscpu_reports_them() {
    let Some(programs) = Programs::find("processors_are_reported_as_lscpu_reports_them") else {
        return;
    };
    let mut compared = 0;
    for sample in samples() {
        let machine = sample.machine();
        let ours = probe(&machine.system());
        let output = programs
            .command("lscpu")
            .arg("--sysroot")
            .arg(machine.path())
            .output()
            .unwrap();
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        let value = |name: &str| {
            let mut lines = printed.lines().filter_map(|line| line.split_once(':'));
            let found = lines.find(|(key, _)| key.trim() == name);
            found
                .map(|(_, value)| value.trim().to_owned())
                .filter(|value| value != "-")
        };
        // `lscpu` leaves out what it does not know of an architecture; RISC-V is new to it.
        let facts = [
            ("CPU(s)", ours.count.to_string()),
            ("Socket(s)", ours.socket_count.to_string()),
            ("Model name", ours.model_name.clone()),
            ("Flags", ours.flags.join(" ")),
            ("CPU max MHz", ours.frequency.clone()),
        ];
        for (name, ours) in facts {
            if let Some(expected) = value(name) {
                assert_eq!(ours, expected, "{name}: {}\n{printed}", sample.cpuinfo);
                compared += 1;
            }
        }
    }
    assert!(compared >= 70, "{compared}");
}

#[test]
fn sockets_of_arm_without_a_description_by_acpi_are_those_of_smbios() {
    let block = "processor\t: #\nCPU implementer\t: 0x41\nCPU part\t: 0xd08\n\n";
    let mut machine = Sample::new("", block, "", [1, 2, 4]).machine();
    assert_eq!(probe(&machine.system()).socket_count, 0);
    // Two sockets, one of them empty.
    let mut tables = Vec::new();
    for status in [0x41, 0x00] {
        let mut structure = [0; 0x1a];
        (structure[0], structure[1], structure[0x18]) = (4, 0x1a, status);
        tables.extend(structure);
        tables.extend([0, 0]);
    }
    machine.bytes("sys/firmware/dmi/tables/DMI", &tables);
    assert_eq!(probe(&machine.system()).socket_count, 1);
}

#[test]
fn sockets_of_a_virtual_ibm_z_are_those_of_its_hypervisor() {
    let block = "processor #: version = 00,  identification = 1A2B3C,  machine = 8561\n";
    let mut machine = Sample::new("", block, "", [1, 2, 2]).machine();
    machine.file(
        "proc/sysinfo",
        "Manufacturer: IBM\nCPU Topology SW:      0 0 0 2 3 8\n",
    );
    assert_eq!(probe(&machine.system()).socket_count, 3);
    machine.file(
        "sys/devices/system/cpu/cpu0/topology/book_siblings",
        "0000000f",
    );
    assert_eq!(probe(&machine.system()).socket_count, 6);
}
