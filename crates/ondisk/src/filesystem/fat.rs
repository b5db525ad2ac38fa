//! FAT12, FAT16 and FAT32, known by the parameters in their boot sector.

use crate::identity::FormatIdentity;
use crate::read::{le_u16, le_u32};
use crate::text;
use crate::volume::bitlocker;
use crate::window::Window;

/// The most clusters of each size of entries.
const FAT12: u32 = 0xff4;
const FAT16: u32 = 0xfff4;
const FAT32: u32 = 0x0fff_fff6;
/// An entry of a directory in bytes, and how much of FAT32's root is searched for a label.
const ENTRY: u64 = 32;
const MAX_CLUSTERS: u32 = 100;
/// Attributes of an entry.
const VOLUME: u8 = 0x08;
const DIRECTORY: u8 = 0x10;
const LONG_NAME: u8 = 0x0f;
/// The first byte of an entry that was deleted.
const DELETED: u8 = 0xe5;
/// Texts that say what a file system is, with their places.
const NAMES: [(usize, &[u8]); 6] = [
    (0x52, b"MSWIN"),
    (0x52, b"FAT32   "),
    (0x36, b"MSDOS"),
    (0x36, b"FAT16   "),
    (0x36, b"FAT12   "),
    (0x36, b"FAT     "),
];

/// The parameters in a boot sector (BIOS parameter block).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BootSector {
    /// Bytes of a sector.
    pub sector_size: u32,
    /// Sectors of a cluster.
    pub cluster_sectors: u32,
    /// Sectors before the first table.
    pub reserved: u32,
    /// Sectors of all tables.
    tables: u32,
    /// Entries of the root directory; zero for FAT32.
    root_entries: u32,
    /// Sectors of the file system.
    pub sectors: u32,
    /// Entries are of 32 bits.
    pub is_fat32: bool,
}

impl BootSector {
    /// Reads the first sector of a FAT file system. `None`: it is not one; its parameters
    /// decide, whatever the sector is called in its texts, whatever the byte for the medium is
    /// and however many tables there are.
    #[must_use]
    pub fn parse(sector: &[u8]) -> Option<Self> {
        let byte = |at: usize| sector.get(at).copied().map(u32::from);
        let is_named = NAMES
            .iter()
            .any(|(at, name)| sector.get(*at..).is_some_and(|rest| rest.starts_with(name)));
        let is_signed = sector.get(0x1fe..0x200)? == [0x55, 0xaa];
        // What JFS and HPFS leave room for looks like a boot sector, too.
        let is_other = [&b"JFS     "[..], b"HPFS    "].contains(&sector.get(0x36..0x3e)?);
        if !is_named && (!is_signed || is_other) {
            return None;
        }
        let sector_size = u32::from(le_u16(sector, 0x0b)?);
        let (cluster_sectors, tables) = (byte(0x0d)?, byte(0x10)?);
        let reserved = u32::from(le_u16(sector, 0x0e)?);
        let root_entries = u32::from(le_u16(sector, 0x11)?);
        let medium = byte(0x15)?;
        let is_possible = tables > 0
            && reserved > 0
            && matches!(medium, 0xf0 | 0xf8..)
            && cluster_sectors.is_power_of_two()
            && sector_size.is_power_of_two()
            && (512..=4096).contains(&sector_size);
        if !is_possible {
            return None;
        }
        let short = u32::from(le_u16(sector, 0x13)?);
        let sectors = if short == 0 {
            le_u32(sector, 0x20)?
        } else {
            short
        };
        let table_16 = u32::from(le_u16(sector, 0x16)?);
        let table_32 = le_u32(sector, 0x24)?;
        let is_fat32 = table_16 == 0 && table_32 != 0;
        let table = if table_16 == 0 { table_32 } else { table_16 };
        let parsed = Self {
            sector_size,
            cluster_sectors,
            reserved,
            tables: table.checked_mul(tables)?,
            root_entries,
            sectors,
            is_fat32,
        };
        let most = match parsed.clusters()? {
            _ if is_fat32 => FAT32,
            clusters if clusters > FAT12 => FAT16,
            _ => FAT12,
        };
        (parsed.clusters()? <= most).then_some(parsed)
    }

