//! exFAT.

use crate::identity::FormatIdentity;
use crate::read::{le_u16, le_u32};
use crate::text;
use crate::window::Window;

/// An entry of a directory in bytes; the kind of the one with the label; how many are looked
/// at.
const ENTRY: u64 = 32;
const LABEL: u8 = 0x83;
const MAX_ENTRIES: u32 = 65_536;

pub(crate) fn probe(window: &mut Window<'_>, _: u64) -> Option<FormatIdentity> {
    let sector = window.bytes(0, 512)?;
    let volume = ExfatVolume::parse(&sector)?;
    Some(FormatIdentity {
        uuid: le_u32(&sector, 100)
            .filter(|serial| *serial != 0)
            .map(text::serial_number),
        label: volume.label(window),
    })
}

struct ExfatVolume {
    fat: u64,
    heap: u64,
    root: u32,
    sector_shift: u32,
    cluster_shift: u32,
}

impl ExfatVolume {
    fn parse(sector: &[u8]) -> Option<Self> {
        let fat = u64::from(le_u32(sector, 80)?);
        let fat_length = u64::from(le_u32(sector, 84)?);
        let heap = u64::from(le_u32(sector, 88)?);
        let clusters = le_u32(sector, 92)?;
        let root = le_u32(sector, 96)?;
        let byte = |at: usize| sector.get(at).copied().map(u32::from);
        let (sector_shift, cluster_shift) = (byte(108)?, byte(109)?);
        let fats = byte(110)?;
        let is_possible = le_u16(sector, 510)? == 0xaa55
            && sector.starts_with(&[0xeb, 0x76, 0x90])
            && sector.get(11..64)?.iter().all(|byte| *byte == 0)
            && (1..=2).contains(&fats)
            && (9..=12).contains(&sector_shift)
            && cluster_shift <= 25 - sector_shift
            && fat >= 24
            && fat + fat_length * u64::from(fats) <= heap
            && heap <= 1 << 31
            && (2..=clusters.saturating_add(1)).contains(&root);
        is_possible.then_some(Self {
            fat,
            heap,
            root,
            sector_shift,
            cluster_shift,
        })
    }

    fn offset_of(&self, cluster: u32) -> u64 {
        let sector = self.heap + ((u64::from(cluster) - 2) << self.cluster_shift);
        sector << self.sector_shift
    }

    fn label(&self, window: &mut Window<'_>) -> Option<String> {
        let cluster_size = 1_u64 << (self.sector_shift + self.cluster_shift);
        let mut cluster = self.root;
        let mut offset = self.offset_of(cluster);
        for _ in 0..MAX_ENTRIES {
            let entry = window.bytes(offset, ENTRY)?;
            match entry[0] {
                0 => return None,
                LABEL => {
                    let length = usize::from(entry[1]) * 2;
                    return text::utf16_le(&entry[2..2 + length.min(22)]);
                }
                _ => {}
            }
            offset += ENTRY;
            if offset.is_multiple_of(cluster_size) {
                let next = (self.fat << self.sector_shift) + u64::from(cluster) * 4;
                cluster = le_u32(&window.bytes(next, 4)?, 0)?;
                if !(2..=0x0fff_fff6).contains(&cluster) {
                    return None;
                }
                offset = self.offset_of(cluster);
            }
        }
        None
    }
}
