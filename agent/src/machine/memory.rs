//! The machine's memory.

use ironic_ondisk::read::{le_u16, le_u32};
use ironic_ondisk::size::MIB;
use serde_json::{Value, json};

use crate::system::{PathPrefix, System};

/// How much memory there is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MemorySize {
    /// Bytes that the kernel can use; `None` when it does not tell.
    pub total: Option<u64>,
    /// MiB that are plugged in; `None` when nothing tells.
    pub physical_mb: Option<u64>,
}

impl MemorySize {
    /// The memory with the keys, and in the order, of Ironic's inventory.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({"total": self.total, "physical_mb": self.physical_mb})
    }
}

/// Reads how much memory there is. Blocks for milliseconds.
#[must_use]
pub fn probe(system: &System) -> MemorySize {
    let root = &system.root;
    let total = root
        .read_optional("/proc/meminfo")
        .and_then(|text| parse_meminfo(&text));
    let modules = std::fs::read(root.path("/sys/firmware/dmi/tables/DMI"))
        .ok()
        .and_then(|tables| parse_smbios(&tables));
    MemorySize {
        total,
        physical_mb: modules
            .or_else(|| memory_blocks(root))
            .or_else(|| total.map(rounded)),
    }
}

/// `MemTotal` in bytes.
fn parse_meminfo(text: &str) -> Option<u64> {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// The MiB of the modules of the main memory in the firmware's tables (SMBIOS 3.7): memory
/// devices (type 17) whose array (type 16) serves as system memory. `None` when no module
/// has a size.
fn parse_smbios(tables: &[u8]) -> Option<u64> {
    const ARRAY: u8 = 16;
    const DEVICE: u8 = 17;
    const SYSTEM_MEMORY: u8 = 3;
    let other_arrays: Vec<[u8; 2]> = structures(tables)
        .filter(|body| body[0] == ARRAY && body.get(5).is_some_and(|r#use| *r#use != SYSTEM_MEMORY))
        .filter_map(|body| body.get(2..4)?.first_chunk().copied())
        .collect();
    let total: u64 = structures(tables)
        .filter(|body| body[0] == DEVICE)
        .filter(|body| {
            let array = body.get(4..6).and_then(|handle| handle.first_chunk());
            !array.is_some_and(|handle| other_arrays.contains(handle))
        })
        .filter_map(module_mib)
        .sum();
    (total > 0).then_some(total)
}

/// The sockets that hold a processor, by the firmware's tables: structures of type 4 whose
/// status says that the socket is populated.
pub(super) fn processor_sockets(root: &PathPrefix) -> usize {
    const PROCESSOR: u8 = 4;
    const POPULATED: u8 = 1 << 6;
    let tables = std::fs::read(root.path("/sys/firmware/dmi/tables/DMI")).unwrap_or_default();
    let is_populated = |body: &&[u8]| {
        let status = body.get(0x18).copied().unwrap_or_default();
        body[0] == PROCESSOR && status & POPULATED != 0
    };
    structures(&tables).filter(is_populated).count()
}

/// The size of a memory device in MiB; `None` for an empty socket and an unknown size.
fn module_mib(body: &[u8]) -> Option<u64> {
    const UNKNOWN: u16 = 0xffff;
    const IN_EXTENDED_FIELD: u16 = 0x7fff;
    const IN_KIB: u16 = 0x8000;
    let size = le_u16(body, 0x0c)?;
    match size {
        0 | UNKNOWN => None,
        IN_EXTENDED_FIELD => {
            let mib = le_u32(body, 0x1c)?;
            Some(u64::from(mib & 0x7fff_ffff))
        }
        size if size & IN_KIB != 0 => Some(u64::from(size & !IN_KIB) / 1024),
        size => Some(u64::from(size)),
    }
}

/// The formatted parts of the structures. Each begins with its type and its length; the
/// texts after it end with two zeros.
fn structures(mut tables: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let length = usize::from(*tables.get(1)?);
        let body = tables.get(..length).filter(|body| body.len() >= 4)?;
        let texts = &tables[length..];
        let end = texts.windows(2).position(|pair| pair == [0, 0])? + 2;
        tables = &texts[end..];
        Some(body)
    })
}

/// MiB of the memory blocks that the kernel has online.
fn memory_blocks(root: &PathPrefix) -> Option<u64> {
    const BLOCKS: &str = "/sys/devices/system/memory";
    let size = root.read_optional(format!("{BLOCKS}/block_size_bytes"))?;
    let size = u64::from_str_radix(&size, 16).ok()?;
    let online = root
        .names(BLOCKS)
        .iter()
        .filter(|name| name.starts_with("memory"))
        .filter(|name| {
            root.read_optional(format!("{BLOCKS}/{name}/online"))
                .as_deref()
                == Some("1")
        })
        .count();
    let bytes = size.checked_mul(u64::try_from(online).ok()?)?;
    (bytes > 0).then_some(bytes / MIB)
}

/// The kernel takes less than 256 MiB for itself and the firmware.
fn rounded(total: u64) -> u64 {
    total.div_ceil(256 * MIB) * 256
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::machine::testing::FakeMachine;

    const MEMINFO: &str = "MemTotal:        2968812 kB\nMemFree:         2000000 kB";

    fn structure(kind: u8, handle: u8, body: &[u8]) -> Vec<u8> {
        let length = u8::try_from(4 + body.len()).unwrap();
        [&[kind, length, handle, 0], body, b"DIMM 0\0\0"].concat()
    }

    fn array(handle: u8, r#use: u8) -> Vec<u8> {
        structure(16, handle, &[3, r#use, 6, 0, 0, 0, 0])
    }

    fn module(array: u8, size: u16, extended: u32) -> Vec<u8> {
        let mut body = vec![0; 0x20 - 4];
        body[0] = array;
        body[8..10].copy_from_slice(&size.to_le_bytes());
        body[0x18..0x1c].copy_from_slice(&extended.to_le_bytes());
        structure(17, 0x40, &body)
    }

    #[test]
    fn sums_the_modules_of_the_main_memory() {
        let tables = [
            array(1, 3),
            array(2, 5),
            module(1, 16384, 0),
            module(1, 0x7fff, 32768),
            module(1, 0, 0),
            module(1, 0xffff, 0),
            // 16 MiB of flash memory, in KiB.
            module(2, 0x8000 | 16384, 0),
            structure(127, 0x7f, &[]),
        ]
        .concat();
        assert_eq!(parse_smbios(&tables), Some(16384 + 32768));
        assert_eq!(parse_smbios(&module(1, 0x8000 | 2048, 0)), Some(2));
        assert_eq!(parse_smbios(&module(1, 0, 0)), None);
        assert_eq!(parse_smbios(b""), None);
    }

    #[test]
    fn asks_modules_then_blocks_then_rounds() {
        let mut machine = FakeMachine::new();
        assert_eq!(probe(&machine.system()), MemorySize::default());
        machine.file("proc/meminfo", MEMINFO);
        let memory = probe(&machine.system());
        assert_eq!(
            memory.to_json(),
            json!({"total": 3040063488_u64, "physical_mb": 3072})
        );

        let blocks = "sys/devices/system/memory";
        machine.file(&format!("{blocks}/block_size_bytes"), "8000000");
        for (block, online) in [(0, "1"), (1, "1"), (2, "0")] {
            machine.file(&format!("{blocks}/memory{block}/online"), online);
        }
        assert_eq!(probe(&machine.system()).physical_mb, Some(256));

        machine.bytes("sys/firmware/dmi/tables/DMI", &module(1, 4096, 0));
        assert_eq!(probe(&machine.system()).physical_mb, Some(4096));

        let mut machine = FakeMachine::new();
        machine.bytes("sys/firmware/dmi/tables/DMI", &module(1, 4096, 0));
        let memory = probe(&machine.system());
        assert_eq!((memory.total, memory.physical_mb), (None, Some(4096)));
    }

    proptest! {
        #[test]
        fn nonsense_is_survived(tables in proptest::collection::vec(any::<u8>(), 0..300)) {
            parse_smbios(&tables);
        }
    }
}