    fn clusters(&self) -> Option<u32> {
        let root = (self.root_entries * 32).div_ceil(self.sector_size);
        let before = self.reserved.checked_add(self.tables)?.checked_add(root)?;
        Some(self.sectors.checked_sub(before)? / self.cluster_sectors)
    }
}

/// The label is the one in the root directory, which drivers read and write, not the one that
/// the boot sector was made with.
pub(crate) fn probe(window: &mut Window<'_>, _: u64) -> Option<FormatIdentity> {
    let sector = window.bytes(0, 512)?;
    let parsed = BootSector::parse(&sector)?;
    if bitlocker::is_there(window) {
        return None;
    }
    let (serial, label) = if parsed.is_fat32 {
        if !has_possible_information(window, &sector, &parsed) {
            return None;
        }
        (Some(0x43), label_in_clusters(window, &sector, &parsed))
    } else {
        let is_extended = matches!(sector[0x26], 0x28 | 0x29);
        (is_extended.then_some(0x27), label_in_root(window, &parsed))
    };
    let serial = serial
        .and_then(|at| le_u32(&sector, at))
        .filter(|serial| *serial != 0);
    Some(FormatIdentity {
        uuid: serial.map(text::serial_number),
        label,
    })
}

/// The sector with what is free has its marks, or none at all.
fn has_possible_information(window: &mut Window<'_>, sector: &[u8], parsed: &BootSector) -> bool {
    let fs_info = le_u16(sector, 0x30).map_or(0, u64::from);
    if fs_info == 0 {
        return true;
    }
    let Some(found) = window.bytes(fs_info * u64::from(parsed.sector_size), 512) else {
        return false;
    };
    matches!(&found[..4], b"RRaA" | b"RRdA" | [0, 0, 0, 0])
        && matches!(&found[484..488], b"rrAa" | [0, 0, 0, 0])
}

fn label_in_root(window: &mut Window<'_>, parsed: &BootSector) -> Option<String> {
    let start = u64::from(parsed.reserved) + u64::from(parsed.tables);
    let length = u64::from(parsed.root_entries) * ENTRY;
    let root = window.bytes(start * u64::from(parsed.sector_size), length)?;
    text::label(&volume_name(&root)?)
}

fn label_in_clusters(
    window: &mut Window<'_>,
    sector: &[u8],
    parsed: &BootSector,
) -> Option<String> {
    let sector_size = u64::from(parsed.sector_size);
    let cluster_size = u64::from(parsed.cluster_sectors) * sector_size;
    let tables = u64::from(parsed.reserved) * sector_size;
    let data = tables + u64::from(parsed.tables) * sector_size;
    let entries = u64::from(le_u32(sector, 0x24)?) * sector_size / 4;
    let mut cluster = u64::from(le_u32(sector, 0x2c)?);
    for _ in 1..MAX_CLUSTERS {
        if cluster < 2 || cluster >= entries {
            break;
        }
        let offset = data + (cluster - 2) * cluster_size;
        if let Some(name) = volume_name(&window.bytes(offset, cluster_size)?) {
            return text::label(&name);
        }
        let next = window.bytes(tables + cluster * 4, 4)?;
        cluster = u64::from(le_u32(&next, 0)? & 0x0fff_ffff);
    }
    None
}

/// The name in the entry that stands for the volume.
fn volume_name(directory: &[u8]) -> Option<[u8; 11]> {
    let (entries, _) = directory.as_chunks::<32>();
    let used = entries.iter().take_while(|entry| entry[0] != 0);
    let is_volume = |entry: &&[u8; 32]| {
        let attributes = entry[11];
        let has_content = entry[20..22] != [0, 0] || entry[26..28] != [0, 0];
        entry[0] != DELETED
            && !has_content
            && attributes & 0x3f != LONG_NAME
            && attributes & (VOLUME | DIRECTORY) == VOLUME
    };
    let mut name: [u8; 11] = *used.into_iter().find(is_volume)?.first_chunk()?;
    // The first byte of a name that begins with what marks a deleted one.
    if name[0] == 0x05 {
        name[0] = DELETED;
    }
    Some(name)
}
