//! Names of ARM's processor cores. Their kernel tells numbers: who made the core, and which of
//! the maker's it is (the registers MIDR, "Main ID Register", of the architecture's manual).

/// Maker, its cores and their numbers: those of servers, and of boards that are used as such.
const CORES: &[(u32, &[(u32, &str)])] = &[
    // ARM
    (
        0x41,
        &[
            (0xc07, "Cortex-A7"),
            (0xc08, "Cortex-A8"),
            (0xc09, "Cortex-A9"),
            (0xc0d, "Cortex-A17"),
            (0xc0e, "Cortex-A17"),
            (0xc0f, "Cortex-A15"),
            (0xd01, "Cortex-A32"),
            (0xd03, "Cortex-A53"),
            (0xd04, "Cortex-A35"),
            (0xd05, "Cortex-A55"),
            (0xd07, "Cortex-A57"),
            (0xd08, "Cortex-A72"),
            (0xd09, "Cortex-A73"),
            (0xd0a, "Cortex-A75"),
            (0xd0b, "Cortex-A76"),
            (0xd0c, "Neoverse-N1"),
            (0xd0d, "Cortex-A77"),
            (0xd0e, "Cortex-A76AE"),
            (0xd40, "Neoverse-V1"),
            (0xd41, "Cortex-A78"),
            (0xd42, "Cortex-A78AE"),
            (0xd44, "Cortex-X1"),
            (0xd46, "Cortex-A510"),
            (0xd47, "Cortex-A710"),
            (0xd48, "Cortex-X2"),
            (0xd49, "Neoverse-N2"),
            (0xd4a, "Neoverse-E1"),
            (0xd4b, "Cortex-A78C"),
            (0xd4d, "Cortex-A715"),
            (0xd4e, "Cortex-X3"),
            (0xd4f, "Neoverse-V2"),
            (0xd80, "Cortex-A520"),
            (0xd81, "Cortex-A720"),
            (0xd82, "Cortex-X4"),
            (0xd83, "Neoverse-V3AE"),
            (0xd84, "Neoverse-V3"),
            (0xd8e, "Neoverse-N3"),
        ],
    ),
    // Broadcom
    (0x42, &[(0x100, "Brahma-B53"), (0x516, "ThunderX2")]),
    // Cavium
    (
        0x43,
        &[
            (0x0a0, "ThunderX"),
            (0x0a1, "ThunderX-88XX"),
            (0x0a2, "ThunderX-81XX"),
            (0x0a3, "ThunderX-83XX"),
            (0x0af, "ThunderX2-99xx"),
        ],
    ),
    // Fujitsu
    (0x46, &[(0x001, "A64FX")]),
    // HiSilicon
    (0x48, &[(0xd01, "Kunpeng-920")]),
    // NVIDIA
    (
        0x4e,
        &[(0x000, "Denver"), (0x003, "Denver-2"), (0x004, "Carmel")],
    ),
    // Applied Micro
    (0x50, &[(0x000, "X-Gene")]),
    // Qualcomm
    (0x51, &[(0xc00, "Falkor"), (0xc01, "Saphira")]),
    // Phytium
    (0x70, &[(0x662, "FTC662"), (0x663, "FTC663")]),
    // Ampere
    (0xc0, &[(0xac3, "Ampere-1"), (0xac4, "Ampere-1a")]),
];

/// The name of the cores; where there are several kinds, of the one with the highest numbers,
/// which is the one that `lscpu` prints last.
pub(super) fn model_name<'a>(lines: impl Iterator<Item = (&'a str, &'a str)>) -> Option<String> {
    let mut maker = None;
    let mut highest = None;
    for (key, value) in lines {
        match key {
            "CPU implementer" => maker = number(value),
            "CPU part" => highest = highest.max(maker.zip(number(value))),
            _ => {}
        }
    }
    let (maker, part) = highest?;
    let (_, cores) = CORES.iter().find(|(known, _)| *known == maker)?;
    let (_, name) = cores.iter().find(|(known, _)| *known == part)?;
    Some((*name).to_owned())
}

fn number(text: &str) -> Option<u32> {
    u32::from_str_radix(text.strip_prefix("0x")?, 16).ok()
}
